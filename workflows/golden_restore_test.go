package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// bringBack runs GoldenRestore on a fake host.
func bringBack(t *testing.T, f *fakeStore, in shivx.GoldenRestoreInput, more ...func(*testsuite.TestWorkflowEnvironment)) shivx.GoldenRestoreResult {
	t.Helper()
	if in.Set == "" {
		plan := in.Plan
		in.GoldenRequest = asks()
		in.Plan = plan
	}
	return play[shivx.GoldenRestoreResult](t, f, shivx.TypeGoldenRestore, in, more...)
}

// wholeRestore is what a restore of two services does, in order.
func wholeRestore() []string {
	return []string{"InspectSet", "FindGolden", "VerifyGolden", "StageRestore", "ValidateRestore", "Acquire db", "Acquire web",
		"StopService web", "StopService db", "SwapRestore", "StartService db", "StartService web", "LoadRestore", "CheckServices",
		"FinishRestore", "LogGolden"}
}

func TestGoldenRestoreGoesThroughItsSteps(t *testing.T) {
	f := newFakeStore("db", "web")
	out := bringBack(t, f, shivx.GoldenRestoreInput{})
	require.Equal(t, shivx.OutcomeRestored, out.Outcome, out.Message)
	require.Equal(t, wholeRestore(), f.calls)
	f.inOrder(t, "new")
	require.True(t, out.Swapped)
	require.Empty(t, out.Stopped)
	require.Equal(t, "g1", out.Golden.ID)
	require.EqualValues(t, 1, out.Changes.Added)
	require.EqualValues(t, 9, out.LedgerSeq)
	require.Equal(t, shivx.GoldenKindBackup, f.found[0].Kind, "the latest is a backup, not what a guardian kept")

	var names []string
	for _, s := range out.Steps {
		require.NotEqual(t, shivx.StepWaiting, s.Outcome, s.Name)
		require.False(t, s.Started.IsZero(), s.Name)
		names = append(names, strings.TrimSpace(string(s.Name)+" "+s.Service))
	}
	require.Equal(t, []string{"inspect", "resolve", "verify", "approve", "stage", "validate", "hold", "stop web", "stop db", "swap",
		"start db", "start web", "load", "check", "finish", "log"}, names)
	for _, in := range f.inputs {
		require.NotEmpty(t, in.Restore)
		require.Equal(t, out.Restore, in.Restore, "every step names the same restore")
	}
	for _, name := range []string{"db@h1", "web@h1"} {
		r := f.released[name]
		require.Equal(t, shivx.OutcomeHealthy, r.Outcome)
		require.False(t, r.Recovered.IsZero(), "faults of before its check are over")
		require.False(t, r.Acted, "a restore is no heal and costs none of its budget")
	}
}

// TestGoldenRestoreFailsAtEveryStep: whichever step fails, the old state or the new one is there, whole,
// and the services run.
func TestGoldenRestoreFailsAtEveryStep(t *testing.T) {
	for _, step := range wholeRestore() {
		for name, err := range map[string]error{"fails": goldenFailed("broken"), "host gone": errGone} {
			t.Run(step+" "+name, func(t *testing.T) {
				f := newFakeStore("db", "web")
				f.halfway = true
				f.failing[step], f.times[step] = err, 1
				out := bringBack(t, f, shivx.GoldenRestoreInput{})
				switch step {
				case "LogGolden":
					require.Equal(t, shivx.OutcomeRestored, out.Outcome)
					f.inOrder(t, "new")
					return
				case "FinishRestore":
					require.Equal(t, shivx.OutcomeRestored, out.Outcome, "the old state takes up room, no more")
					require.Len(t, f.escalated, 1)
					require.Contains(t, out.Message, "was not removed")
					require.True(t, f.staged)
					return
				}
				require.NotEmpty(t, f.escalated, "people are told")
				f.staged = f.staged && (name != "host gone" || f.did("StopService web")) // it clears that up itself
				f.inOrder(t, "old")
				swapped := f.did("SwapRestore")
				switch {
				case swapped:
					require.Equal(t, shivx.OutcomeUndone, out.Outcome, out.Message)
				case name == "fails":
					require.Equal(t, shivx.OutcomeFailed, out.Outcome, out.Message)
				default:
					require.Equal(t, shivx.OutcomeUnreachable, out.Outcome, out.Message)
				}
				require.Equal(t, swapped, f.did("UndoRestore"))
				require.False(t, out.Swapped)
				require.Empty(t, out.Stopped)
				if f.did("StopService web") {
					require.Contains(t, out.Message, "its services run and are healthy")
				}
			})
		}
	}
}

// TestGoldenRestoreIsAbortedAtEveryStep: the same by the signal abort, and by a cancellation.
func TestGoldenRestoreIsAbortedAtEveryStep(t *testing.T) {
	for _, step := range wholeRestore() {
		for name, abort := range map[string]func(*testsuite.TestWorkflowEnvironment){
			"abort": func(env *testsuite.TestWorkflowEnvironment) {
				env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana", Reason: "wrong set"})
			},
			"cancel": func(env *testsuite.TestWorkflowEnvironment) { env.CancelWorkflow() },
		} {
			t.Run(step+" "+name, func(t *testing.T) {
				f := newFakeStore("db", "web")
				out := bringBack(t, f, shivx.GoldenRestoreInput{}, func(env *testsuite.TestWorkflowEnvironment) {
					done := false
					f.before = func(label string) {
						if label == step && !done {
							done = true
							abort(env)
						}
					}
				})
				if step == "FinishRestore" || step == "LogGolden" {
					require.Equal(t, shivx.OutcomeRestored, out.Outcome, "it came too late")
					f.inOrder(t, "new")
					return
				}
				require.Equal(t, shivx.OutcomeAborted, out.Outcome, out.Message)
				f.inOrder(t, "old")
				require.Empty(t, f.escalated, "who stops a run knows of it")
				if step == "Acquire web" {
					require.Contains(t, f.released, "web@h1", "a lock that it may have got without knowing")
				}
				if name == "abort" {
					require.Contains(t, out.Message, "stopped by ana: wrong set")
				}
				require.False(t, out.Swapped)
			})
		}
	}
}

func TestGoldenRestoreUndoesWhatIsNotHealthy(t *testing.T) {
	f := newFakeStore("db", "web")
	f.unfit["new"] = []string{"web: status 500"}
	out := bringBack(t, f, shivx.GoldenRestoreInput{})
	require.Equal(t, shivx.OutcomeUndone, out.Outcome)
	require.Contains(t, out.Message, "web: status 500; the old state is back; its services run and are healthy")
	f.inOrder(t, "old")
	require.Equal(t, 2, f.count("StopService db"), "what ran with the restored state was stopped before the old one was put back")
	require.Greater(t, out.Downtime, -1.0)
}

func TestGoldenRestoreLeavesHealsToTheEntitiesWhenTheOldStateIsBroken(t *testing.T) {
	f := newFakeStore("web")
	f.unfit["new"], f.unfit["old"] = []string{"web: status 500"}, []string{"web: status 502"}
	out := bringBack(t, f, shivx.GoldenRestoreInput{})
	require.Equal(t, shivx.OutcomeUndone, out.Outcome)
	require.Contains(t, out.Message, "its services run and are not healthy: web: status 502")
	f.inOrder(t, "old")
	r := f.released["web@h1"]
	require.Equal(t, shivx.OutcomeHealthy, r.Outcome)
	require.True(t, r.Recovered.IsZero(), "what was seen meanwhile is to be healed")
}

// TestGoldenRestoreInsistsOnPuttingBack: that the old state cannot be put back does not end the run.
func TestGoldenRestoreInsistsOnPuttingBack(t *testing.T) {
	for name, err := range map[string]error{"it fails": goldenFailed("input/output error"), "the host is gone": errGone} {
		t.Run(name, func(t *testing.T) {
			f := newFakeStore("web")
			f.halfway = true
			f.failing["SwapRestore"] = goldenFailed("no space left")
			f.failing["UndoRestore"], f.times["UndoRestore"] = err, 40
			out := bringBack(t, f, shivx.GoldenRestoreInput{})
			require.Equal(t, shivx.OutcomeUndone, out.Outcome, out.Message)
			f.inOrder(t, "old")
			require.Len(t, f.escalated, 2, "once because it does not succeed, once for the end")
			undo := steps(out.Steps, shivx.GoldenStepUndo)
			require.Len(t, undo, 1, "tries of a step are one line")
			require.Equal(t, 41, undo[0].Tries)
			require.Greater(t, out.Downtime, time.Hour.Seconds())
		})
	}
}

// TestGoldenRestoreIsAbortedAndPutBackInTheEnd: an abort is no reason to leave a mixture behind.
func TestGoldenRestoreIsAbortedAndPutBackInTheEnd(t *testing.T) {
	f := newFakeStore("web")
	f.halfway = true
	f.failing["SwapRestore"] = goldenFailed("stopped")
	f.failing["UndoRestore"], f.times["UndoRestore"] = goldenFailed("busy"), 1
	out := bringBack(t, f, shivx.GoldenRestoreInput{}, func(env *testsuite.TestWorkflowEnvironment) {
		f.before = func(label string) {
			if label == "SwapRestore" || label == "UndoRestore" { // the second is a finger that was too quick
				env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana"})
			}
		}
	})
	require.Equal(t, shivx.OutcomeAborted, out.Outcome, out.Message)
	require.Equal(t, 2, f.count("UndoRestore"))
	require.Contains(t, out.Message, "stopped by ana; the old state is back; its services run and are healthy")
	f.inOrder(t, "old")
}

func TestGoldenRestoreIsGivenUpByPeople(t *testing.T) {
	f := newFakeStore("db", "web")
	f.halfway = true
	f.failing["SwapRestore"], f.failing["UndoRestore"] = goldenFailed("no space left"), goldenFailed("input/output error")
	out := bringBack(t, f, shivx.GoldenRestoreInput{}, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana"}) }, time.Hour)
	})
	require.Equal(t, shivx.OutcomeFailed, out.Outcome)
	require.Contains(t, out.Message, "the old state could not be put back: input/output error")
	require.Equal(t, []string{"db", "web"}, out.Stopped)
	require.Empty(t, f.violations, "nothing is started on a mixture")
	require.False(t, f.did("StartService db"))
	require.False(t, f.did("DiscardRestore"), "what is needed to put it back is kept")
	require.Equal(t, shivx.OutcomeFailed, f.released["db@h1"].Outcome)
	require.True(t, f.released["db@h1"].Isolated)
	require.Less(t, out.Seconds, (2 * time.Hour).Seconds())
}

func TestGoldenRestoreEndsAfterADayOfInsisting(t *testing.T) {
	f := newFakeStore("web")
	f.failing["SwapRestore"], f.failing["UndoRestore"] = goldenFailed("no space left"), goldenFailed("input/output error")
	out := bringBack(t, f, shivx.GoldenRestoreInput{})
	require.Equal(t, shivx.OutcomeFailed, out.Outcome)
	require.InDelta(t, (24 * time.Hour).Seconds(), out.Seconds, time.Hour.Seconds())
}

func TestGoldenRestoreSaysWhichServicesStayDown(t *testing.T) {
	f := newFakeStore("db", "web")
	f.failing["SwapRestore"], f.failing["StartService db"] = goldenFailed("no space left"), goldenFailed("exit status 1")
	out := bringBack(t, f, shivx.GoldenRestoreInput{})
	require.Equal(t, shivx.OutcomeFailed, out.Outcome)
	require.Equal(t, []string{"db"}, out.Stopped)
	require.Contains(t, out.Message, "db: exit status 1")
	require.Equal(t, 3, f.count("StartService db"))
	f.inOrder(t, "old", "db")
}

// TestGoldenRestoreWaitsForItsHostToStartServices: a host that does not answer has not failed to start them.
func TestGoldenRestoreWaitsForItsHostToStartServices(t *testing.T) {
	f := newFakeStore("web")
	f.failing["SwapRestore"] = goldenFailed("no space left")
	f.failing["StartService web"], f.times["StartService web"] = errGone, 10
	out := bringBack(t, f, shivx.GoldenRestoreInput{})
	require.Equal(t, shivx.OutcomeUndone, out.Outcome, out.Message)
	require.Empty(t, out.Stopped)
	f.inOrder(t, "old")
	require.Len(t, f.escalated, 2, "people are told meanwhile")
}

func TestGoldenRestoreIsRefusedWhenSomethingIsDamaged(t *testing.T) {
	f := newFakeStore("web")
	f.damage = []shivx.GoldenDamage{{Golden: "g1", Object: "packs/ab/abcd.pack", Path: "/etc/web.conf", What: "block 3 is not what it was"}}
	out := bringBack(t, f, shivx.GoldenRestoreInput{})
	require.Equal(t, shivx.OutcomeDamaged, out.Outcome)
	require.Contains(t, out.Message, "packs/ab/abcd.pack: block 3 is not what it was (of /etc/web.conf)")
	require.False(t, f.did("StageRestore"))
	require.True(t, f.running["web"])
	require.Len(t, f.escalated, 1)
}

func TestGoldenRestoreWaitsForApproval(t *testing.T) {
	ask := shivx.Approval{Required: 2, Of: []string{"ana", "ben", "cyd"}, TTL: shivx.Duration(time.Hour)}
	cases := map[string]struct {
		decisions []workflows.Decision
		grant     bool
		want      shivx.Outcome
		message   string
	}{
		"two of three approve":      {[]workflows.Decision{{By: "ana"}, {By: "cyd"}}, false, shivx.OutcomeRestored, ""},
		"the same one twice":        {[]workflows.Decision{{By: "ana"}, {By: "ana"}}, false, shivx.OutcomeRefused, "not approved within 1h0m0s"},
		"one refuses":               {[]workflows.Decision{{By: "ana"}, {By: "ben", Deny: true, Note: "not now"}}, true, shivx.OutcomeRefused, "refused by ben not now"},
		"nobody; default deny":      {nil, false, shivx.OutcomeRefused, "not approved within 1h0m0s"},
		"nobody; default approve":   {nil, true, shivx.OutcomeRestored, ""},
		"one too few; default deny": {[]workflows.Decision{{By: "ana"}}, false, shivx.OutcomeRefused, "not approved within 1h0m0s"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeStore("web")
			f.policy.Approval = ask
			f.policy.Approval.Grant = c.grant
			rejected := 0
			out := bringBack(t, f, shivx.GoldenRestoreInput{}, func(env *testsuite.TestWorkflowEnvironment) {
				env.RegisterDelayedCallback(func() {
					approve(env, "stranger", workflows.Decision{By: "mallory"}, &rejected)
					for i, d := range c.decisions {
						approve(env, string(rune('a'+i)), d, &rejected)
					}
				}, time.Minute)
			})
			require.Equal(t, 1, rejected, "the stranger, and nobody else")
			require.Equal(t, c.want, out.Outcome, out.Message)
			require.Contains(t, out.Message, c.message)
			require.Equal(t, c.want == shivx.OutcomeRestored, f.did("StageRestore"), "nothing is written before it is approved")
			if c.want == shivx.OutcomeRefused {
				require.Empty(t, f.escalated)
				require.Len(t, f.logged, 1)
			}
		})
	}
}

func TestGoldenRestoreShowsWhatItWaitsFor(t *testing.T) {
	f := newFakeStore("web")
	f.policy.Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(time.Hour), Grant: true}
	var seen workflows.GoldenStatus
	in := shivx.GoldenRestoreInput{GoldenRequest: asks(), Paths: []string{"/srv/a", "/srv/b"}, Trust: []string{"key"}}
	bringBack(t, f, in, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			v, err := env.QueryWorkflow(shivx.QueryProgress)
			require.NoError(t, err)
			require.NoError(t, v.Get(&seen))
		}, time.Minute)
	})
	require.NotNil(t, seen.Approval)
	for _, said := range []string{"the restore of shop@h1 from g1 (in place", "only /srv/a, /srv/b", "stops and starts web", "1 keys that this request names",
		") waits for 1 approval until 20"} {
		require.Contains(t, seen.WaitsFor, said, "people see what they approve")
	}
	require.Contains(t, seen.WaitsFor, seen.Extent)
	require.Equal(t, shivx.StepRunning, steps(seen.Steps, shivx.GoldenStepApprove)[0].Outcome)
	require.Equal(t, shivx.StepWaiting, steps(seen.Steps, shivx.GoldenStepSwap)[0].Outcome)
}

func TestGoldenRestorePlanChangesNothing(t *testing.T) {
	f := newFakeStore("web")
	f.policy.Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(time.Hour)}
	out := bringBack(t, f, shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{Plan: true}})
	require.Equal(t, shivx.OutcomePlanned, out.Outcome)
	require.Equal(t, []string{"InspectSet", "FindGolden", "VerifyGolden", "StageRestore"}, f.calls)
	require.EqualValues(t, 2, out.Changes.Changed)
	require.Equal(t, []string{"~ /etc/a"}, out.Changes.Paths)
	require.True(t, f.inputs[0].Plan)
}

func TestGoldenRestoreInPlaceComparesAgainAfterTheStop(t *testing.T) {
	for name, restaged := range map[string]int64{"nothing was written meanwhile": 0, "something was": 2} {
		t.Run(name, func(t *testing.T) {
			f := newFakeStore("web")
			f.restaged = restaged
			out := bringBack(t, f, shivx.GoldenRestoreInput{Mode: shivx.RestoreInPlace})
			require.Equal(t, shivx.OutcomeRestored, out.Outcome)
			require.Equal(t, 2, f.count("StageRestore"))
			require.Equal(t, map[bool]int{true: 2, false: 1}[restaged > 0], f.count("ValidateRestore"))
			require.False(t, f.inputs[0].Stopped)
			require.True(t, f.inputs[2].Stopped, "the second comparison is with what nobody writes any more")
			f.inOrder(t, "new")
		})
	}
}

// TestGoldenRestoreInPlaceFailsInTheSecondComparison: services are stopped by then, and nothing is swapped.
func TestGoldenRestoreInPlaceFailsInTheSecondComparison(t *testing.T) {
	for name, abort := range map[string]bool{"it fails": false, "it is aborted": true} {
		t.Run(name, func(t *testing.T) {
			f := newFakeStore("db", "web")
			out := bringBack(t, f, shivx.GoldenRestoreInput{Mode: shivx.RestoreInPlace}, func(env *testsuite.TestWorkflowEnvironment) {
				f.before = func(label string) {
					if label != "StopService db" {
						return
					}
					f.failing["StageRestore"] = goldenFailed("no space left")
					if abort {
						env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana"})
					}
				}
			})
			require.Equal(t, map[bool]shivx.Outcome{false: shivx.OutcomeFailed, true: shivx.OutcomeAborted}[abort], out.Outcome, out.Message)
			require.False(t, f.did("SwapRestore"))
			require.False(t, f.did("UndoRestore"))
			require.Equal(t, !abort, f.count("StageRestore") == 2)
			f.inOrder(t, "old")
		})
	}
}

func TestGoldenRestoreLeavesServicesAlone(t *testing.T) {
	f := newFakeStore("web")
	f.running["web"] = false // so that a swap is none of the fake's violations
	out := bringBack(t, f, shivx.GoldenRestoreInput{LeaveServices: true, Paths: []string{"/etc/motd"}, Mode: shivx.RestoreInPlace, KeepOld: true})
	require.Equal(t, shivx.OutcomeRestored, out.Outcome)
	require.Equal(t, []string{"InspectSet", "FindGolden", "VerifyGolden", "StageRestore", "ValidateRestore", "SwapRestore",
		"LoadRestore", "FinishRestore", "LogGolden"}, f.calls)
	require.Equal(t, []string{"/etc/motd"}, f.inputs[0].Paths)
	require.True(t, f.inputs[0].Stopped && f.inputs[0].KeepOld)
	require.Zero(t, out.Downtime)
}

func TestGoldenRestoreWaitsForServicesThatAreBeingHealed(t *testing.T) {
	f := newFakeStore("db", "web")
	f.busy["web"] = 4
	out := bringBack(t, f, shivx.GoldenRestoreInput{})
	require.Equal(t, shivx.OutcomeRestored, out.Outcome)
	require.GreaterOrEqual(t, out.Seconds, 20.0)

	f = newFakeStore("db", "web")
	f.busy["web"] = 1000
	out = bringBack(t, f, shivx.GoldenRestoreInput{})
	require.Equal(t, shivx.OutcomeRefused, out.Outcome)
	require.Equal(t, "web is being healed", out.Message)
	require.Contains(t, f.released, "db@h1", "the lock that it had")
	require.False(t, f.did("StopService web"))
	f.inOrder(t, "old")
}

func TestGoldenRestoreRefusesWhatTheHostDoesNotKnow(t *testing.T) {
	for _, kind := range []string{activities.ErrUnknownSet, activities.ErrUnknownGolden, activities.ErrUntrusted, activities.ErrBusy} {
		f := newFakeStore("web")
		f.failing["FindGolden"] = temporal.NewNonRetryableApplicationError("no", kind, nil)
		out := bringBack(t, f, shivx.GoldenRestoreInput{})
		require.Equal(t, shivx.OutcomeRefused, out.Outcome, kind)
		require.Empty(t, f.escalated)
	}
}

func TestScheduledGoldenRunThatIsRefusedTellsPeople(t *testing.T) {
	f := newFakeStore()
	f.failing["InspectSet"] = temporal.NewNonRetryableApplicationError("no such set", activities.ErrUnknownSet, nil)
	in := shivx.GoldenBackupInput{GoldenRequest: asks()}
	in.Reason = activities.ReasonSchedule
	out := backUp(t, f, in)
	require.Equal(t, shivx.OutcomeRefused, out.Outcome)
	require.Len(t, f.escalated, 1, "nobody looks at how it ends")
}

func TestGoldenRunbooksRefuseBadInput(t *testing.T) {
	for name, c := range map[string]struct {
		book string
		in   any
		want string
	}{
		"no set":               {shivx.TypeGoldenRestore, map[string]any{}, `{"set":"NAME","host":"HOST"}`},
		"no host":              {shivx.TypeGoldenRestore, map[string]any{"set": "shop"}, `{"set":"shop","host":"HOST"}`},
		"no host after the at": {shivx.TypeGoldenBackup, map[string]any{"set": "shop@"}, "is no golden set"},
		"a path as host":       {shivx.TypeGoldenBackup, map[string]any{"set": "shop", "host": "a/b"}, "is no golden set"},
		"an unknown mode":      {shivx.TypeGoldenRestore, map[string]any{"set": "shop@h1", "mode": "fast"}, "whole or in-place"},
		"an unknown action":    {shivx.TypeSafeSnapshot, map[string]any{"set": "shop@h1", "action": "rollback"}, "take or restore"},
		"a golden to take":     {shivx.TypeSafeSnapshot, map[string]any{"set": "shop@h1", "golden": "latest"}, `"action":"restore"`},
		"a name to restore":    {shivx.TypeSafeSnapshot, map[string]any{"set": "shop@h1", "action": "restore", "name": "x"}, `"golden"`},
		"one and all":          {shivx.TypeGoldenVerify, map[string]any{"set": "shop@h1", "golden": "x", "all": true}, `"all"`},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			newFakeStore().register(env)
			env.ExecuteWorkflow(c.book, c.in)
			require.ErrorContains(t, env.GetWorkflowError(), c.want)
		})
	}
}

// steps returns the reports of one step.
func steps(all []shivx.GoldenStepReport, name shivx.GoldenStep) []shivx.GoldenStepReport {
	var out []shivx.GoldenStepReport
	for _, s := range all {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}
