package forecast

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
)

func TestForecastFaultsNamesWhatMayBeMitigated(t *testing.T) {
	b := newBench(t)
	out, err := do(t, b.ForecastFaults, activities.ForecastFaultsInput{Host: "h1"})
	require.NoError(t, err)
	require.Equal(t, []string{"memory"}, out.Mitigate, "the cpu has an alert and no mitigation")
	require.Len(t, out.Predictions, 1)

	b.engine.lookErr = errors.New("a disk hangs")
	out, err = b.ForecastFaults(t.Context(), activities.ForecastFaultsInput{Host: "h1"})
	require.NoError(t, err, "what was known before is told")
	require.Equal(t, []string{"memory"}, out.Mitigate)

	b.Config.Forecast.Blackouts = []config.Blackout{{From: "00:00", To: "24:00", TimeZone: "UTC"}}
	out, err = b.ForecastFaults(t.Context(), activities.ForecastFaultsInput{Host: "h1"})
	require.NoError(t, err)
	require.Equal(t, []string{"memory"}, out.Mitigate, "the mitigation waits for the end of a blackout, or asks people")

	b.act("r1")
	out, err = b.ForecastFaults(t.Context(), activities.ForecastFaultsInput{Host: "h1"})
	require.NoError(t, err)
	require.Empty(t, out.Mitigate, "within the cooldown")
}

// TestAHostOfManySeries: what a run is told stays far below what Temporal takes.
func TestAHostOfManySeries(t *testing.T) {
	var all []shivx.Prediction
	for i := range 10_000 {
		all = append(all, shivx.Prediction{Probability: float64(i) / 10_000, Alert: i == 7})
	}
	told := worst(all)
	require.Len(t, told, mostTold)
	require.True(t, told[0].Alert)
	require.InDelta(t, 0.9999, told[1].Probability, 1e-9)
	require.InDelta(t, 0, all[0].Probability, 0, "the engine's own order stays")
	require.Len(t, worst(all[:mostTold]), mostTold)
}

func TestWhatIsNotServed(t *testing.T) {
	b := newBench(t)
	for name, in := range map[string]shivx.SubsystemTarget{
		"another host":      {Subsystem: "memory", Host: "h2"},
		"another subsystem": {Subsystem: "time", Host: "h1"},
	} {
		_, err := b.InspectSubsystem(t.Context(), activities.InspectSubsystemInput{SubsystemTarget: in})
		require.Equal(t, activities.ErrUnknownSubsystem, errorType(err), name)
	}
	_, err := b.Mitigate(t.Context(), input("r1", "drop"))
	require.ErrorContains(t, err, `memory@h1 has no mitigation "drop" — see forecast.subsystems, memory, mitigations`)
	_, err = b.Mitigate(t.Context(), input("r1", "restart"))
	require.ErrorContains(t, err, "is the heal of shop, which has a runbook of its own")
	b.Engine = nil
	_, err = b.ForecastFaults(t.Context(), activities.ForecastFaultsInput{Host: "h1"})
	require.ErrorContains(t, err, "h1 forecasts nothing — see forecast.enabled")
}

func TestPolicy(t *testing.T) {
	b := newBench(t)
	b.engine.quiet = noon.Add(2 * time.Hour)
	p := b.inspect()
	require.Equal(t, b.engine.risk, p.Risk)
	require.Equal(t, "memory used", p.Prediction.Series)
	require.Empty(t, p.Refused)
	require.Zero(t, p.BlackoutUntil)
	free, restart, raise := p.Actions[0], p.Actions[1], p.Actions[2]
	require.True(t, free.Destructive)
	require.True(t, free.CanUndo)
	require.Zero(t, free.QuietAt)
	require.Equal(t, "shop", restart.Component)
	require.Equal(t, "quick", restart.Strategy)
	require.Equal(t, "shop", restart.Snapshot)
	require.False(t, restart.Destructive, "its own runbook looks after that")
	require.Equal(t, noon.Add(2*time.Hour), restart.QuietAt)
	require.Equal(t, noon.Add(5*time.Hour-time.Minute), b.engine.before, "it is done before the failure may come")
	require.Equal(t, "no such plugin", raise.Unavailable)
	require.True(t, raise.Destructive, "nobody knows what it does")
}

// TestInALockdownPeopleAreAsked before what may lose the traces of an attack.
func TestInALockdownPeopleAreAsked(t *testing.T) {
	b := newBench(t)
	mode := shivx.DefenseLockdown
	b.Mode = func() shivx.DefenseMode { return mode }
	p := b.inspect()
	require.Equal(t, shivx.Approval{Required: 1, TTL: shivx.Duration(time.Hour)}, p.Actions[0].Approval)
	require.Zero(t, p.Actions[1].Approval)
	b.Config.Forecast.Subsystems[0].Mitigations[0].Approval = config.Approval{Required: 2, TTL: time.Minute, Default: "approve"}
	require.Equal(t, shivx.Approval{Required: 2, TTL: shivx.Duration(time.Minute), Grant: true}, b.inspect().Actions[0].Approval)
	b.Config.Forecast.Subsystems[0].Mitigations[0].Approval = config.Approval{}
	mode = shivx.DefenseNormal
	require.Zero(t, b.inspect().Actions[0].Approval)
}

// TestQuietTimes keeps out of blackouts, also in the night in which the clock is put forward: 02:00 is 03:00 then.
func TestQuietTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	night := time.Date(2026, 3, 28, 22, 0, 0, 0, berlin)
	at := func(hour, minute int) time.Time { return time.Date(2026, 3, 29, hour, minute, 0, 0, berlin) }
	for name, c := range map[string]struct {
		quiet, low, want time.Time
		known            bool
	}{
		"outside of it":                  {at(5, 0), at(8, 0), at(5, 0), true},
		"at its end":                     {at(1, 30), at(8, 0), at(4, 0), true},
		"its end is too late":            {at(1, 30), at(4, 0), time.Time{}, true},
		"not known":                      {time.Time{}, at(8, 0), time.Time{}, false},
		"over already":                   {night.Add(-time.Hour), at(8, 0), time.Time{}, true},
		"no failure is forecast":         {at(3, 30).Add(30 * time.Minute), time.Time{}, at(4, 0), true},
		"after what it must come before": {at(9, 0), at(8, 0), time.Time{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.Config.Forecast.Blackouts = []config.Blackout{{From: "23:00", To: "04:00", TimeZone: "Europe/Berlin"}}
			*b.clock = night
			b.engine.quiet = c.quiet
			b.engine.risk.Low, b.engine.risk.BreachAt = c.low, time.Time{}
			got := b.inspect().Actions[1].QuietAt
			if c.want.IsZero() {
				require.Zero(t, got)
				return
			}
			require.True(t, c.want.Equal(got), "%s, not %s", got, c.want)
		})
	}
	require.Equal(t, 5*time.Hour, at(4, 0).Sub(night), "an hour less than the clock shows")
}

func TestBlackoutUntil(t *testing.T) {
	b := newBench(t)
	b.Config.Forecast.Blackouts = []config.Blackout{{From: "09:00", To: "17:00", TimeZone: "UTC"}}
	require.Equal(t, noon.Add(5*time.Hour), b.inspect().BlackoutUntil)
	b.after(5 * time.Hour)
	require.Zero(t, b.inspect().BlackoutUntil)
}

// TestInspectionWaitsForTheLedger starts nothing before it is known what was done before.
func TestInspectionWaitsForTheLedger(t *testing.T) {
	b := newBench(t)
	_, err := b.Mitigate(t.Context(), input("r1", "free"))
	require.NoError(t, err)
	b.Past = NewPast(b.Ledger.(Journal), b.Logger) // nobody reads it
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = b.InspectSubsystem(ctx, activities.InspectSubsystemInput{SubsystemTarget: memory})
	require.ErrorContains(t, err, "of which 0 were read")
	require.Empty(t, errorType(err), "it is tried again")
}

func TestRegister(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	newBench(t).Register(env)
	_, err := env.ExecuteActivity(activities.ForecastFaults.Name, activities.ForecastFaultsInput{Host: "h1"})
	require.NoError(t, err)
}
