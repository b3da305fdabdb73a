package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// byForecast is what a FaultForecast gives to a Mitigation.
var byForecast = shivx.MitigationInput{Reason: "forecast: memory fills up"}

func TestMitigationPrevents(t *testing.T) {
	f := newFakeMitigation("free", "restart")
	f.helps = "free"
	out, shown := mitigateShown(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome, out.Message)
	require.Equal(t, []string{"InspectSubsystem", "PlanMitigation free", "PlanMitigation restart", "Mitigate free", "MeasureMitigation free", "LogMitigation"}, f.calls)
	require.InDelta(t, 900, out.Seconds, 2, "the effect is measured a quarter of an hour later")
	require.True(t, out.Effects[0].Helped)
	require.Equal(t, "memory used", out.Prediction.Series)
	require.EqualValues(t, 7, out.LedgerSeq)
	require.Equal(t, out.Effects, f.logged[0].Effects)
	require.Empty(t, f.escalated)
	require.Contains(t, shown, "**prevented** — free helped: the level fell by half")
	require.Contains(t, shown, "| free | fake | would free | at once |  |")
	require.Contains(t, shown, "🔴 risk 83 (red), failure forecast for 2026-11-24 18:00:00 UTC (80 %: 17:00:00 to 19:00:00)")
}

func TestMitigationTriesTheNextAction(t *testing.T) {
	f := newFakeMitigation("free", "raise")
	f.helps = "raise"
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.Equal(t, []string{"Mitigate free", "MeasureMitigation free", "InspectSubsystem", "UndoMitigation free", "Mitigate raise", "MeasureMitigation raise", "LogMitigation"},
		f.calls[3:])
	require.Len(t, out.Effects, 2)
}

func TestMitigationThatHelpsNothingTellsPeople(t *testing.T) {
	f := newFakeMitigation("free", "raise")
	f.action("raise").CanUndo = false
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomeUseless, out.Outcome)
	require.Equal(t, "no action helped: free: it fills up as before; raise: it fills up as before", out.Message)
	require.NotContains(t, f.calls, "UndoMitigation raise")
	require.Len(t, f.escalated, 1)
	require.Equal(t, "mitigation/memory", f.escalated[0].Component)
	require.Contains(t, f.escalated[0].Hint, "memory fills up")
	require.Equal(t, shivx.OutcomeUseless, f.logged[0].Outcome)
}

func TestMitigationEndsWhenTheFailureIsNotForecastAnyMore(t *testing.T) {
	f := newFakeMitigation("free", "raise")
	f.at(15*time.Minute, noAlert)
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomeUnneeded, out.Outcome)
	require.Contains(t, out.Message, "no action is known to have brought that about")
	require.NotContains(t, f.calls, "Mitigate raise")
}

func TestMitigationPlan(t *testing.T) {
	f := newFakeMitigation("free", "restart", "raise")
	f.action("restart").Plugin, f.action("restart").Component, f.action("restart").Strategy = "", "shop", "quick"
	f.action("raise").Useless = "it did not help yesterday"
	f.policy.Refused = "the budget is used up"
	out := mitigate(t, f, shivx.MitigationInput{Plan: true})
	require.Equal(t, shivx.OutcomePlanned, out.Outcome)
	require.Equal(t, []string{"InspectSubsystem", "PlanMitigation free"}, f.calls)
	require.Equal(t, "nothing was changed; 2 of 3 actions may be tried, in this order, until one helps; now it would end as refused: the budget is used up", out.Message)
	require.Equal(t, []string{"one"}, out.Actions[0].Changes)
	require.Equal(t, "heals shop from the strategy quick on", out.Actions[1].Summary)
	require.Equal(t, "it did not help yesterday", out.Actions[2].Skip)
	require.Empty(t, f.logged)
	require.Len(t, out.Steps, 2)
}

func TestMitigationIsNotBegun(t *testing.T) {
	cases := map[string]struct {
		change func(*activities.SubsystemPolicy)
		in     shivx.MitigationInput
		want   shivx.Outcome
		text   string
		told   int
	}{
		"nothing is forecast":      {noAlert, byForecast, shivx.OutcomeUnneeded, "no failure is forecast", 0},
		"nothing is known":         {func(p *activities.SubsystemPolicy) { p.Risk = shivx.Risk{Missing: "too little was measured"} }, byForecast, shivx.OutcomeUnneeded, "too little was measured", 0},
		"the budget is used up":    {func(p *activities.SubsystemPolicy) { p.Refused = "3 within 24h" }, byForecast, shivx.OutcomeRefused, "3 within 24h", 0},
		"no action":                {func(p *activities.SubsystemPolicy) { p.Actions = nil }, byForecast, shivx.OutcomeRefused, "the configuration has no mitigation for memory@h1", 1},
		"another action was named": {func(*activities.SubsystemPolicy) {}, shivx.MitigationInput{Action: "drop"}, shivx.OutcomeRefused, `memory@h1 has no mitigation "drop"; it has: free`, 0},
		"it did not help before":   {func(p *activities.SubsystemPolicy) { p.Actions[0].Useless = "it did not help" }, byForecast, shivx.OutcomeRefused, "free: it did not help", 1},
		"a person is told by the end": {func(p *activities.SubsystemPolicy) { p.Actions[0].Useless = "it did not help" },
			shivx.MitigationInput{RequestedBy: "ana"}, shivx.OutcomeRefused, "free: it did not help", 0},
		"the plugin is away": {func(p *activities.SubsystemPolicy) { p.Actions[0].Unavailable = "no such file" }, byForecast, shivx.OutcomeRefused, "no such file", 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeMitigation("free")
			c.change(&f.policy)
			out := mitigate(t, f, c.in)
			require.Equal(t, c.want, out.Outcome, out.Message)
			require.Contains(t, out.Message, c.text)
			require.Empty(t, f.acted)
			require.Len(t, f.escalated, c.told)
			require.Len(t, f.logged, 1, "every end is in the ledger")
		})
	}
}

func TestMitigationByForce(t *testing.T) {
	f := newFakeMitigation("free")
	f.helps = "free"
	noAlert(&f.policy)
	f.policy.Refused, f.policy.BlackoutUntil = "3 within 24h", noon.Add(time.Hour)
	f.action("free").Useless, f.action("free").QuietAt = "it did not help", noon.Add(time.Hour)
	out := mitigate(t, f, shivx.MitigationInput{Force: true})
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.WithinDuration(t, noon, f.acted["free"], time.Minute)
}

// TestMitigationByForceOfWhatIsNotForecast takes back nothing that people wanted, and takes no further action: there is no
// failure that it could have put off.
func TestMitigationByForceOfWhatIsNotForecast(t *testing.T) {
	for name, in := range map[string]shivx.MitigationInput{"by force": {Force: true}, "by name": {Action: "raise"}} {
		t.Run(name, func(t *testing.T) {
			f := newFakeMitigation("raise", "restart")
			noAlert(&f.policy)
			out := mitigate(t, f, in)
			require.Equal(t, shivx.OutcomeUnneeded, out.Outcome, out.Message)
			require.Equal(t, "no failure is forecast; raise was taken as asked and stays: it fills up as before", out.Message)
			require.NotContains(t, f.calls, "UndoMitigation raise")
			require.NotContains(t, f.calls, "Mitigate restart")
			require.Empty(t, f.escalated)
		})
	}
	f := newFakeMitigation("raise")
	noAlert(&f.policy)
	f.failing["MeasureMitigation raise"] = pluginFailed("the series is gone")
	out := mitigate(t, f, shivx.MitigationInput{Force: true})
	require.Equal(t, "no failure is forecast; raise was taken as asked and stays: the series is gone", out.Message)
}

// TestMitigationTellsOnceADayThatNothingCanBeDone: the forecast starts it again and again.
func TestMitigationTellsOnceADayThatNothingCanBeDone(t *testing.T) {
	f := newFakeMitigation("free")
	f.failing["PlanMitigation free"] = pluginFailed("no such folder")
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomeRefused, out.Outcome)
	require.Len(t, f.escalated, 1)
	require.Equal(t, "mitigation/memory@h1", f.escalated[0].Run, "the same for every run")
	require.Equal(t, "refused/2026-11-24", f.escalated[0].Key)
}

func TestMitigationOfOneAction(t *testing.T) {
	f := newFakeMitigation("free", "raise")
	f.helps = "raise"
	noAlert(&f.policy)
	out := mitigate(t, f, shivx.MitigationInput{Action: "raise"})
	require.Equal(t, shivx.OutcomePrevented, out.Outcome, "whoever names an action wants it now")
	require.Len(t, out.Actions, 1)
	require.NotContains(t, f.acted, "free")
}

// TestMitigationWaitsForAQuietTime looks again from time to time, and goes earlier when the failure does.
func TestMitigationWaitsForAQuietTime(t *testing.T) {
	quiet := noon.Add(3 * time.Hour)
	for name, c := range map[string]struct {
		change func(*activities.SubsystemPolicy)
		want   shivx.Outcome
		acted  time.Time
	}{
		"as it was":            {func(*activities.SubsystemPolicy) {}, shivx.OutcomePrevented, quiet},
		"not needed any more":  {noAlert, shivx.OutcomeUnneeded, time.Time{}},
		"sooner":               {func(p *activities.SubsystemPolicy) { p.Actions[0].QuietAt = noon.Add(2 * time.Hour) }, shivx.OutcomePrevented, noon.Add(2 * time.Hour)},
		"at once":              {func(p *activities.SubsystemPolicy) { p.Actions[0].QuietAt = time.Time{} }, shivx.OutcomePrevented, noon.Add(time.Hour)},
		"never put off":        {func(p *activities.SubsystemPolicy) { p.Actions[0].QuietAt = noon.Add(9 * time.Hour) }, shivx.OutcomePrevented, quiet},
		"the budget went away": {func(p *activities.SubsystemPolicy) { p.Refused = "6 within 1h" }, shivx.OutcomeRefused, time.Time{}},
		"the action went away": {func(p *activities.SubsystemPolicy) { p.Actions = nil }, shivx.OutcomeRefused, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeMitigation("free")
			f.helps, f.action("free").QuietAt = "free", quiet
			f.at(time.Hour, c.change)
			out := mitigate(t, f, byForecast)
			require.Equal(t, c.want, out.Outcome, out.Message)
			if c.acted.IsZero() {
				require.Empty(t, f.acted)
				return
			}
			require.WithinDuration(t, c.acted, f.acted["free"], time.Minute)
			require.Equal(t, shivx.MitigationWait, out.Steps[2].Name)
			require.Equal(t, shivx.MitigationAct, out.Steps[3].Name, "one wait is one step, however often the host is looked at")
			require.InDelta(t, c.acted.Sub(noon).Seconds(), out.Steps[2].Seconds, 60)
		})
	}
}

func TestMitigationWaitsForTheEndOfABlackout(t *testing.T) {
	f := newFakeMitigation("free")
	f.helps = "free"
	f.policy.BlackoutUntil = noon.Add(2 * time.Hour)
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.WithinDuration(t, noon.Add(2*time.Hour), f.acted["free"], time.Minute)
	require.Empty(t, f.escalated, "the failure is forecast for after it")

	f = newFakeMitigation("free")
	f.policy.BlackoutUntil = noon.Add(2 * time.Hour)
	f.at(time.Hour, noAlert)
	out = mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomeUnneeded, out.Outcome)
	require.Empty(t, f.acted)
}

// TestMitigationWaitsNotForEver ends a run whose history is full, as in a blackout without an end.
func TestMitigationWaitsNotForEver(t *testing.T) {
	f := newFakeMitigation("free")
	f.policy.BlackoutUntil = noon.Add(2 * time.Hour)
	out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SetContinueAsNewSuggested(true) }, time.Hour)
	})
	require.Equal(t, shivx.OutcomeRefused, out.Outcome)
	require.Contains(t, out.Message, "the next forecast starts it anew")
	require.Empty(t, f.acted)
	require.Empty(t, f.escalated)
}

// TestMitigationThatPutsTheFailureOff says so.
func TestMitigationThatPutsTheFailureOff(t *testing.T) {
	f := newFakeMitigation("free")
	f.helps, f.breachAfter = "free", noon.Add(30*time.Hour)
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.Equal(t, "free helped: the level fell by half; a failure is still forecast, for 2026-11-25 18:00:00 UTC", out.Message)
}

// TestMitigationAsksInABlackout asks people when the failure comes before the end of the blackout.
func TestMitigationAsksInABlackout(t *testing.T) {
	end := noon.Add(8 * time.Hour)
	for name, c := range map[string]struct {
		decision *workflows.Decision
		acted    time.Time
	}{
		"approved":    {&workflows.Decision{By: "ana", For: "to act in the blackout"}, noon.Add(time.Hour)},
		"refused":     {&workflows.Decision{By: "ana", Deny: true}, end},
		"not decided": {nil, end},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeMitigation("free")
			f.helps, f.policy.BlackoutUntil = "free", end
			out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) {
				if c.decision != nil {
					decides(env, time.Hour, *c.decision)
				}
			})
			require.Equal(t, shivx.OutcomePrevented, out.Outcome, out.Message)
			require.WithinDuration(t, c.acted, f.acted["free"], time.Minute)
			require.Len(t, f.escalated, 1)
			require.Contains(t, f.escalated[0].Message, "before the end of the blackout")
			require.Equal(t, `to act now: shivx approve mitigation/memory@h1 --for "to act in the blackout"`, f.escalated[0].Hint)
			require.Empty(t, f.escalated[0].Outcome)
		})
	}
}

// decides answers a run after some time.
func decides(env *testsuite.TestWorkflowEnvironment, after time.Duration, d workflows.Decision) {
	env.RegisterDelayedCallback(func() {
		env.UpdateWorkflowNoRejection(shivx.UpdateApprove, d.By, nil, d)
	}, after)
}
