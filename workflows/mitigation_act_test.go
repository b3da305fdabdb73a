package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

func needsTwo() shivx.Approval {
	return shivx.Approval{Required: 2, Of: []string{"ana", "ben", "eve"}, TTL: shivx.Duration(2 * time.Hour)}
}

func TestMitigationIsApproved(t *testing.T) {
	f := newFakeMitigation("free")
	f.helps, f.action("free").Approval, f.action("free").Destructive = "free", needsTwo(), true
	out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) {
		decides(env, time.Hour, workflows.Decision{By: "ana"})
		decides(env, 90*time.Minute, workflows.Decision{By: "ben"})
	})
	require.Equal(t, shivx.OutcomePrevented, out.Outcome, out.Message)
	require.WithinDuration(t, noon.Add(90*time.Minute), f.acted["free"], time.Minute)
	require.Len(t, f.escalated, 1, "nobody looks at a run that a forecast has begun")
	require.Equal(t, "memory fills up; free (would free), which may lose something for memory@h1 waits for 2 approvals", f.escalated[0].Message)
	require.Equal(t, "answer with: shivx approve mitigation/memory@h1 --for free [--deny]", f.escalated[0].Hint)
}

// TestAnAnswerThatComesLateIsNotForTheNextQuestion refuses what was meant for a question that is over.
func TestAnAnswerThatComesLateIsNotForTheNextQuestion(t *testing.T) {
	f := newFakeMitigation("free", "drop")
	for _, name := range []string{"free", "drop"} {
		f.action(name).Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(time.Hour)}
	}
	f.helps = "drop"
	var refused error
	out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			env.UpdateWorkflow(shivx.UpdateApprove, "late", &testsuite.TestUpdateCallback{
				OnAccept: func() {}, OnReject: func(err error) { refused = err }, OnComplete: func(any, error) {},
			}, workflows.Decision{By: "ana", For: "free"})
		}, 61*time.Minute)
		decides(env, 90*time.Minute, workflows.Decision{By: "ben", For: "drop"})
	})
	require.ErrorContains(t, refused, "the run does not wait for free; it waits for drop (would drop) for memory@h1")
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.WithinDuration(t, noon.Add(90*time.Minute), f.acted["drop"], time.Minute)
}

// TestMitigationAsksBeforeTheNight asks for approval before it waits for a quiet time, when people may be asleep.
func TestMitigationAsksBeforeTheNight(t *testing.T) {
	f := newFakeMitigation("free")
	f.helps, f.action("free").Approval, f.action("free").QuietAt = "free", needsTwo(), noon.Add(4*time.Hour)
	out := mitigate(t, f, shivx.MitigationInput{RequestedBy: "eve"}, func(env *testsuite.TestWorkflowEnvironment) {
		decides(env, time.Minute, workflows.Decision{By: "ana"})
		decides(env, 2*time.Minute, workflows.Decision{By: "ben"})
	})
	require.Equal(t, shivx.OutcomePrevented, out.Outcome, out.Message)
	require.WithinDuration(t, noon.Add(4*time.Hour), f.acted["free"], time.Minute)
	require.Empty(t, f.escalated, "who asked for the run follows it")
}

func TestMitigationIsNotApproved(t *testing.T) {
	for name, c := range map[string]struct {
		decision *workflows.Decision
		grant    bool
		want     shivx.Outcome
		denied   []string
		told     int // the question, and that nothing could be done
	}{
		"refused":                {&workflows.Decision{By: "ben", Deny: true, Note: "not now"}, false, shivx.OutcomeRefused, []string{"free"}, 1},
		"nobody decided":         {nil, false, shivx.OutcomeRefused, nil, 2},
		"approved by default":    {nil, true, shivx.OutcomePrevented, nil, 1},
		"refused in spite of it": {&workflows.Decision{By: "ben", Deny: true}, true, shivx.OutcomeRefused, []string{"free"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeMitigation("free")
			f.helps, f.action("free").Approval = "free", needsTwo()
			f.action("free").Approval.Grant = c.grant
			out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) {
				if c.decision != nil {
					decides(env, time.Hour, *c.decision)
				}
			})
			require.Equal(t, c.want, out.Outcome, out.Message)
			require.Equal(t, c.denied, f.logged[0].Denied)
			require.Len(t, f.escalated, c.told)
		})
	}
}

func TestMitigationKeepsTheStateBefore(t *testing.T) {
	f := newFakeMitigation("free", "raise")
	f.helps, f.action("free").Snapshot = "free", "shop"
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.Equal(t, "shop@h1", f.snapshots[0].String())
	require.Equal(t, "before the mitigation free of memory@h1", f.snapshots[0].Reason)
	require.Empty(t, f.snapshots[0].Name, "one with a name would be kept for ever")

	f = newFakeMitigation("free", "raise")
	f.helps, f.action("free").Snapshot, f.kept = "raise", "shop", childFailed(shivx.OutcomeFailed, "no space left")
	out = mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.NotContains(t, f.acted, "free", "what cannot be kept is not risked")
	require.Contains(t, out.Actions[0].Skip, "no space left")
}

// TestMitigationWhoseSnapshotIsStopped risks nothing: a SafeSnapshot that somebody has stopped ends without an error.
func TestMitigationWhoseSnapshotIsStopped(t *testing.T) {
	f := newFakeMitigation("free", "raise")
	f.helps, f.action("free").Snapshot, f.keeping = "raise", "shop", shivx.OutcomeAborted
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.NotContains(t, f.acted, "free")
	require.Contains(t, out.Actions[0].Skip, "its state could not be kept before")
}

func heals(f *fakeMitigation) {
	a := f.action("restart")
	a.Plugin, a.Component, a.Strategy, a.CanUndo = "", "shop", "quick", false
}

func TestMitigationHealsAComponent(t *testing.T) {
	f := newFakeMitigation("restart")
	heals(f)
	f.helps = "restart"
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome, out.Message)
	require.Equal(t, []string{"InspectSubsystem", "MarkMitigation restart", "MeasureMitigation restart", "LogMitigation"}, f.calls)
	require.Equal(t, "shop@h1", f.heals[0].String())
	require.Equal(t, "quick", f.heals[0].Strategy)
	require.Equal(t, "mitigation of memory@h1: forecast: memory fills up", f.heals[0].Reason)
}

func TestMitigationLeavesABusyComponentAlone(t *testing.T) {
	f := newFakeMitigation("restart", "free")
	heals(f)
	f.helps, f.healed = "free", childFailed(shivx.OutcomeRefused, "shop@h1 is in maintenance")
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.Equal(t, "shop@h1 is in maintenance", out.Actions[0].Skip)

	f = newFakeMitigation("restart")
	heals(f)
	f.healed = childFailed(shivx.OutcomeRefused, "shop@h1 is in maintenance")
	out = mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomeRefused, out.Outcome)
	require.Empty(t, f.escalated, "who works on the component knows")
	act := out.Steps[len(out.Steps)-2]
	require.Equal(t, shivx.MitigationAct, act.Name)
	require.Equal(t, shivx.StepSkipped, act.Outcome)
}

// TestMitigationWhoseHealIsStopped counts a heal that had begun to act, and leaves out one that had not.
func TestMitigationWhoseHealIsStopped(t *testing.T) {
	for acted, want := range map[bool]string{true: shivx.StepFailed, false: shivx.StepSkipped} {
		f := newFakeMitigation("restart", "free")
		heals(f)
		f.helps, f.heal = "free", workflows.SelfHealResult{Outcome: shivx.OutcomeAborted, Message: "stopped by ben", Acted: acted}
		out := mitigate(t, f, byForecast)
		require.Equal(t, shivx.OutcomePrevented, out.Outcome)
		require.Contains(t, out.Actions[0].Skip, "stopped by ben")
		for _, s := range out.Steps {
			if s.Name == shivx.MitigationAct && s.Action == "restart" {
				require.Equal(t, want, s.Outcome)
			}
		}
	}
}

// TestMitigationIsAbortedInAHeal: the heal is stopped with it and ends without an error.
func TestMitigationIsAbortedInAHeal(t *testing.T) {
	f := newFakeMitigation("free", "restart")
	heals(f)
	f.heal = workflows.SelfHealResult{Outcome: shivx.OutcomeAborted, Message: "stopped: the run was cancelled", Acted: true, Took: shivx.Duration(time.Hour)}
	out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana"}) }, 20*time.Minute)
	})
	require.Equal(t, shivx.OutcomeAborted, out.Outcome, out.Message)
	require.Empty(t, f.escalated)
}

func TestMitigationWhoseHealFails(t *testing.T) {
	f := newFakeMitigation("restart", "free")
	heals(f)
	f.helps, f.healed = "free", childFailed(shivx.OutcomeFailed, "no strategy of 2 helped")
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.Contains(t, out.Actions[0].Skip, "no strategy of 2 helped")
	require.NotContains(t, f.calls, "MeasureMitigation restart")
}

func TestMitigationWhoseActionFails(t *testing.T) {
	f := newFakeMitigation("free")
	f.failing["Mitigate free"] = pluginFailed("exit status 1")
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomeUseless, out.Outcome)
	require.Contains(t, out.Message, "free was left out: it failed: exit status 1")
	require.Contains(t, f.calls, "UndoMitigation free", "it may have got half of the way")
	require.Len(t, f.escalated, 1)
}

// TestMitigationOfUnknownEffect measures what nobody can tell otherwise.
func TestMitigationOfUnknownEffect(t *testing.T) {
	f := newFakeMitigation("free")
	f.helps = "free"
	f.failing["Mitigate free"] = temporal.NewNonRetryableApplicationError("a crash cut it off", activities.ErrUnknownEffect, nil)
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
}

func TestMitigationThatCannotBeMeasured(t *testing.T) {
	f := newFakeMitigation("free")
	f.failing["MeasureMitigation free"] = pluginFailed("the series is gone")
	f.at(15*time.Minute, noAlert)
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.Contains(t, out.Message, "could not be measured: the series is gone")

	f = newFakeMitigation("free")
	f.failing["MeasureMitigation free"] = pluginFailed("the series is gone")
	out = mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomeUseless, out.Outcome)
	require.Contains(t, out.Message, "nothing could be measured")
}

func TestMitigationWhosePlanFails(t *testing.T) {
	f := newFakeMitigation("free", "raise")
	f.helps = "raise"
	f.failing["PlanMitigation free"] = pluginFailed("no such folder")
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.Equal(t, "it cannot say what it would do: no such folder", out.Actions[0].Skip)
	require.NotContains(t, f.acted, "free")
}

func TestMitigationOfAHostThatIsGone(t *testing.T) {
	for _, step := range []string{"InspectSubsystem", "PlanMitigation free", "Mitigate free", "MeasureMitigation free"} {
		t.Run(step, func(t *testing.T) {
			f := newFakeMitigation("free")
			f.failing[step] = gone()
			out := mitigate(t, f, byForecast)
			require.Equal(t, shivx.OutcomeUnreachable, out.Outcome)
			require.Len(t, f.escalated, 1)
			require.Empty(t, f.logged, "the ledger is on the host that is gone")
			require.NotContains(t, f.calls, "UndoMitigation free")
		})
	}
}

func TestMitigationIsPaused(t *testing.T) {
	f := newFakeMitigation("free")
	f.helps = "free"
	out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			env.UpdateWorkflowNoRejection(shivx.UpdatePause, "p", nil, workflows.By{By: "ben"})
		}, 0)
		env.RegisterDelayedCallback(func() {
			v, err := env.QueryWorkflow(shivx.QueryStatus)
			require.NoError(t, err)
			var s workflows.MitigationStatus
			require.NoError(t, v.Get(&s))
			require.Equal(t, "ben", s.Paused)
			require.Equal(t, "paused by ben", s.WaitsFor)
			env.UpdateWorkflowNoRejection(shivx.UpdateResume, "r", nil, workflows.By{By: "ben"})
		}, time.Hour)
	})
	require.Equal(t, shivx.OutcomePrevented, out.Outcome)
	require.WithinDuration(t, noon.Add(time.Hour), f.acted["free"], time.Minute)
}

func TestMitigationNeedsASubsystemAndAHost(t *testing.T) {
	for want, target := range map[string]shivx.SubsystemTarget{
		"the input has no subsystem": {}, "the input has no host": {Subsystem: "memory"}, "is no subsystem": {Subsystem: "memory@", Host: ""},
	} {
		env := newEnv(t)
		newFakeMitigation().register(env)
		env.ExecuteWorkflow(shivx.TypeMitigation, shivx.MitigationInput{SubsystemTarget: target})
		require.ErrorContains(t, env.GetWorkflowError(), want)
	}
	f := newFakeMitigation("free")
	env := newEnv(t)
	f.register(env)
	env.ExecuteWorkflow(shivx.TypeMitigation, shivx.MitigationInput{Plan: true, SubsystemTarget: shivx.SubsystemTarget{Subsystem: "memory@h1"}})
	require.Equal(t, "memory@h1", ended[shivx.MitigationResult](t, env).String())
}
