package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// TestMitigationLooksAgainAfterWhatTookTime acts on no forecast that is some time old: whatever held the run up, and whatever
// changed meanwhile.
func TestMitigationLooksAgainAfterWhatTookTime(t *testing.T) {
	held := map[string]func(*fakeMitigation, *testsuite.TestWorkflowEnvironment){
		"an approval": func(f *fakeMitigation, env *testsuite.TestWorkflowEnvironment) {
			f.action("free").Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(5 * time.Hour)}
			decides(env, 2*time.Hour, workflows.Decision{By: "ana"})
		},
		"a pause": func(f *fakeMitigation, env *testsuite.TestWorkflowEnvironment) {
			env.RegisterDelayedCallback(func() {
				env.UpdateWorkflowNoRejection(shivx.UpdateResume, "r", nil, workflows.By{By: "ben"})
			}, 2*time.Hour)
			f.before = func(label string) {
				if label == "PlanMitigation free" {
					env.UpdateWorkflowNoRejection(shivx.UpdatePause, "p", nil, workflows.By{By: "ben"})
				}
			}
		},
		"a snapshot": func(f *fakeMitigation, env *testsuite.TestWorkflowEnvironment) {
			f.action("free").Snapshot = "shop"
			env.OnWorkflow(shivx.TypeSafeSnapshot, mock.Anything, mock.Anything).After(2*time.Hour).
				Return(shivx.SafeSnapshotResult{GoldenResult: shivx.GoldenResult{Outcome: shivx.OutcomeStored}}, nil)
		},
	}
	for name, hold := range held {
		t.Run(name+", not needed any more", func(t *testing.T) {
			f := newFakeMitigation("free")
			f.at(time.Hour, noAlert)
			out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) { hold(f, env) })
			require.Equal(t, shivx.OutcomeUnneeded, out.Outcome, out.Message)
			require.Empty(t, f.acted)
		})
		t.Run(name+", in a blackout by then", func(t *testing.T) {
			f := newFakeMitigation("free")
			f.helps = "free"
			f.at(time.Hour, func(p *activities.SubsystemPolicy) { p.BlackoutUntil = noon.Add(4 * time.Hour) })
			out := mitigate(t, f, byForecast, func(env *testsuite.TestWorkflowEnvironment) { hold(f, env) })
			require.Equal(t, shivx.OutcomePrevented, out.Outcome, out.Message)
			require.WithinDuration(t, noon.Add(4*time.Hour), f.acted["free"], time.Minute)
			require.LessOrEqual(t, len(f.escalated), 1, "nobody is asked twice")
		})
	}
}

// TestMitigationAsksInALockdownThatCameMeanwhile asks people when that is wanted by the time an action is due.
func TestMitigationAsksInALockdownThatCameMeanwhile(t *testing.T) {
	f := newFakeMitigation("free")
	f.helps, f.action("free").QuietAt, f.action("free").Destructive = "free", noon.Add(3*time.Hour), true
	f.at(time.Hour, func(p *activities.SubsystemPolicy) {
		p.Actions[0].Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(time.Hour)}
	})
	out := mitigate(t, f, byForecast)
	require.Equal(t, shivx.OutcomeRefused, out.Outcome, out.Message)
	require.Contains(t, out.Actions[0].Skip, "not approved within 1h")
	require.Empty(t, f.acted)
}
