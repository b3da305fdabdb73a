package modules

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
)

// stand is a registry with a real monitor.
type stand struct {
	*Registry
	cfg     *config.Config
	monitor *health.Monitor
	log     *bytes.Buffer

	mu       sync.Mutex
	events   []string
	findings []shivx.Finding
}

func (s *stand) record(_ context.Context, event, module string, details any) {
	data, err := json.Marshal(details)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event+" "+module+" "+string(data))
}

func (s *stand) found() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.findings {
		word := " fault"
		if f.Resolved {
			word = " resolved"
		}
		out = append(out, f.Component+word)
	}
	s.findings = nil
	return out
}

func settings(dir string) *config.Config {
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var = "h1", dir
	cfg.Components = []config.Component{
		{Name: "beating", Critical: true, Failures: 3, Checks: []config.Check{{Every: 10 * time.Second, Heartbeat: &config.HeartbeatCheck{Lease: time.Minute}}}},
		{Name: "silent", Failures: 3, Checks: []config.Check{{Every: time.Hour, Command: &config.Command{Argv: []string{"/bin/true"}}}}},
	}
	return cfg
}

// open is the start of an agent; it ends with the test, or earlier with stop.
func open(t *testing.T, cfg *config.Config) (s *stand, stop func()) {
	t.Helper()
	s = &stand{cfg: cfg, log: &bytes.Buffer{}}
	var err error
	s.monitor, err = health.NewMonitor(cfg.Host, cfg.Components, health.Options{
		Logger: slog.New(slog.DiscardHandler),
		Report: func(_ context.Context, f shivx.Finding) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.findings = append(s.findings, f)
		},
	})
	require.NoError(t, err)
	s.Registry = Open(t.Context(), cfg, s.monitor, s.record, slog.New(slog.NewTextHandler(s.log, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = s.monitor.Run(ctx); close(done) }() // it returns nil when ctx ends
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return s, stop
}

func TestRegisteredProgramIsWatched(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := settings(dir)
		cfg.Components = nil
		s, _ := open(t, cfg)
		synctest.Wait()
		ctx := t.Context()
		require.NoError(t, s.Register(ctx, "worker", true, time.Minute))
		for range 5 {
			require.NoError(t, s.Heartbeat(ctx, "worker", ""))
			time.Sleep(time.Minute - 1)
			synctest.Wait()
		}
		require.Empty(t, s.found())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []string{"worker fault"}, s.found(), "one missed lease is a fault")
		time.Sleep(time.Nanosecond)
		require.NoError(t, s.Register(ctx, "worker", true, time.Minute), "registering again is a heartbeat")
		synctest.Wait()
		require.Equal(t, []string{"worker resolved"}, s.found())
		require.NoError(t, s.Heartbeat(ctx, "worker", "no licence"))
		synctest.Wait()
		require.Equal(t, []string{"worker fault"}, s.found(), "what it says itself is a fault at once")
		require.NoError(t, s.Remove(ctx, "worker"))
		require.Equal(t, []string{"worker resolved"}, s.found(), "nobody will see the end of the fault")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, s.found())
		require.ErrorIs(t, s.Heartbeat(ctx, "worker", ""), ErrUnknown)
		require.ErrorIs(t, s.Remove(ctx, "worker"), ErrUnknown)
	})
}

func TestRegistrationsOutliveTheAgent(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := settings(dir)
		cfg.Components = nil
		s, stop := open(t, cfg)
		require.NoError(t, s.Register(t.Context(), "one", true, time.Minute))
		require.NoError(t, s.Register(t.Context(), "two", false, 2*time.Minute))
		before := s.Registrations()
		stop()
		time.Sleep(time.Hour) // longer than any lease

		s, _ = open(t, cfg)
		require.Equal(t, before, s.Registrations())
		require.Empty(t, s.events, "a restart of the agent is no event of a module")
		require.NoError(t, s.Heartbeat(t.Context(), "two", ""))
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		require.Empty(t, s.found(), "each has a whole lease after the start")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []string{"one fault"}, s.found())
	})
}

func TestRegisterIsIdempotent(t *testing.T) {
	s, _ := open(t, settings(t.TempDir()))
	s.now = func() time.Time { return time.Date(2024, 6, 11, 12, 0, 0, 0, time.UTC) }
	for range 3 {
		require.NoError(t, s.Register(t.Context(), "worker", false, time.Minute))
	}
	s.now = time.Now
	require.NoError(t, s.Register(t.Context(), "worker", true, 2*time.Minute))
	require.NoError(t, s.Remove(t.Context(), "worker"))
	require.Equal(t, []string{
		`module_registered worker {"name":"worker","critical":false,"lease":"1m0s","since":"2024-06-11T12:00:00Z"}`,
		`module_registered worker {"name":"worker","critical":true,"lease":"2m0s","since":"2024-06-11T12:00:00Z"}`,
		`module_removed worker {"name":"worker","critical":true,"lease":"2m0s","since":"2024-06-11T12:00:00Z","reason":"removed on request"}`,
	}, s.events)
}

func TestWhatCannotBeRegistered(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Resilience.Modules = config.ModuleRules{MaxRegistered: 2, MaxLease: 10 * time.Minute}
	s, _ := open(t, cfg)
	for name, c := range map[string]struct {
		module string
		lease  time.Duration
		want   error
	}{
		"upper case":        {"Worker", time.Minute, ErrInvalid},
		"empty":             {"", time.Minute, ErrInvalid},
		"a path":            {"../../etc", time.Minute, ErrInvalid},
		"a target":          {"a@b", time.Minute, ErrInvalid},
		"very long":         {strings.Repeat("a", 1<<20), time.Minute, ErrInvalid},
		"the host":          {shivx.ModuleHost, time.Minute, ErrInvalid},
		"lease too long":    {"worker", 10*time.Minute + 1, ErrInvalid},
		"lease too short":   {"worker", time.Millisecond, ErrInvalid},
		"negative lease":    {"worker", -time.Minute, ErrInvalid},
		"without heartbeat": {"silent", time.Minute, ErrConfigured},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Register(t.Context(), c.module, false, c.lease)
			require.ErrorIs(t, err, c.want)
			require.NotEmpty(t, shivx.HintOf(err))
			require.Less(t, len(err.Error()), 500)
		})
	}
	require.NoFileExists(t, s.path)
	require.NoError(t, s.Register(t.Context(), "a", false, 0))
	require.Equal(t, shivx.Duration(DefaultLease), s.Registrations()[0].Lease)
	require.NoError(t, s.Register(t.Context(), "b", false, 0))
	require.ErrorIs(t, s.Register(t.Context(), "c", false, 0), ErrFull)
	require.NoError(t, s.Register(t.Context(), "b", true, 0), "what is registered may still change")
	require.NoError(t, s.Remove(t.Context(), "a"))
	require.NoError(t, s.Register(t.Context(), "c", false, 0))
	require.ErrorIs(t, s.Heartbeat(t.Context(), "silent", ""), ErrConfigured)
	require.ErrorIs(t, s.Remove(t.Context(), "silent"), ErrConfigured)
}

func TestConfiguredComponentTakesHeartbeats(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := settings(dir)
		cfg.Components = cfg.Components[:1]
		s, _ := open(t, cfg)
		synctest.Wait()
		require.NoError(t, s.Register(t.Context(), "beating", false, 5*time.Second))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, health.StateHealthy, s.monitor.Status()[0].State, "the configured lease holds")
		require.NoError(t, s.Heartbeat(t.Context(), "beating", "no licence"))
		synctest.Wait()
		require.Equal(t, "no licence", s.monitor.Status()[0].Checks[0].LastError)
		require.Empty(t, s.Registrations())
		require.Empty(t, s.events)
		require.NoFileExists(t, s.path)
	})
}

// TestManyProgramsAtOnce registers, renews and removes from many sides; file, registry and monitor agree.
func TestManyProgramsAtOnce(t *testing.T) {
	s, stop := open(t, settings(t.TempDir()))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 10 {
				name := fmt.Sprintf("p%d", (i+n)%10)
				if err := s.Register(context.Background(), name, i%2 == 0, time.Minute+time.Duration(n)); err != nil {
					t.Error(err)
				}
				_ = s.Heartbeat(context.Background(), name, "") // it may have been removed
				if (i+n)%3 == 0 {
					_ = s.Remove(context.Background(), name) // by another first
				}
			}
		})
	}
	all.Wait()
	var names []string
	for _, m := range s.Registrations() {
		names = append(names, m.Name)
	}
	now := watched(s)
	slices.Sort(now)
	require.Equal(t, names, now)
	before := s.Registrations()
	stop()
	s, _ = open(t, s.cfg)
	require.Equal(t, before, s.Registrations())
}
