package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/history"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/modules"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/internal/vitals"
)

// TestAnswersOfTheRealParts: what the agent's own parts answer is what the document says.
func TestAnswersOfTheRealParts(t *testing.T) {
	s := newStand(t)
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	past, err := history.Open(filepath.Join(dir, "metrics"), history.Options{Retention: time.Hour, MaxBytes: 1 << 20, Logger: log})
	require.NoError(t, err)
	monitor, err := health.NewMonitor("h1", nil, health.Options{Logger: log, Report: func(context.Context, shivx.Finding) {}})
	require.NoError(t, err)
	path := filepath.Join(dir, "audit.ndjson")
	audit, err := ledger.Open(path, ledger.Options{Logger: log})
	require.NoError(t, err)
	cfg := config.Default()
	cfg.Paths.Var = dir
	registry := modules.Open(t.Context(), cfg, monitor, func(context.Context, string, string, any) {}, log)
	view := &modules.View{Registry: registry, Health: monitor, Restarts: func(string) int { return 0 }}
	sampled, once := make(chan struct{}), sync.Once{}
	core, err := resilience.New(resilience.Options{
		Host: "h1", Rules: cfg.Resilience, Ledger: audit, LedgerPath: path, Modules: view.List, Logger: log, Sample: measure,
		OnSample: func(v vitals.Sample, _ resilience.Score) {
			if err := past.Append(v.At, v.Figures); err != nil {
				t.Error(err)
			}
			once.Do(func() { close(sampled) })
		},
	})
	require.NoError(t, err)
	s.parts.Monitor, s.parts.Modules, s.parts.Resilience, s.parts.History = monitor, view, core, history.Routes(past)

	require.Equal(t, 503, s.do("GET", "/api/health/ready", s.admin, "").Code, "nothing was measured yet")
	require.Equal(t, 200, s.do("GET", "/api/resilience/status", s.admin, "").Code)
	ctx, stop := context.WithCancel(t.Context())
	done, ended := make(chan error, 1), make(chan struct{})
	go func() { done <- core.Run(ctx) }()
	go func() {
		defer close(ended)
		_ = monitor.Run(ctx)
	}()
	<-sampled
	require.Equal(t, 204, s.do("POST", "/api/modules", appToken, `{"name":"shop","critical":true,"lease":"1h"}`).Code)
	s.asksAll(t)
	stop()
	require.NoError(t, <-done)
	<-ended
	require.NoError(t, past.Close())
	require.NoError(t, audit.Close())
}

// asksAll asks the routes that read, before and during an override.
func (s *stand) asksAll(t *testing.T) {
	read := func() {
		for _, path := range []string{
			"/api/resilience/status", "/api/features", "/api/features/chat", "/api/features/web_search", "/api/modules", "/api/components", "/",
			"/api/metrics/names", "/api/metrics/query?name=shivx_host_memory_bytes&since=1h", "/api/metrics/query?step=1m",
		} {
			require.Equal(t, 200, s.do("GET", path, s.admin, "").Code, path)
		}
		require.Equal(t, 200, s.do("POST", "/ofrep/v1/evaluate/flags", s.admin, "").Code)
	}
	read()
	require.Equal(t, 400, s.do("GET", "/api/metrics/query?since=x", s.admin, "").Code)
	require.Equal(t, 409, s.do("DELETE", "/api/resilience/override", operatorToken, "").Code)
	var first, again shivx.LevelChange
	for _, change := range []*shivx.LevelChange{&first, &again} {
		rec := s.send("POST", "/api/resilience/override", `{"level":"EMERGENCY","for":"30m","why":"test"}`, func(r *http.Request) {
			r.Header.Set("X-API-Key", operatorToken)
			r.Header.Set("Idempotency-Key", "once")
		})
		require.Equal(t, 200, rec.Code, rec.Body)
		decodeAnswer(t, rec, change)
	}
	require.Equal(t, first, again, "a repetition changes nothing")
	var f featureAnswer
	decodeAnswer(t, s.do("GET", "/api/features/memory_writes", appToken, ""), &f)
	require.False(t, f.Enabled)
	read()
	require.Equal(t, 200, s.do("DELETE", "/api/resilience/override", operatorToken, "").Code)
	for range 3 {
		require.Equal(t, 204, s.do("PUT", "/api/modules/shop/heartbeat", appToken, `{"status":"failing","message":"no"}`).Code)
	}
	read()
	require.Equal(t, 204, s.do("DELETE", "/api/modules/shop", operatorToken, "").Code)
	require.Equal(t, 404, s.do("PUT", "/api/modules/shop/heartbeat", appToken, "").Code)
	require.Equal(t, 400, s.do("POST", "/api/modules", operatorToken, `{"name":"Shop","lease":"1h"}`).Code)
	require.Equal(t, 400, s.do("POST", "/api/modules", appToken, fmt.Sprintf(`{"name":"a","lease":%q}`, 24*time.Hour)).Code)
}

// measure is a host that does well, save one reading that cannot be had.
func measure(context.Context) vitals.Sample {
	return vitals.Sample{At: time.Now(), Readings: []vitals.Reading{
		{Resource: vitals.CPU, Percent: 12}, {Resource: vitals.Memory, Percent: 40, Detail: "3.2 of 8.0 GiB"},
		{Resource: vitals.Disk, Subject: "/var", Percent: 91}, {Resource: vitals.Network, Missing: "permission denied"},
	}, Figures: []vitals.Figure{{Name: "shivx_host_memory_bytes", Value: 1 << 33}}, Notices: []string{"the clock jumped"}}
}
