package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
)

type noMonitor struct{}

func (noMonitor) Status() []health.ComponentStatus { return nil }

// stand is a server with two components that keeps what was reported.
type stand struct {
	*Server
	got  []shivx.Finding
	fail error
	// failOn is the signal for which alone it fails; "" is every.
	failOn string
}

func newStand(t *testing.T) *stand {
	t.Helper()
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var, cfg.API.Listen = "h1", t.TempDir(), "127.0.0.1:0"
	cfg.Components = []config.Component{
		{Name: "redis"},
		{Name: "web", Alerts: []map[string]string{{"alertname": "WebDown", "env": "prod"}}},
	}
	s := &stand{}
	srv, err := New(cfg, noMonitor{}, func(_ context.Context, f shivx.Finding) error {
		if s.fail != nil && (s.failOn == "" || s.failOn == f.Signal) {
			return s.fail
		}
		s.got = append(s.got, f)
		return nil
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = srv.listen.Close() }) // Run may have closed it
	s.Server = srv
	s.now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	return s
}

func (s *stand) do(method, path, token, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	return rec
}

const firing = `{"version":"4","status":"firing","alerts":[
 {"status":"firing","labels":{"alertname":"RedisDown","component":"redis","severity":"critical"},
  "annotations":{"summary":"redis is away"},"startsAt":"2026-01-01T00:00:00Z","fingerprint":"f1"},
 {"status":"firing","labels":{"alertname":"WebDown","env":"prod"},"startsAt":"2026-01-01T00:00:00Z","fingerprint":"f2"},
 {"status":"firing","labels":{"alertname":"WebDown","env":"test"},"startsAt":"2026-01-01T00:00:00Z","fingerprint":"f3"}]}`

func TestAlertsBecomeFindings(t *testing.T) {
	s := newStand(t)
	rec := s.do("POST", "/api/alerts", s.token, firing)
	require.Equal(t, http.StatusOK, rec.Code, rec.Body)
	require.JSONEq(t, `{"accepted":["redis","web"],"unmatched":["WebDown"]}`, rec.Body.String())
	require.Len(t, s.got, 2)
	f := s.got[0]
	require.Equal(t, shivx.Target{Component: "redis", Host: "h1"}, f.Target)
	require.Equal(t, shivx.SourceAlert, f.Source)
	require.Equal(t, shivx.SeverityCritical, f.Severity)
	require.Equal(t, "alert RedisDown firing: redis is away", f.Reason)
	require.False(t, f.Resolved)

	s.do("POST", "/api/alerts", s.token, firing)
	require.Equal(t, s.got[0].ID, s.got[2].ID, "the same alert from a second Alertmanager has the same id")
	s.do("POST", "/api/alerts", s.token, strings.ReplaceAll(firing, `"status":"firing"`, `"status":"resolved"`))
	require.True(t, s.got[4].Resolved)
	require.NotEqual(t, s.got[0].ID, s.got[4].ID)
}

func TestLateAlertIsNotANewFault(t *testing.T) {
	s := newStand(t)
	began := func(ago time.Duration) string {
		return strings.ReplaceAll(firing, "2026-01-01T00:00:00Z", s.now().Add(-ago).UTC().Format(time.RFC3339))
	}
	s.do("POST", "/api/alerts", s.token, began(30*time.Second))
	require.WithinDuration(t, s.now().Add(-30*time.Second), s.got[0].ObservedAt, 0, "it saw the fault when it began")
	s.do("POST", "/api/alerts", s.token, began(time.Hour))
	require.WithinDuration(t, s.now(), s.got[2].ObservedAt, 0, "one that still fires sees it now")
}

func TestAlertThatIsNotRecordedIsAskedForAgain(t *testing.T) {
	s := newStand(t)
	s.fail = errors.New("disk full")
	require.Equal(t, http.StatusServiceUnavailable, s.do("POST", "/api/alerts", s.token, firing).Code)
}

func TestOneAlertThatFailsDoesNotHoldUpTheOthers(t *testing.T) {
	s := newStand(t)
	s.fail, s.failOn = errors.New("refused"), "RedisDown"
	require.Equal(t, http.StatusServiceUnavailable, s.do("POST", "/api/alerts", s.token, firing).Code)
	require.Len(t, s.got, 1, "the alert after the one that failed is taken")
	require.Equal(t, "WebDown", s.got[0].Signal)
}

func TestHugeTextsAreCut(t *testing.T) {
	s := newStand(t)
	long := strings.Repeat("ü", 250_000)
	body := strings.NewReplacer("RedisDown", "N"+long, "redis is away", long, `"f1"`, `"`+long+`"`).Replace(firing)
	require.Equal(t, http.StatusOK, s.do("POST", "/api/alerts", s.token, body).Code)
	f := s.got[0]
	require.LessOrEqual(t, len(f.Reason), maxReason)
	require.LessOrEqual(t, len(f.Signal), maxAlertName)
	require.Less(t, len(f.ID), 256)
	require.True(t, utf8.ValidString(f.Reason+f.Signal+f.ID), "cut inside a character")
	require.Contains(t, f.Reason, "firing: ü", "the summary is kept as far as it goes")
}

func TestAlertOfAnotherHostIsLeftToItsAgent(t *testing.T) {
	machine, err := os.Hostname()
	require.NoError(t, err)
	short, _, _ := strings.Cut(machine, ".")
	s := newStand(t)
	for _, c := range []struct {
		labels map[string]string
		here   bool
	}{
		{nil, true},
		{map[string]string{"host": "h1"}, true},
		{map[string]string{"host": "H1.example.org"}, true},
		{map[string]string{"host": machine}, true},
		{map[string]string{"nodename": short}, true},
		{map[string]string{"instance": "h1:9100"}, true},
		{map[string]string{"instance": "127.0.0.1:9100"}, true},
		{map[string]string{"instance": "[::1]:9100"}, true},
		{map[string]string{"instance": "http://localhost:9471/health"}, true},
		{map[string]string{"host": "h1", "instance": "exporter:9100"}, true},
		{map[string]string{"host": "h2"}, false},
		{map[string]string{"host": "h11"}, false},
		{map[string]string{"nodename": "h2.example.org"}, false},
		{map[string]string{"instance": "h2:9100"}, false},
		{map[string]string{"instance": "h2"}, false},
		{map[string]string{"instance": "192.0.2.7:9100"}, false},
		{map[string]string{"instance": "https://shop.example.org/"}, false},
		{map[string]string{"host": "h2", "instance": "h1:9100"}, false},
	} {
		labels := map[string]string{"component": "redis", "alertname": "RedisDown"}
		maps.Copy(labels, c.labels)
		_, ok := s.component(labels)
		require.Equal(t, c.here, ok, "%v", c.labels)
	}
	_, ok := s.component(map[string]string{"alertname": "WebDown", "env": "prod", "instance": "h2:9100"})
	require.True(t, ok, "what a configured entry matches is taken as it is")
}

func TestBadWebhooksAreRefused(t *testing.T) {
	s := newStand(t)
	for name, body := range map[string]string{
		"not JSON": "hello", "empty": "", "version 3": `{"version":"3"}`, "a list": `[]`,
		"too large": `{"version":"4","x":"` + strings.Repeat("a", maxAlerts) + `"}`,
	} {
		rec := s.do("POST", "/api/alerts", s.token, body)
		require.Equal(t, http.StatusBadRequest, rec.Code, name)
		require.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"), name)
	}
	require.Empty(t, s.got)
}

func TestOnlyLivenessIsOpen(t *testing.T) {
	s := newStand(t)
	require.Equal(t, http.StatusOK, s.do("GET", "/api/health/live", "", "").Code)
	for _, route := range [][2]string{{"POST", "/api/alerts"}, {"GET", "/api/components"}, {"GET", "/metrics"}} {
		for _, token := range []string{"", "wrong", s.token[:10], s.token + "x"} {
			require.Equal(t, http.StatusUnauthorized, s.do(route[0], route[1], token, "{}").Code, "%v with %q", route, token)
		}
	}
	require.Equal(t, http.StatusOK, s.do("GET", "/metrics", s.token, "").Code)
	require.Equal(t, http.StatusOK, s.do("GET", "/api/components", s.token, "").Code)
}

func TestTokenIsKeptAndPrivate(t *testing.T) {
	dir := t.TempDir()
	first, err := Token(dir)
	require.NoError(t, err)
	require.Len(t, first, 64)
	again, err := Token(dir)
	require.NoError(t, err)
	require.Equal(t, first, again)
	info, err := os.Stat(filepath.Join(dir, TokenFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, os.WriteFile(filepath.Join(dir, TokenFile), []byte("short"), 0o600))
	other, err := Token(dir)
	require.NoError(t, err)
	require.NotEqual(t, first, other, "a damaged token is replaced")
}

func TestRunServesAndStops(t *testing.T) {
	s := newStand(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	resp, err := http.Get("http://" + s.Address() + "/api/health/live")
	require.NoError(t, err)
	defer resp.Body.Close()
	var body map[string]string
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&body))
	require.Equal(t, "alive", body["status"])
	stop()
	require.NoError(t, <-done)
}

func FuzzAlerts(f *testing.F) {
	f.Add([]byte(firing))
	f.Add([]byte(`{"version":"4","alerts":[null,{"labels":null}]}`))
	s := &Server{cfg: &config.Config{Host: "h", Components: []config.Component{{Name: "redis"}}}, token: "t", now: time.Now,
		report: func(context.Context, shivx.Finding) error { return nil }, log: slog.New(slog.DiscardHandler)}
	f.Fuzz(func(t *testing.T, body []byte) {
		req := httptest.NewRequest(http.MethodPost, "/api/alerts", bytes.NewReader(body))
		req.Header.Set("Authorization", "Bearer t")
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, req)
		if rec.Code >= 500 {
			t.Errorf("%q: %d", body, rec.Code)
		}
	})
}
