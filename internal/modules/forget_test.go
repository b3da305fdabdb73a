package modules

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
)

func TestSilentProgramsAreForgotten(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := settings(dir)
		cfg.Components = cfg.Components[:1] // never forgotten
		cfg.Resilience.Modules.MaxRegistered = 2
		s, stop := open(t, cfg)
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); s.Run(ctx) }()
		require.NoError(t, s.Register(ctx, "gone", false, time.Minute))
		require.NoError(t, s.Register(ctx, "lives", false, time.Hour))
		require.ErrorIs(t, s.Register(ctx, "next", false, time.Minute), ErrFull)
		for range 2*24 + 1 { // 24 h and a half
			time.Sleep(30 * time.Minute)
			require.NoError(t, s.Heartbeat(ctx, "lives", "does badly, and says so"))
			if len(s.Registrations()) == 1 {
				break
			}
			require.Len(t, s.events, 2, "not before its time")
		}
		synctest.Wait()
		require.Equal(t, []string{"lives"}, watched(s))
		require.Len(t, s.events, 3)
		require.Contains(t, s.events[2], `"reason":"no heartbeat for 24h0m0s after its lease of 1m0s"`)
		require.True(t, strings.HasPrefix(s.events[2], shivx.EventModuleRemoved+" gone "), s.events[2])
		found := s.found()
		require.Contains(t, found, "gone resolved", "its fault ends with it")
		require.ErrorIs(t, s.Heartbeat(ctx, "gone", ""), ErrUnknown)
		require.NoError(t, s.Register(ctx, "next", false, time.Minute), "its place is free")
		end()
		<-ended
		stop()
		s, _ = open(t, cfg)
		require.Len(t, s.Registrations(), 2, "and stays so")
	})
}

// TestWhatCannotBeForgottenIsSaidOnce: a disk that is full does not fill the log as well.
func TestWhatCannotBeForgottenIsSaidOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := settings(dir)
		cfg.Components = nil
		s, _ := open(t, cfg)
		require.NoError(t, s.Register(t.Context(), "gone", false, time.Minute))
		path := s.path
		s.path = filepath.Join(path, "below a file")
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); s.Run(ctx) }()
		time.Sleep(26 * time.Hour)
		synctest.Wait()
		require.Equal(t, []string{"gone"}, watched(s))
		require.Equal(t, 1, strings.Count(s.log.String(), "could not be forgotten"), s.log)
		end()
		<-ended
		s.path = path
		require.NoError(t, s.forget(t.Context(), "gone"))
		require.Empty(t, s.Registrations())
	})
}

// TestEventsOutliveTheRequest: a client that hangs up takes no event with it.
func TestEventsOutliveTheRequest(t *testing.T) {
	cfg := settings(t.TempDir())
	log := slog.New(slog.DiscardHandler)
	monitor, err := health.NewMonitor("h1", []config.Component{}, health.Options{Logger: log})
	require.NoError(t, err)
	var events []string
	r := Open(t.Context(), cfg, monitor, func(ctx context.Context, event, _ string, _ any) {
		require.NoError(t, ctx.Err(), event)
		events = append(events, event)
	}, log)
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	require.NoError(t, r.Register(gone, "worker", false, time.Minute))
	require.NoError(t, r.Remove(gone, "worker"))
	require.Equal(t, []string{shivx.EventModuleRegistered, shivx.EventModuleRemoved}, events)
}
