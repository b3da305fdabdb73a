package builtin

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

// shop is a service that is slow until it was asked for each of its pages.
type shop struct {
	*httptest.Server
	asked, busy, most atomic.Int64
	down              atomic.Bool
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.most.Store(max(s.most.Load(), s.busy.Add(1)))
		defer s.busy.Add(-1)
		if r.Header.Get("Authorization") != "Bearer x" || s.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if s.asked.Add(1) < 10 {
			time.Sleep(20 * time.Millisecond)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shop) options(more map[string]any) map[string]any {
	all := map[string]any{"urls": []string{s.URL + "/", s.URL + "/search?q=1"}, "headers": map[string]string{"Authorization": "Bearer x"}, "rate": 200}
	maps.Copy(all, more)
	return all
}

func TestPrewarm(t *testing.T) {
	s := newShop(t)
	req := sdk.Request{Key: "k", Component: "shop", Options: jsonOf(t, s.options(map[string]any{"requests": 60, "concurrency": 3}))}
	res, err := Prewarm{}.Recover(ctx(t), planned(req))
	require.NoError(t, err)
	require.Zero(t, s.asked.Load())
	require.Equal(t, "would send 60 requests, 200 each second, to 2 addresses", res.Summary)
	require.Equal(t, "ask for GET "+s.URL+"/search", res.Changes[1], "a query may hold secrets")
	began := time.Now()
	res, err = Prewarm{}.Recover(ctx(t), req)
	require.NoError(t, err)
	require.EqualValues(t, 60, s.asked.Load())
	require.Equal(t, "60 of 60 requests were answered well", res.Summary)
	require.GreaterOrEqual(t, time.Since(began), 59*5*time.Millisecond, "the rate is not kept")
	require.LessOrEqual(t, s.most.Load(), int64(3))

	s.down.Store(true)
	_, err = Prewarm{}.Recover(ctx(t), req)
	require.ErrorContains(t, err, "0 of 60 requests were answered well, 90% are wanted")
	require.ErrorContains(t, err, "answered 503")
	require.True(t, failOf(t, err).Retryable)
	s.Close()
	_, err = Prewarm{}.Recover(ctx(t), req)
	require.ErrorContains(t, err, "refused")
}

func TestPrewarmStops(t *testing.T) {
	s := newShop(t)
	c, cancel := context.WithCancel(ctx(t))
	req := sdk.Request{Key: "k", Component: "shop", Options: jsonOf(t, s.options(map[string]any{"requests": 100_000}))}
	go func() {
		for s.asked.Load() < 5 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	_, err := Prewarm{}.Recover(c, req)
	require.ErrorIs(t, err, context.Canceled)
}

func TestPrewarmConformance(t *testing.T) {
	s := newShop(t)
	sdktest.Run(t, sdktest.Suite{
		Plugin:  Prewarm{},
		Options: s.options(map[string]any{"requests": 12}),
		BadOptions: []any{
			map[string]any{}, s.options(map[string]any{"method": "POST"}), s.options(map[string]any{"urls": []string{"ftp://x"}}),
			s.options(map[string]any{"rate": 0}), s.options(map[string]any{"rate": 1e-12}), s.options(map[string]any{"success": 2}), s.options(map[string]any{"requests": -1}),
		},
		Break: func() error { s.asked.Store(0); return nil },
		Healthy: func() error {
			if s.asked.Load() < 10 {
				return errors.New("it is cold")
			}
			return nil
		},
		State: func() string { return map[bool]string{true: "warm", false: "cold"}[s.asked.Load() >= 10] },
	})
}
