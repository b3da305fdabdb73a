package workflows_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// fakeForecast is a host that forecasts, and what runbooks it was asked to start.
type fakeForecast struct {
	mu        sync.Mutex
	found     activities.ForecastFaultsResult
	err       error
	escalated []activities.EscalateInput
	started   []shivx.MitigationInput
}

func (f *fakeForecast) register(env *testsuite.TestWorkflowEnvironment) {
	env.RegisterWorkflowWithOptions(workflows.FaultForecast, workflow.RegisterOptions{Name: shivx.TypeFaultForecast})
	env.RegisterWorkflowWithOptions(func(_ workflow.Context, in shivx.MitigationInput) (shivx.MitigationResult, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.started = append(f.started, in)
		return shivx.MitigationResult{}, nil
	}, workflow.RegisterOptions{Name: shivx.TypeMitigation})
	activities.ForecastFaults.Register(env, func(context.Context, activities.ForecastFaultsInput) (activities.ForecastFaultsResult, error) {
		return f.found, f.err
	})
	activities.Escalate.Register(env, func(_ context.Context, in activities.EscalateInput) (activities.EscalateResult, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.escalated = append(f.escalated, in)
		return activities.EscalateResult{}, nil
	})
}

func risk(subsystem string, value int, alert bool) shivx.Risk {
	at := time.Date(2026, 11, 24, 14, 20, 0, 0, time.UTC)
	return shivx.Risk{
		SubsystemTarget: shivx.SubsystemTarget{Subsystem: subsystem, Host: "h1"}, Risk: value, Color: shivx.ColorOf(value), Alert: alert,
		Probability: float64(value) / 100, BreachAt: at, Low: at.Add(-time.Hour), High: at.Add(time.Hour), Why: subsystem + " fills up",
	}
}

func foreseen() *fakeForecast {
	unknown := shivx.Risk{SubsystemTarget: shivx.SubsystemTarget{Subsystem: "shop", Host: "h1"}, Missing: "too little was measured"}
	return &fakeForecast{found: activities.ForecastFaultsResult{
		Heatmap:     shivx.Heatmap{Host: "h1", Risks: []shivx.Risk{unknown, risk("cpu", 3, false), risk("memory", 83, true), risk("disk", 60, true)}},
		Predictions: []shivx.Prediction{{Series: "shivx_host_memory_used_ratio", Alert: true}},
		Mitigate:    []string{"memory", "disk"},
	}}
}

func forecast(t *testing.T, f *fakeForecast, in shivx.FaultForecastInput) (shivx.FaultForecastResult, shivx.Heatmap, string) {
	t.Helper()
	env := newEnv(t)
	f.register(env)
	env.ExecuteWorkflow(shivx.TypeFaultForecast, in)
	require.True(t, env.IsWorkflowCompleted())
	var heat shivx.Heatmap
	if v, err := env.QueryWorkflow(shivx.QueryHeatmap); err == nil {
		require.NoError(t, v.Get(&heat))
	}
	return ended[shivx.FaultForecastResult](t, env), heat, details(t, env)
}

// details is what the Temporal UI shows of a run.
func details(t *testing.T, env *testsuite.TestWorkflowEnvironment) string {
	t.Helper()
	v, err := env.QueryWorkflow("__temporal_workflow_metadata")
	require.NoError(t, err)
	var m sdkpb.WorkflowMetadata
	require.NoError(t, v.Get(&m))
	return m.CurrentDetails
}

func TestFaultForecastStartsMitigations(t *testing.T) {
	f := foreseen()
	out, heat, shown := forecast(t, f, shivx.FaultForecastInput{Host: "h1", Reason: "schedule"})
	require.Equal(t, "2 of 4 subsystems have an alert; the worst is memory, 83 (red); nothing is known of 1", out.Message)
	require.Equal(t, []string{"mitigation/memory@h1", "mitigation/disk@h1"}, out.Mitigations)
	require.Len(t, out.Predictions, 1)
	require.Equal(t, out.Heatmap, heat)
	require.Len(t, f.started, 2)
	require.Equal(t, "forecast: memory fills up", f.started[0].Reason)
	require.Equal(t, "memory@h1", f.started[0].String())
	require.Empty(t, f.escalated)
	worst := strings.Index(shown, "| 🔴 red | 83 | memory | 2026-11-24 14:20:00 UTC (80 %: 13:20:00 to 15:20:00) | **alert** memory fills up | is mitigated by mitigation/memory@h1 |")
	require.Positive(t, worst, shown)
	require.Less(t, worst, strings.Index(shown, "| 🟠 orange | 60 | disk |"), shown)
	require.Less(t, strings.Index(shown, "| 🟢 green | 3 | cpu |"), strings.Index(shown, "| ⚪ unknown | – | shop | | too little was measured |"), shown)
}

func TestFaultForecastPlanStartsNothing(t *testing.T) {
	f := foreseen()
	out, _, _ := forecast(t, f, shivx.FaultForecastInput{Host: "h1", Plan: true})
	require.Empty(t, out.Mitigations)
	require.Empty(t, f.started)
	require.Len(t, out.Risks, 4)
}

func TestFaultForecastOfNothing(t *testing.T) {
	f := &fakeForecast{}
	out, _, _ := forecast(t, f, shivx.FaultForecastInput{Host: "h1"})
	require.Equal(t, "no subsystem is watched", out.Message)
	f.found.Heatmap.Risks = foreseen().found.Heatmap.Risks[:1]
	out, _, _ = forecast(t, f, shivx.FaultForecastInput{Host: "h1"})
	require.Equal(t, "nothing is known yet of 1 subsystems", out.Message)
}

// TestFaultForecastOfAHostThatIsGone tells people once a day, and not at each run of a schedule.
func TestFaultForecastOfAHostThatIsGone(t *testing.T) {
	f := &fakeForecast{err: gone()}
	out, _, _ := forecast(t, f, shivx.FaultForecastInput{Host: "h1"})
	require.Contains(t, out.Message, "no agent of h1 took the work within 2m0s")
	require.Len(t, f.escalated, 1)
	require.Equal(t, "forecast@h1", f.escalated[0].Run)
	require.True(t, strings.HasPrefix(f.escalated[0].Key, "host-unreachable/20"), f.escalated[0].Key)

	f = &fakeForecast{err: errors.New("the disk is on fire")}
	out, _, _ = forecast(t, f, shivx.FaultForecastInput{Host: "h1"})
	require.Contains(t, out.Message, "the disk is on fire")
	require.Empty(t, f.escalated)
}

func TestFaultForecastNeedsAHost(t *testing.T) {
	for _, host := range []string{"", "a@b", "a/b"} {
		env := newEnv(t)
		(&fakeForecast{}).register(env)
		env.ExecuteWorkflow(shivx.TypeFaultForecast, shivx.FaultForecastInput{Host: host})
		require.ErrorContains(t, env.GetWorkflowError(), "the input has no host")
	}
}
