package recovery

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/plugins/host"
)

// silent is a service that accepts and never answers.
type silent struct{}

func (silent) Round(ctx context.Context, _ string) ([]health.Result, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

type noPlugins struct{}

func (noPlugins) Get(context.Context, string) (host.Runner, error) {
	return nil, errors.New("not there")
}

func silentBench() (*Activities, config.Component) {
	cfg := config.Default()
	cfg.Host = "h1"
	window := 2 * time.Second
	return &Activities{Config: cfg, Checks: silent{}, Plugins: noPlugins{}, Logger: slog.New(slog.DiscardHandler)}, config.Component{
		Name: "demo", DependsOn: []string{"db"},
		Ladder: []config.Strategy{
			{Name: "restart", Use: config.Use{Plugin: "process", Timeout: 7 * time.Second}},
			{Name: "restore", Use: config.Use{Plugin: "state", Timeout: 5 * time.Second}},
		},
		State:    config.State{Paths: []string{"/data"}, Consistency: []config.Command{{Timeout: 4 * time.Second}, {}}},
		Validate: config.Validate{Window: &window, Settle: 3 * time.Second, Every: time.Second},
	}
}

func TestInspectionOfASilentServiceIsNoError(t *testing.T) {
	a, c := silentBench()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	got, err := a.inspect(ctx, c)
	require.NoError(t, err)
	require.False(t, got.Healthy)
	require.Equal(t, []string{"db"}, got.Unhealthy)
	require.Equal(t, "restart", got.Ladder[0].Name)
	require.True(t, got.Ladder[0].Destructive, "nobody knows what a plugin does that is not there")

	stop, end := context.WithCancelCause(t.Context())
	end(temporal.NewCanceledError())
	_, err = a.inspect(stop, c)
	var canceled *temporal.CanceledError
	require.ErrorAs(t, err, &canceled)
}

func TestTheValidationIsBoundedByTheSumOfItsParts(t *testing.T) {
	a, c := silentBench()
	observe := (2 + 3 + 1 + 10) * time.Second
	consistency := (4 + 30 + 2) * time.Second
	require.Equal(t, observe+checkpointTimeout+consistency+7*time.Second, validateTimeout(c))

	in := activities.ValidateInput{StepInput: activities.StepInput{Strategy: "restore"}, Observe: observation(c.Validate)}
	var budgets []time.Duration
	for _, p := range a.parts(c, in) {
		budgets = append(budgets, p.budget)
	}
	require.Equal(t, []time.Duration{observe, checkpointTimeout, consistency, 5 * time.Second}, budgets)
}

func TestTimeThatRunsOutIsAVerdict(t *testing.T) {
	a, c := silentBench()
	c.State.Consistency = []config.Command{{Argv: []string{"sleep", "60"}, Timeout: time.Minute}}
	in := activities.ValidateInput{Observe: activities.Observation{Settle: shivx.Duration(time.Minute)}}
	for _, p := range a.parts(c, in) {
		if p.name == "state" {
			continue
		}
		p.budget = 20 * time.Millisecond
		var v activities.Validation
		require.NoError(t, p.run(t.Context(), &v))
		require.Equal(t, []string{p.name + ": not judged within 20ms"}, v.Reasons)

		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(temporal.NewCanceledError())
		var canceled *temporal.CanceledError
		require.ErrorAs(t, p.run(ctx, &v), &canceled)
	}
}

func TestEveryTryOfPuttingBackIsAnEffectOfItsOwn(t *testing.T) {
	key := func(strategy string, attempt int) string {
		return effectKey(activities.StepInput{Run: "r", Strategy: strategy, Attempt: attempt}, "reintegrate")
	}
	require.Equal(t, "r/reintegrate", key("", 0))
	require.Equal(t, "r/reintegrate/1", key("", 1))
	require.Equal(t, "r/reintegrate/2", key("", 2))
	require.Equal(t, "r/reintegrate/restart/2", key("restart", 2))
}
