package forecast

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/ledger"
)

func TestPlanMitigationChangesNothing(t *testing.T) {
	b := newBench(t)
	res, err := do(t, b.PlanMitigation, input("r1", "free"))
	require.NoError(t, err)
	require.Equal(t, activities.StepResult{Summary: "would free 2 GiB", Changes: []string{"/var/log/a"}}, res)
	require.Zero(t, b.plugin.effects)
	require.Empty(t, b.engine.acting)
	require.Empty(t, b.records())
}

func TestMitigateTakesPlaceOnce(t *testing.T) {
	b := newBench(t)
	for range 2 {
		res, err := do(t, b.Mitigate, input("r1", "free"))
		require.NoError(t, err)
		require.Equal(t, "freed 2 GiB", res.Summary)
	}
	require.Equal(t, 1, b.plugin.effects)
	require.Equal(t, []string{"mitigation/memory@h1 r1/free"}, b.engine.acting)
	req := b.plugin.seen[0]
	require.Equal(t, "mitigation/memory@h1 r1/act/free", req.Key)
	require.Equal(t, "memory", req.Component)
	require.Equal(t, "a test", req.Reason)
	recs := b.records()
	require.Len(t, recs, 2)
	require.Equal(t, shivx.EventStepStarted, recs[0].EventType)
	require.Equal(t, shivx.EventStepDone, recs[1].EventType)
	for _, r := range recs {
		require.Equal(t, "memory", r.Subsystem)
		require.Equal(t, shivx.Step("act"), r.Step)
		require.Equal(t, "free", r.Strategy)
	}
	_, err := do(t, b.Mitigate, input("r2", "free"))
	require.NoError(t, err)
	require.Equal(t, 2, b.plugin.effects, "of another run it is another effect")
}

// TestMitigateIsResumed kills the agent after the effect: the plugin is asked, and it is not repeated.
func TestMitigateIsResumed(t *testing.T) {
	b := newBench(t)
	b.plugin.cutAfter = true
	require.Panics(t, func() { _, _ = b.Mitigate(t.Context(), input("r1", "free")) })
	b.attempts = activities.Attempts{}
	b.restarts()
	b.plugin.cutAfter = false
	res, err := do(t, b.Mitigate, input("r1", "free"))
	require.NoError(t, err)
	require.True(t, res.Resumed)
	require.Equal(t, 1, b.plugin.effects)
	require.Len(t, b.engine.acting, 1, "the forecast without it is the one from before it")
}

func TestMitigateFails(t *testing.T) {
	b := newBench(t)
	b.plugin.fail = errors.New("no such folder")
	_, err := do(t, b.Mitigate, input("r1", "free"))
	require.Equal(t, activities.ErrPlugin, errorType(err))
	require.ErrorContains(t, err, "cleaner: no such folder")
	b.plugin.fail = nil
	_, err = do(t, b.Mitigate, input("r1", "free"))
	require.ErrorContains(t, err, "no such folder", "what has failed is not repeated")
}

// TestMitigateWithoutAForecast acts all the same: that its effect cannot be measured is no reason to let a failure come.
func TestMitigateWithoutAForecast(t *testing.T) {
	b := newBench(t)
	b.engine.actErr = errors.New("the disk is full")
	_, err := do(t, b.Mitigate, input("r1", "free"))
	require.NoError(t, err)
	require.Equal(t, 1, b.plugin.effects)
}

// full is a ledger on a full disk.
type full struct{ *ledger.Ledger }

func (full) Append(context.Context, string, any) (ledger.Record, error) {
	return ledger.Record{}, errors.New("no space left on device")
}

// TestNothingIsMitigatedThatCannotBeWrittenDown: neither the budget nor a crash would know of it.
func TestNothingIsMitigatedThatCannotBeWrittenDown(t *testing.T) {
	b := newBench(t)
	writable := b.Ledger
	b.Ledger = full{b.Ledger.(*ledger.Ledger)}
	_, err := do(t, b.Mitigate, input("r1", "free"))
	require.Equal(t, activities.ErrBusy, errorType(err), "nothing was done")
	require.ErrorContains(t, err, "no space left on device — ")
	_, err = do(t, b.MarkMitigation, input("r1", "restart"))
	require.Equal(t, activities.ErrBusy, errorType(err))
	require.Zero(t, b.plugin.effects)

	b.Ledger = writable
	_, err = do(t, b.Mitigate, input("r1", "free"))
	require.NoError(t, err, "no end is on record of what did not begin")
	require.Equal(t, 1, b.plugin.effects)

	b.Ledger = full{writable.(*ledger.Ledger)}
	_, err = do(t, b.UndoMitigation, input("r1", "free"))
	require.NoError(t, err, "what was begun is taken back all the same")
	require.Equal(t, 1, b.plugin.undone)
}

// TestMitigateNeedsAMark: after a crash nobody could tell whether it took place.
func TestMitigateNeedsAMark(t *testing.T) {
	b := newBench(t)
	b.plugin.markErr = errors.New("no such folder")
	_, err := do(t, b.Mitigate, input("r1", "free"))
	require.Equal(t, activities.ErrPlugin, errorType(err))
	require.ErrorContains(t, err, "no such folder")
	require.Zero(t, b.plugin.effects)
	require.Empty(t, b.records())
}

// TestUndoOfWhatWasNotBegun leaves alone what an earlier run has left, which is what the plugin knows of.
func TestUndoOfWhatWasNotBegun(t *testing.T) {
	b := newBench(t)
	_, err := do(t, b.Mitigate, input("r1", "free"))
	require.NoError(t, err)
	res, err := do(t, b.UndoMitigation, input("r2", "free"))
	require.NoError(t, err)
	require.True(t, res.Skipped)
	require.Equal(t, "it was not begun", res.Summary)
	require.Zero(t, b.plugin.undone)
}

func TestUndoMitigation(t *testing.T) {
	b := newBench(t)
	_, err := do(t, b.Mitigate, input("r1", "free"))
	require.NoError(t, err)
	for range 2 {
		res, err := do(t, b.UndoMitigation, input("r1", "free"))
		require.NoError(t, err)
		require.Equal(t, "as before", res.Summary)
	}
	require.Equal(t, 1, b.plugin.undone)
}

func TestMarkMitigationCountsAHeal(t *testing.T) {
	b := newBench(t)
	for range 2 {
		_, err := do(t, b.MarkMitigation, input("r1", "restart"))
		require.NoError(t, err)
	}
	recs := b.records()
	require.Len(t, recs, 1)
	require.Equal(t, "shop", recs[0].Component)
	require.Equal(t, "mitigation/memory@h1 r1/restart", b.engine.acting[0])
}

func TestMeasureMitigation(t *testing.T) {
	b := newBench(t)
	b.engine.effect = shivx.MitigationEffect{Before: 0.8, Forecast: 0.9, After: 0.4, Helped: true, Why: "half is free"}
	first, err := do(t, b.MeasureMitigation, input("r1", "free"))
	require.NoError(t, err)
	require.True(t, first.Helped)
	b.engine.effect = shivx.MitigationEffect{}
	b.restarts()
	again, err := do(t, b.MeasureMitigation, input("r1", "free"))
	require.NoError(t, err)
	require.Equal(t, first, again, "a repetition gives the same answer")
	require.Equal(t, 1, b.engine.asked)

	b.engine.err = errors.New("it is not known what was forecast")
	_, err = do(t, b.MeasureMitigation, input("r2", "free"))
	require.Equal(t, activities.ErrPlugin, errorType(err))
}

func TestLogMitigation(t *testing.T) {
	b := newBench(t)
	in := activities.LogMitigationInput{
		Message: "free helped", Seconds: 1.5, Started: noon, Reason: "a test",
		Effects: []shivx.MitigationEffect{{Action: "free", Helped: true, Why: "half is free"}},
	}
	b.ends("r1", shivx.OutcomePrevented, in)
	b.ends("r1", shivx.OutcomePrevented, in)
	b.ends("r2", shivx.OutcomeUseless, activities.LogMitigationInput{})
	recs := b.records()
	require.Len(t, recs, 2, "a repetition is written once")
	require.Equal(t, shivx.EventMitigation, recs[0].EventType)
	require.True(t, *recs[0].Success)
	require.EqualValues(t, 1500, recs[0].DurationMS)
	require.Equal(t, shivx.SeverityInfo, recs[0].Severity)
	require.Equal(t, noon, recs[0].Timestamp)
	details := recs[0].Details.(map[string]any)
	require.Equal(t, "a test", details["reason"])
	require.Len(t, details["rules"], 3)
	require.Equal(t, shivx.SeverityError, recs[1].Severity)
	require.False(t, *recs[1].Success)
}

// step is a step of a run as its end has it.
func step(name shivx.MitigationStep, outcome string) shivx.MitigationStepReport {
	return shivx.MitigationStepReport{Name: name, Action: "free", Outcome: outcome, Summary: "refused by ben: not now"}
}

func TestCooldown(t *testing.T) {
	for name, c := range map[string]struct {
		do      func(*bench)
		refused bool
	}{
		"acted":            {func(b *bench) { b.act("r1") }, true},
		"acted and killed": {func(b *bench) { b.act("r1"); b.restarts() }, true},
		"asked people": {func(b *bench) {
			b.ends("r1", shivx.OutcomeRefused, steps(step(shivx.MitigationApprove, shivx.StepFailed)))
		}, true},
		"was busy": {func(b *bench) {
			b.mark("r1")
			b.ends("r1", shivx.OutcomeRefused, steps(step(shivx.MitigationAct, shivx.StepSkipped)))
		}, true},
		"could not plan": {func(b *bench) {
			b.ends("r1", shivx.OutcomeRefused, steps(step(shivx.MitigationPlan, shivx.StepFailed)))
		}, true},
		"planned": {func(b *bench) {
			b.ends("r1", shivx.OutcomeUnneeded, steps(step(shivx.MitigationPlan, shivx.StepDone)))
		}, false},
		"was not needed":    {func(b *bench) { b.ends("r1", shivx.OutcomeUnneeded, activities.LogMitigationInput{}) }, false},
		"acted long ago":    {func(b *bench) { b.act("r1"); b.after(16 * time.Minute) }, false},
		"another subsystem": {func(b *bench) { b.actOn("disk", "r1") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c.do(b)
			if !c.refused {
				require.Empty(t, b.inspect().Refused)
				return
			}
			require.Contains(t, b.inspect().Refused, "the next one may begin at 2026-11-24 12:15:00 UTC")
			b.after(15 * time.Minute)
			require.Empty(t, b.inspect().Refused)
		})
	}
}

func steps(all ...shivx.MitigationStepReport) activities.LogMitigationInput {
	return activities.LogMitigationInput{Steps: all}
}

func (b *bench) act(run string) { b.actOn("memory", run) }

// actOn takes an action at the time of the test's clock.
func (b *bench) actOn(subsystem, run string) {
	b.t.Helper()
	_, err := b.write(b.t.Context(), run+"/act", shivx.RecoveryRecord{
		EventType: shivx.EventStepStarted, Subsystem: subsystem, Run: run, Step: shivx.Step(shivx.MitigationAct)})
	require.NoError(b.t, err)
}

func (b *bench) mark(run string) {
	b.t.Helper()
	_, err := b.MarkMitigation(b.t.Context(), input(run, "restart"))
	require.NoError(b.t, err)
}

func TestBudget(t *testing.T) {
	b := newBench(t)
	for _, run := range []string{"r1", "r2", "r3"} {
		b.act(run)
		require.NotContains(t, b.inspect().Refused, "no more than", run)
		b.after(20 * time.Minute)
		if run == "r2" {
			require.Empty(t, b.inspect().Refused)
		}
	}
	require.Contains(t, b.inspect().Refused, "memory had 3 mitigations within 24h0m0s, and no more than 3 are allowed")
	b.restarts()
	require.Contains(t, b.inspect().Refused, "no more than 3 are allowed", "a crash forgets nothing")
	b.after(24*time.Hour - time.Hour)
	require.Empty(t, b.inspect().Refused, "the window has room for one again")
}

// TestBudgetOfWhatWasBusy is not used up by an action that did not take place.
func TestBudgetOfWhatWasBusy(t *testing.T) {
	b := newBench(t)
	for _, run := range []string{"r1", "r2", "r3", "r4"} {
		b.mark(run)
		b.ends(run, shivx.OutcomeRefused, steps(step(shivx.MitigationAct, shivx.StepSkipped)))
		b.after(20 * time.Minute)
		require.Empty(t, b.inspect().Refused)
	}
}

func TestBudgetOfTheHost(t *testing.T) {
	b := newBench(t)
	for _, run := range []string{"a", "b", "c", "d", "e", "f"} {
		require.Empty(t, b.inspect().Refused)
		b.actOn("disk", run)
	}
	require.Contains(t, b.inspect().Refused, "the host had 6 mitigations within 1h0m0s")
	b.after(time.Hour)
	require.Empty(t, b.inspect().Refused)
}

func TestWhatDidNotHelpIsNotRepeated(t *testing.T) {
	useless := []shivx.MitigationEffect{{Action: "free", Why: "it fills up as before"}}
	b := newBench(t)
	b.ends("r1", shivx.OutcomeUseless, activities.LogMitigationInput{Effects: useless})
	b.restarts()
	require.Equal(t, "it did not help at 2026-11-24 12:00:00 UTC: it fills up as before; it may be tried again from 2026-11-25 12:00:00 UTC on, or by force",
		b.inspect().Actions[0].Useless)
	require.Empty(t, b.inspect().Actions[1].Useless)
	b.after(24 * time.Hour)
	require.Empty(t, b.inspect().Actions[0].Useless)

	for name, change := range map[string]func(*bench){
		"it helped since": func(b *bench) {
			b.ends("r2", shivx.OutcomePrevented, activities.LogMitigationInput{Effects: []shivx.MitigationEffect{{Action: "free", Helped: true}}})
		},
		"it was configured anew": func(b *bench) {
			b.Config.Forecast.Subsystems[0].Mitigations[0].Options = map[string]any{"older_than": "1h"}
		},
	} {
		b := newBench(t)
		b.ends("r1", shivx.OutcomeUseless, activities.LogMitigationInput{Effects: useless})
		require.NotEmpty(t, b.inspect().Actions[0].Useless)
		change(b)
		require.Empty(t, b.inspect().Actions[0].Useless, name)
	}

	b = newBench(t)
	b.ends("r1", shivx.OutcomeUnneeded, activities.LogMitigationInput{Effects: useless, Prediction: &shivx.Prediction{Series: "memory used"}})
	require.Empty(t, b.inspect().Actions[0].Useless, "there was no failure that it could have put off")

	b = newBench(t)
	b.ends("r1", shivx.OutcomeAborted, activities.LogMitigationInput{Effects: useless})
	require.Empty(t, b.inspect().Actions[0].Useless, "its effect was measured early")
}

func TestWhatPeopleRefusedIsNotAskedAgain(t *testing.T) {
	b := newBench(t)
	in := steps(step(shivx.MitigationApprove, shivx.StepFailed))
	in.Denied = []string{"free"}
	b.ends("r1", shivx.OutcomeRefused, in)
	require.Contains(t, b.inspect().Actions[0].Useless, "people refused it at 2026-11-24 12:00:00 UTC: refused by ben: not now")
}
