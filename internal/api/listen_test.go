package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

// TestAPortThatIsTakenIsHadLater: neither the start nor the run fails, and once the port is free
// the server answers there.
func TestAPortThatIsTakenIsHadLater(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address, log := taken.Addr().String(), &logged{}
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var, cfg.API.Listen = "h1", t.TempDir(), address
	s, err := New(cfg, Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	require.Equal(t, "not listening", s.Address())
	require.Empty(t, s.LoginLink())
	require.Contains(t, log.String(), "level=ERROR")
	require.Contains(t, log.String(), "address already in use")
	require.Contains(t, log.String(), "ss -ltnp")

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	require.NoError(t, taken.Close())
	require.Eventually(t, func() bool { return s.Address() == address }, 5*retryEvery, 10*time.Millisecond)
	require.True(t, strings.HasPrefix(s.LoginLink(), "http://"+address+"/login?code="))
	live(t, address)

	// A listener that breaks is replaced, too.
	require.NoError(t, s.bound.Load().Close())
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + address + "/api/health/live")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	}, 5*retryEvery, 10*time.Millisecond)
	stop()
	require.NoError(t, <-done)
}

func live(t *testing.T, address string) {
	t.Helper()
	resp, err := http.Get("http://" + address + "/api/health/live")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

func TestRunEndsWhileThePortIsTaken(t *testing.T) {
	s := newStand(t)
	cfg := config.Default()
	cfg.Paths.Var, cfg.API.Listen = t.TempDir(), s.Address()
	other, err := New(cfg, Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.NoError(t, other.Run(ctx))
}
