package health

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// inbox takes findings as they are reported.
type inbox struct {
	findings chan shivx.Finding
}

func newInbox() inbox { return inbox{make(chan shivx.Finding, 1000)} }

func (i inbox) report(_ context.Context, f shivx.Finding) { i.findings <- f }

func (i inbox) next(t testing.TB) shivx.Finding {
	t.Helper()
	select {
	case f := <-i.findings:
		return f
	case <-time.After(10 * time.Second):
		t.Fatal("no finding in 10 s")
		return shivx.Finding{}
	}
}

func (i inbox) none(t testing.TB) {
	t.Helper()
	select {
	case f := <-i.findings:
		t.Errorf("unexpected finding: %+v", f)
	default:
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// run starts a monitor that ends with the test.
func run(t testing.TB, components []config.Component, o Options) *Monitor {
	t.Helper()
	o.Logger = quiet()
	m, err := NewMonitor("host", components, o)
	if err != nil {
		t.Fatal(err)
	}
	start(t, m)
	return m
}

func start(t testing.TB, m *Monitor) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not end with its context")
		}
	})
}

// fake is a probe whose answer a test sets.
type fake struct {
	broken  atomic.Bool
	active  atomic.Int32
	overlap atomic.Bool
	runs    atomic.Int32
	takes   time.Duration
}

func (f *fake) Check(ctx context.Context) error {
	f.runs.Add(1)
	if f.active.Add(1) > 1 {
		f.overlap.Store(true)
	}
	defer f.active.Add(-1)
	if f.takes > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.takes):
		}
	}
	if f.broken.Load() {
		return errors.New("broken")
	}
	return nil
}

// withFakes makes a monitor of one component whose checks are fakes named a, b, …
func withFakes(t testing.TB, o Options, every time.Duration, fakes ...*fake) *Monitor {
	t.Helper()
	o.Logger = quiet()
	cfg := config.Component{Name: "app", Ladder: []config.Strategy{{Name: "restart"}}}
	for i := range fakes {
		cfg.Checks = append(cfg.Checks, config.Check{Name: string(rune('a' + i)), Every: every, Timeout: time.Second,
			TCP: &config.TCPCheck{Address: "127.0.0.1:1"}})
	}
	m, err := NewMonitor("host", []config.Component{cfg}, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range fakes {
		m.components[0].checks[i].probe.inner = f
	}
	return m
}
