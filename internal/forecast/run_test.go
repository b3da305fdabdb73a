package forecast

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
)

// TestRun looks every minute, learns of faults meanwhile, and keeps its state at the end.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := ledger.Open(filepath.Join(t.TempDir(), "ledger.ndjson"), ledger.Options{})
		require.NoError(t, err)
		shop := sharesOf("shop", "")
		shop.Series = []config.SubsystemSeries{{Component: "web", What: "memory", Limit: 1e9}}
		rules := config.Default().Forecast
		rules.Subsystems = []config.Subsystem{sharesOf("disk", "used_ratio"), shop}
		var said strings.Builder
		var saying sync.Mutex
		o := Options{Host: "h", Rules: rules, Dir: t.TempDir(), History: &memory{}, Ledger: l,
			Components: []config.Component{{Name: "web", Checks: []config.Check{{Process: &config.ProcessCheck{Name: "no-such-process"}}}}},
			Logger:     slog.New(slog.NewTextHandler(locked{&saying, &said}, nil))}
		e, err := New(o)
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		_, err = l.Append(ctx, "fault", shivx.RecoveryRecord{EventType: shivx.EventFault, Component: "web", Timestamp: time.Now()})
		require.NoError(t, err)
		synctest.Wait()
		first := e.Heatmap().At
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Equal(t, 10*time.Minute, e.Heatmap().At.Sub(first))
		require.Equal(t, 1, strings.Count(said.String(), "a series cannot be read"), "what stays wrong is said once")
		require.Len(t, e.precursors.Failures, 1)
		stop()
		require.NoError(t, <-done)
		require.FileExists(t, filepath.Join(o.Dir, stateFile))
		again, err := New(o)
		require.NoError(t, err)
		require.EqualValues(t, 2, again.next, "the ledger is followed from where it was")
		require.Len(t, again.precursors.Failures, 1)
		require.NoError(t, l.Close())
	})
}

// locked writes for several goroutines.
type locked struct {
	mu *sync.Mutex
	to *strings.Builder
}

// Write implements io.Writer.
func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

// TestBadRules are refused when the engine is built.
func TestBadRules(t *testing.T) {
	good := func() Options {
		return Options{Host: "h", Rules: config.Default().Forecast, Dir: t.TempDir()}
	}
	_, err := New(good())
	require.NoError(t, err)
	o := good()
	o.Rules.Costs.Act = 1
	_, err = New(o)
	require.ErrorContains(t, err, "forecast.costs")
	o = good()
	o.Rules.Subsystems[0].Step = time.Hour
	_, err = New(o)
	require.ErrorContains(t, err, "forecast cpu")
	o = good()
	o.Rules.Subsystems = []config.Subsystem{sharesOf("shop", "")}
	o.Rules.Subsystems[0].Series = []config.SubsystemSeries{{Component: "gone"}}
	_, err = New(o)
	require.ErrorContains(t, err, `the component "gone" has no process check`)
	o = good()
	o.Dir = "/proc/no/such"
	_, err = New(o)
	require.ErrorContains(t, err, "make the folder of the forecasts")
}

// TestTurnedOffSubsystem is not watched.
func TestTurnedOffSubsystem(t *testing.T) {
	disk := sharesOf("disk", "used_ratio")
	disk.Enabled = false
	s := newStand(t, disk)
	require.Empty(t, s.engine.Heatmap().Risks)
	_, _, ok := s.engine.Worst("disk")
	require.False(t, ok)
}
