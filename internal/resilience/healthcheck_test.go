package resilience

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
)

func TestHealthCheckEachMinute(t *testing.T) {
	b := newBench(t)
	b.modules = []Module{{Name: "redis", State: "failing", Score: 40, LastError: "refused"}}
	require.NoError(t, b.core.AddRestart(t.Context(), "redis", map[string]int{"attempt": 1}, "run-1"))
	b.steps(25, 40)
	var at []time.Time
	for _, r := range b.records() {
		if r.EventType == shivx.EventHealthCheck {
			at = append(at, r.Timestamp)
			require.Equal(t, shivx.ModuleHost, r.Module)
		}
	}
	require.Len(t, at, 3)
	require.Equal(t, time.Minute, at[2].Sub(at[1]))
	recs, err := ledger.Tail(b.path(), 1)
	require.NoError(t, err)
	var r struct {
		Severity shivx.Severity
		Details  map[string]any
	}
	require.NoError(t, recs[0].Decode(&r))
	require.Equal(t, shivx.SeverityWarning, r.Severity)
	require.Equal(t, "LEVEL_2", r.Details["level"])
	require.Equal(t, "LEVEL_2", r.Details["automatic_level"])
	require.EqualValues(t, b.core.Status().Changes, r.Details["changes"])
	require.InDelta(t, 59.9, r.Details["score"], 0.5)
	require.Equal(t, map[string]any{"redis": map[string]any{"state": "failing", "score": 40.0, "last_error": "refused"}}, r.Details["modules"])
	require.Equal(t, map[string]any{"redis": 1.0}, r.Details["restarts"])
	require.Len(t, r.Details["terms"], 2)
	require.InDelta(t, 120, r.Details["uptime_seconds"], 5)
}

// TestHealthCheckIsShort: it is written each minute for years, so what is well takes no room in it.
func TestHealthCheckIsShort(t *testing.T) {
	b := newBench(t)
	for i := range 100 {
		b.modules = append(b.modules, Module{Name: fmt.Sprintf("module-%03d", i), State: "healthy", Score: 100, LastError: "refused"})
	}
	b.modules[3].Score = 67
	b.modules[4].State, b.modules[4].Score = "unknown", 0
	require.NoError(t, b.core.AddRestart(t.Context(), "module-007", nil, "run-1"))
	b.steps(1, 0)
	recs, err := ledger.Tail(b.path(), 1)
	require.NoError(t, err)
	var r struct{ Details map[string]any }
	require.NoError(t, recs[0].Decode(&r))
	require.Equal(t, map[string]any{
		"module-003": map[string]any{"state": "healthy", "score": 67.0, "last_error": "refused"},
		"module-004": map[string]any{"state": "unknown", "score": 0.0, "last_error": "refused"},
	}, r.Details["modules"])
	require.EqualValues(t, 98, r.Details["healthy_modules"])
	require.Equal(t, map[string]any{"module-007": 1.0}, r.Details["restarts"])

	b.restart()
	b.modules[3].Score, b.modules[4].State, b.modules[4].Score = 100, "healthy", 100
	b.steps(1, 0)
	require.Equal(t, 1, b.core.Restarts("module-007"))
	recs, err = ledger.Tail(b.path(), 1)
	require.NoError(t, err)
	t.Logf("%d bytes: %s", len(recs[0].Raw), recs[0].Raw)
	require.Less(t, len(recs[0].Raw), 700)
}
