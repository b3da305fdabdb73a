package recovery_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/modules"
)

// TestRegisteredModuleIsInspectedAndVerified: a program that is not in the configuration is found,
// has no ladder, and is fit when its heartbeats are back.
func TestRegisteredModuleIsInspectedAndVerified(t *testing.T) {
	b := newBench(t, &counter{})
	quiet := slog.New(slog.DiscardHandler)
	monitor, err := health.NewMonitor("h1", nil, health.Options{Logger: quiet})
	require.NoError(t, err)
	registry := modules.Open(t.Context(), b.Config, monitor, func(context.Context, string, string, any) {}, quiet)
	b.Checks, b.Components = monitor, registry
	worker := shivx.Target{Component: "worker", Host: "h1"}

	_, err = do(t, b.Inspect, activities.InspectInput{Target: worker})
	require.Equal(t, activities.ErrUnknownComponent, errorType(err))

	require.NoError(t, registry.Register(t.Context(), "worker", true, time.Minute))
	require.NoError(t, registry.Heartbeat(t.Context(), "worker", "no licence"))
	seen, err := do(t, b.Inspect, activities.InspectInput{Target: worker})
	require.NoError(t, err)
	require.False(t, seen.Healthy)
	require.Equal(t, []shivx.CheckResult{{Check: "heartbeat", Error: "no licence"}}, seen.Checks)
	require.Empty(t, seen.Ladder)
	require.Empty(t, seen.IsolatedBy)
	require.Equal(t, shivx.Policy{Critical: true, Limits: seen.Limits}, seen.Policy)
	require.Positive(t, seen.Limits.Heals, "an entity without a budget would refuse every run")
	require.Positive(t, seen.Observe.Window)

	require.NoError(t, registry.Heartbeat(t.Context(), "worker", ""))
	v, err := do(t, b.Validate, activities.ValidateInput{
		StepInput: activities.StepInput{Target: worker, Run: "r"},
		Observe:   activities.Observation{Window: shivx.Duration(20 * time.Millisecond), Every: shivx.Duration(time.Millisecond)},
	})
	require.NoError(t, err)
	require.True(t, v.Fit, v.Reasons)

	seen, err = do(t, b.Inspect, activities.InspectInput{Target: shivx.Target{Component: "demo", Host: "h1"}})
	require.NoError(t, err)
	require.Len(t, seen.Ladder, 1, "what is configured is found as before")
}
