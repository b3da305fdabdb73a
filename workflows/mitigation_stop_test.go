package workflows_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// TestMitigationIsAborted stops a run at each of its steps. What was cut off is taken back; what was taken stays, and is
// measured at once.
func TestMitigationIsAborted(t *testing.T) {
	for name, c := range map[string]struct {
		at       time.Duration
		change   func(*fakeMitigation)
		text     string
		measured bool
	}{
		"in a blackout":        {time.Hour, func(f *fakeMitigation) { f.policy.BlackoutUntil = noon.Add(2 * time.Hour) }, "stopped by ana", false},
		"waiting for approval": {time.Hour, func(f *fakeMitigation) { f.action("free").Approval = needsTwo() }, "stopped by ana", false},
		"waiting for a quiet time": {time.Hour, func(f *fakeMitigation) { f.action("free").QuietAt = noon.Add(2 * time.Hour) },
			"stopped by ana", false},
		"waiting for the effect": {10 * time.Minute, func(*fakeMitigation) {}, "stopped by ana; free was taken and stays", true},
		"in a pause":             {time.Hour, func(f *fakeMitigation) { f.action("free").QuietAt = noon.Add(10 * time.Minute) }, "stopped by ana", false},
	} {
		for _, cancel := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", cancelled"}[cancel], func(t *testing.T) {
				f := newFakeMitigation("free")
				f.helps = "free"
				c.change(f)
				out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) {
					if name == "in a pause" {
						env.RegisterDelayedCallback(func() {
							env.UpdateWorkflowNoRejection(shivx.UpdatePause, "p", nil, workflows.By{By: "ben"})
						}, time.Minute)
					}
					env.RegisterDelayedCallback(func() {
						if cancel {
							env.CancelWorkflow()
							return
						}
						env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana"})
					}, c.at)
				})
				want := c.text
				if cancel {
					want = "stopped: the run was cancelled" + c.text[len("stopped by ana"):]
				}
				require.Equal(t, shivx.OutcomeAborted, out.Outcome)
				require.Equal(t, want, out.Message)
				require.Len(t, f.logged, 1)
				require.Equal(t, c.measured, len(out.Effects) == 1)
				require.NotContains(t, f.calls, "UndoMitigation free")
				require.InDelta(t, c.at.Seconds(), out.Seconds, 30)
			})
		}
	}
}

// TestMitigationIsCutOffInItsAction takes back what was begun.
func TestMitigationIsCutOffInItsAction(t *testing.T) {
	f := newFakeMitigation("free", "raise")
	f.failing["Mitigate free"] = temporal.NewCanceledError()
	out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) {
		f.before = func(label string) {
			if label == "Mitigate free" {
				env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana", Reason: "wrong host"})
			}
		}
	})
	require.Equal(t, shivx.OutcomeAborted, out.Outcome)
	require.Equal(t, "stopped by ana: wrong host; free was cut off", out.Message)
	require.Contains(t, f.calls, "UndoMitigation free")
	require.NotContains(t, f.calls, "Mitigate raise")
}

// TestMitigationIsAbortedInItsUndo takes back all the same what did not help.
func TestMitigationIsAbortedInItsUndo(t *testing.T) {
	f := newFakeMitigation("free", "raise")
	out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) {
		env.OnActivity(activities.UndoMitigation.Name, mock.Anything, mock.Anything).After(20*time.Second).Return(activities.StepResult{Summary: "undone"}, nil)
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana"}) }, 15*time.Minute+10*time.Second)
	})
	require.Equal(t, shivx.OutcomeAborted, out.Outcome)
	require.Len(t, out.Effects, 1)
	require.NotContains(t, f.calls, "Mitigate raise")
	for _, s := range out.Steps {
		if s.Name == shivx.MitigationUndo {
			require.Equal(t, shivx.StepDone, s.Outcome, s.Summary)
		}
	}
}

// TestMitigationIsAbortedAfterTheMeasure keeps the effect once.
func TestMitigationIsAbortedAfterTheMeasure(t *testing.T) {
	f := newFakeMitigation("free")
	out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) {
		f.before = func(label string) {
			if label == "InspectSubsystem" && slices.Contains(f.calls, "MeasureMitigation free") {
				f.failing[label] = temporal.NewCanceledError()
				env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana"})
			}
		}
	})
	require.Equal(t, shivx.OutcomeAborted, out.Outcome)
	require.Equal(t, "stopped by ana; free was taken and stays", out.Message)
	require.Len(t, out.Effects, 1)
}

// TestMitigationOfAHostThatIsGoneAtTheUndo acts no more.
func TestMitigationOfAHostThatIsGoneAtTheUndo(t *testing.T) {
	for name, failed := range map[string]error{"it did not help": nil, "it failed": pluginFailed("exit status 1")} {
		t.Run(name, func(t *testing.T) {
			f := newFakeMitigation("free", "raise")
			f.helps, f.failing["Mitigate free"], f.failing["UndoMitigation free"] = "raise", failed, gone()
			out := mitigate(t, f, byForecast)
			require.Equal(t, shivx.OutcomeUnreachable, out.Outcome)
			require.NotContains(t, f.calls, "Mitigate raise")
			require.Len(t, f.escalated, 1)
		})
	}
}
