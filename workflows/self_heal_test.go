package workflows_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// heal runs SelfHeal on the fake host and returns how it ended.
func heal(t *testing.T, f *fakeHost, in workflows.SelfHealInput, also ...func(*testsuite.TestWorkflowEnvironment)) workflows.SelfHealResult {
	t.Helper()
	env := newEnv(t)
	f.register(env)
	env.OnSignalExternalWorkflow(mock.Anything, mock.Anything, mock.Anything, shivx.SignalReleased, mock.Anything).Return(nil).Maybe()
	for _, a := range also {
		a(env)
	}
	if in.Component == "" {
		in.Target = shivx.Target{Component: "demo", Host: "h1"}
	}
	env.ExecuteWorkflow(shivx.TypeSelfHeal, in)
	require.True(t, env.IsWorkflowCompleted())
	var out workflows.SelfHealResult
	err := env.GetWorkflowError()
	var app *temporal.ApplicationError
	if errors.As(err, &app) && app.HasDetails() {
		require.NoError(t, app.Details(&out))
		return out
	}
	require.NoError(t, err)
	require.NoError(t, env.GetWorkflowResult(&out))
	return out
}

func TestSelfHealGoesThroughTheSixSteps(t *testing.T) {
	f := newFakeHost("restart")
	f.helps = "restart"
	out := heal(t, f, workflows.SelfHealInput{})
	require.Equal(t, shivx.OutcomeHealed, out.Outcome)
	require.Equal(t, []string{"Acquire", "Inspect", "Isolate", "Checkpoint", "Recover restart", "Validate", "Reintegrate", "Log"}, f.sequence())
	require.False(t, f.isolated)
	require.Equal(t, "restart", out.Strategy)
	require.EqualValues(t, 7, out.LedgerSeq)
	var steps []shivx.Step
	for _, s := range out.Steps {
		steps = append(steps, s.Step)
	}
	require.Equal(t, shivx.Steps(), steps)
}

func TestSelfHealClimbsTheLadder(t *testing.T) {
	f := newFakeHost("restart", "restore")
	f.helps = "restore"
	out := heal(t, f, workflows.SelfHealInput{})
	require.Equal(t, shivx.OutcomeHealed, out.Outcome)
	require.Equal(t, "restore", out.Strategy)
	require.Equal(t, []string{"Acquire", "Inspect", "Isolate", "Checkpoint", "Recover restart", "Validate", "Undo restart",
		"Recover restore", "Validate", "Reintegrate", "Log"}, f.sequence())
}

func TestSelfHealTriesARungAsOftenAsConfigured(t *testing.T) {
	f := newFakeHost("restart")
	f.policy.Ladder[0].Attempts, f.helps, f.attempt = 3, "restart", 3
	out := heal(t, f, workflows.SelfHealInput{})
	require.Equal(t, shivx.OutcomeHealed, out.Outcome)
	require.Equal(t, 3, out.Steps[len(out.Steps)-3].Attempt)
}

func TestSelfHealEscalatesAtTheEndOfTheLadder(t *testing.T) {
	for name, stay := range map[string]bool{"stays isolated": true, "goes back into traffic": false} {
		t.Run(name, func(t *testing.T) {
			f := newFakeHost("restart")
			f.policy.StayIsolated = stay
			out := heal(t, f, workflows.SelfHealInput{})
			require.Equal(t, shivx.OutcomeFailed, out.Outcome)
			require.Len(t, f.escalated, 1)
			require.Equal(t, stay, f.isolated)
			require.Equal(t, stay, out.Isolated)
			require.Len(t, f.logged, 1)
		})
	}
}

func TestSelfHealPlanChangesNothing(t *testing.T) {
	f := newFakeHost("restart", "restore")
	out := heal(t, f, workflows.SelfHealInput{Plan: true})
	require.Equal(t, shivx.OutcomePlanned, out.Outcome)
	require.False(t, f.isolated)
	for _, no := range []string{"Acquire", "Validate", "Undo restart", "Log", "Escalate"} {
		require.False(t, f.did(no), no)
	}
	require.True(t, f.did("Recover restart") && f.did("Recover restore"), "a plan shows every rung")
}

func TestSelfHealRefusesWhatIsHeldByAnother(t *testing.T) {
	f := newFakeHost("restart")
	f.busy = "demo@h1 is held by self-heal/demo@h1"
	out := heal(t, f, workflows.SelfHealInput{})
	require.Equal(t, shivx.OutcomeRefused, out.Outcome)
	require.Contains(t, out.Message, "held by")
	require.False(t, f.did("Isolate"))
}

func TestSelfHealLeavesAHealthyComponentAlone(t *testing.T) {
	f := newFakeHost("restart")
	f.healthy = true
	out := heal(t, f, workflows.SelfHealInput{Finding: &shivx.Finding{Source: shivx.SourceProcessExit}})
	require.Equal(t, shivx.OutcomeHealthy, out.Outcome)
	require.False(t, f.did("Isolate"))
}

func TestSelfHealDoesNotChangeDataWithoutAWayBack(t *testing.T) {
	for name, fail := range map[string]string{"no checkpoint": "Checkpoint", "still in traffic": "Isolate"} {
		t.Run(name, func(t *testing.T) {
			f := newFakeHost("restore")
			f.policy.Ladder[0].Destructive = true
			f.failing[fail] = pluginFailed("disk full")
			out := heal(t, f, workflows.SelfHealInput{})
			require.Equal(t, shivx.OutcomeFailed, out.Outcome)
			require.False(t, f.did("Recover restore"))
			require.Contains(t, out.Message, "it changes data")
		})
	}
}

func TestSelfHealRecoversEvenWhenIsolationFails(t *testing.T) {
	f := newFakeHost("restart")
	f.helps = "restart"
	f.failing["Isolate"] = pluginFailed("no socket")
	out := heal(t, f, workflows.SelfHealInput{})
	require.Equal(t, shivx.OutcomeHealed, out.Outcome)
	require.True(t, f.did("Reintegrate"), "what may have been cut off is put back")
}

// approve sends a decision and counts in rejected when it is refused.
func approve(env *testsuite.TestWorkflowEnvironment, id string, d workflows.Decision, rejected *int) {
	env.UpdateWorkflow(shivx.UpdateApprove, id, &testsuite.TestUpdateCallback{
		OnReject: func(error) { *rejected++ }, OnAccept: func() {}, OnComplete: func(any, error) {},
	}, d)
}

func TestSelfHealWaitsForApproval(t *testing.T) {
	ask := shivx.Approval{Required: 2, Of: []string{"ana", "ben", "cyd"}, TTL: shivx.Duration(time.Hour)}
	cases := map[string]struct {
		decisions []workflows.Decision
		grant     bool
		want      shivx.Outcome
	}{
		"two of three approve":      {[]workflows.Decision{{By: "ana"}, {By: "cyd"}}, false, shivx.OutcomeHealed},
		"the same one twice":        {[]workflows.Decision{{By: "ana"}, {By: "ana"}}, false, shivx.OutcomeFailed},
		"one refuses":               {[]workflows.Decision{{By: "ana"}, {By: "ben", Deny: true}}, true, shivx.OutcomeFailed},
		"nobody; default deny":      {nil, false, shivx.OutcomeFailed},
		"nobody; default approve":   {nil, true, shivx.OutcomeHealed},
		"one too few; default deny": {[]workflows.Decision{{By: "ana"}}, false, shivx.OutcomeFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeHost("restart")
			f.helps = "restart"
			f.policy.Ladder[0].Approval = ask
			f.policy.Ladder[0].Approval.Grant = c.grant
			rejected := 0
			out := heal(t, f, workflows.SelfHealInput{}, func(env *testsuite.TestWorkflowEnvironment) {
				env.RegisterDelayedCallback(func() {
					approve(env, "stranger", workflows.Decision{By: "mallory"}, &rejected)
					for i, d := range c.decisions {
						approve(env, string(rune('a'+i)), d, &rejected)
					}
				}, time.Minute)
			})
			require.Equal(t, 1, rejected, "the stranger, and nobody else")
			require.Equal(t, c.want, out.Outcome, out.Message)
			require.Equal(t, c.want == shivx.OutcomeHealed, f.did("Recover restart"))
		})
	}
}

func TestSelfHealAbortPutsEverythingBack(t *testing.T) {
	f := newFakeHost("restart")
	f.policy.Ladder[0].Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(time.Hour)}
	out := heal(t, f, workflows.SelfHealInput{}, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana", Reason: "wrong host"})
		}, time.Minute)
	})
	require.Equal(t, shivx.OutcomeAborted, out.Outcome)
	require.Equal(t, "stopped by ana: wrong host", out.Message)
	require.False(t, f.isolated)
	require.False(t, f.did("Recover restart"))
	require.Len(t, f.logged, 1)
	require.Empty(t, f.escalated)
}

func TestSelfHealAbortDuringTheRecoveryTakesItBack(t *testing.T) {
	f := newFakeHost("restart", "restore")
	f.helps = "restart"
	out := heal(t, f, workflows.SelfHealInput{}, func(env *testsuite.TestWorkflowEnvironment) {
		f.before = func(name string) {
			if name == "Recover restart" {
				env.CancelWorkflow()
			}
		}
	})
	require.Equal(t, shivx.OutcomeAborted, out.Outcome)
	require.True(t, f.did("Undo restart"))
	require.True(t, f.did("Reintegrate"))
	require.False(t, f.did("Recover restore"))
	require.Len(t, f.logged, 1, "also a cancelled run is in the ledger")
}

func TestSelfHealCancelledWhileItWaitsPutsEverythingBack(t *testing.T) {
	f := newFakeHost("restart")
	f.policy.Ladder[0].Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(time.Hour)}
	out := heal(t, f, workflows.SelfHealInput{}, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
	})
	require.Equal(t, shivx.OutcomeAborted, out.Outcome)
	require.False(t, f.isolated)
	require.Empty(t, f.escalated)
}

func TestSelfHealStopsWhenTheFaultResolves(t *testing.T) {
	for name, healthy := range map[string]bool{"and it is fit": true, "but it is not fit": false} {
		t.Run(name, func(t *testing.T) {
			f := newFakeHost("restart")
			f.policy.Ladder[0].Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(time.Hour)}
			out := heal(t, f, workflows.SelfHealInput{}, func(env *testsuite.TestWorkflowEnvironment) {
				env.RegisterDelayedCallback(func() {
					f.mu.Lock()
					f.healthy = healthy
					f.mu.Unlock()
					env.SignalWorkflow(shivx.SignalResolved, shivx.Finding{Resolved: true, Reason: "back"})
				}, time.Minute)
			})
			require.False(t, f.did("Recover restart"))
			require.True(t, f.did("Validate"), "what resolved by itself is verified")
			if healthy {
				require.Equal(t, shivx.OutcomeResolved, out.Outcome)
				require.False(t, f.isolated)
			} else {
				require.Equal(t, shivx.OutcomeFailed, out.Outcome)
				require.True(t, f.isolated)
				require.Len(t, f.escalated, 1)
			}
		})
	}
}

func TestSelfHealIsNotStoppedByItsOwnSuccess(t *testing.T) {
	f := newFakeHost("restart")
	f.helps = "restart"
	out := heal(t, f, workflows.SelfHealInput{}, func(env *testsuite.TestWorkflowEnvironment) {
		f.before = func(name string) {
			if name == "Recover restart" {
				env.SignalWorkflow(shivx.SignalResolved, shivx.Finding{Resolved: true})
			}
		}
	})
	require.Equal(t, shivx.OutcomeHealed, out.Outcome)
	require.False(t, f.did("Undo restart"))
}

func TestSelfHealPausesBeforeTheNextStep(t *testing.T) {
	f := newFakeHost("restart")
	f.helps = "restart"
	var pausedAfter int
	out := heal(t, f, workflows.SelfHealInput{}, func(env *testsuite.TestWorkflowEnvironment) {
		nothing := &testsuite.TestUpdateCallback{OnReject: func(err error) { t.Error(err) }, OnAccept: func() {}, OnComplete: func(any, error) {}}
		f.before = func(name string) {
			if name == "Isolate" {
				env.UpdateWorkflow(shivx.UpdatePause, "p", nothing, workflows.By{By: "ana"})
			}
		}
		env.RegisterDelayedCallback(func() {
			pausedAfter = len(f.sequence())
			env.UpdateWorkflow(shivx.UpdateResume, "r", nothing, workflows.By{By: "ana"})
		}, time.Hour)
	})
	require.Equal(t, shivx.OutcomeHealed, out.Outcome)
	require.Equal(t, 3, pausedAfter, "nothing ran after Isolate while it was paused: %v", f.sequence())
	require.GreaterOrEqual(t, out.Took.Std(), time.Hour)
}

func TestSelfHealStoppedWhilePausedEndsAtOnce(t *testing.T) {
	for _, pausedBefore := range []string{"Isolate", "Recover restart", "Validate"} {
		t.Run("paused in "+pausedBefore, func(t *testing.T) {
			f := newFakeHost("restart")
			f.helps = "restart"
			out := heal(t, f, workflows.SelfHealInput{}, func(env *testsuite.TestWorkflowEnvironment) {
				f.before = func(name string) {
					if name == pausedBefore {
						env.UpdateWorkflow(shivx.UpdatePause, "p", &testsuite.TestUpdateCallback{
							OnReject: func(error) {}, OnAccept: func() {}, OnComplete: func(any, error) {}}, workflows.By{By: "ana"})
					}
				}
				env.RegisterDelayedCallback(func() { env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana"}) }, time.Minute)
			})
			require.Equal(t, shivx.OutcomeAborted, out.Outcome)
			require.Less(t, out.Took.Std(), 5*time.Minute)
			require.False(t, f.isolated)
			// A recovery that was validated is not taken back.
			require.Equal(t, pausedBefore == "Recover restart", f.did("Undo restart"), f.sequence())
		})
	}
}

func TestSelfHealTriesToPutBackAgain(t *testing.T) {
	f := newFakeHost("restart")
	f.helps = "restart"
	f.failing["Reintegrate"] = pluginFailed("the load balancer is busy")
	n := 0
	f.before = func(name string) {
		if name == "Reintegrate" {
			if n++; n == 2 {
				f.mu.Lock()
				delete(f.failing, "Reintegrate")
				f.mu.Unlock()
			}
		}
	}
	out := heal(t, f, workflows.SelfHealInput{})
	require.Equal(t, shivx.OutcomeHealed, out.Outcome)
	require.False(t, f.isolated)
	require.Equal(t, 3, n)
}

func TestSelfHealTakesADenialForFinal(t *testing.T) {
	f := newFakeHost("restart")
	f.helps = "restart"
	f.policy.Ladder[0].Attempts = 3
	f.policy.Ladder[0].Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(time.Hour), Grant: true}
	rejected := 0
	out := heal(t, f, workflows.SelfHealInput{}, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { approve(env, "d", workflows.Decision{By: "ana", Deny: true}, &rejected) }, time.Minute)
	})
	require.Equal(t, shivx.OutcomeFailed, out.Outcome)
	require.False(t, f.did("Recover restart"))
	require.Less(t, out.Took.Std(), time.Hour)
}

func TestSelfHealTellsPeopleThroughAnotherAgentWhenTheHostIsGone(t *testing.T) {
	f := newFakeHost("restart")
	f.failing["Recover restart"] = temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START, nil)
	queues := []string{}
	out := heal(t, f, workflows.SelfHealInput{}, func(env *testsuite.TestWorkflowEnvironment) {
		env.OnActivity(activities.Recover.Name, mock.Anything, mock.Anything).Return(activities.StepResult{},
			temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START, nil))
		env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
			if info.ActivityType.Name == activities.Escalate.Name {
				queues = append(queues, info.TaskQueue)
			}
		})
	})
	require.Equal(t, shivx.OutcomeUnreachable, out.Outcome)
	require.Len(t, f.escalated, 1)
	require.NotContains(t, queues, shivx.HostQueue("h1"))
	require.True(t, out.Isolated)
}

func TestSelfHealWaitsForItsDependencies(t *testing.T) {
	f := newFakeHost("restart")
	f.helps = "restart"
	f.policy.Unhealthy = []string{"db"}
	out := heal(t, f, workflows.SelfHealInput{}, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			f.mu.Lock()
			f.policy.Unhealthy = nil
			f.mu.Unlock()
		}, 5*time.Second)
	})
	require.Equal(t, shivx.OutcomeHealed, out.Outcome)
	require.GreaterOrEqual(t, out.Took.Std(), 5*time.Second)
}

func TestSelfHealVerifyOnly(t *testing.T) {
	f := newFakeHost("restart")
	f.healthy, f.isolated = true, true
	out := heal(t, f, workflows.SelfHealInput{VerifyOnly: true})
	require.Equal(t, shivx.OutcomeHealthy, out.Outcome)
	require.False(t, f.isolated)
	require.False(t, f.did("Recover restart"))
}

func TestSelfHealRefusesBadInput(t *testing.T) {
	env := newEnv(t)
	newFakeHost().register(env)
	env.ExecuteWorkflow(shivx.TypeSelfHeal, workflows.SelfHealInput{})
	require.ErrorContains(t, env.GetWorkflowError(), `{"component":"NAME"}`)
}

func TestSelfHealFindsTheHostByItself(t *testing.T) {
	f := newFakeHost("restart")
	f.helps = "restart"
	out := heal(t, f, workflows.SelfHealInput{Target: shivx.Target{Component: "demo"}})
	require.Equal(t, "h1", out.Host)
	require.Equal(t, shivx.OutcomeHealed, out.Outcome)
}

func TestSelfHealUnknownEffectClimbsOn(t *testing.T) {
	f := newFakeHost("restart", "other")
	f.helps = "other"
	f.failing["Recover restart"] = temporal.NewNonRetryableApplicationError("cannot tell", activities.ErrUnknownEffect, nil)
	out := heal(t, f, workflows.SelfHealInput{})
	require.Equal(t, shivx.OutcomeHealed, out.Outcome)
	require.Equal(t, "other", out.Strategy)
	require.True(t, f.did("Undo restart"))
}
