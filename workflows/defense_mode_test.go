package workflows_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// defending is a DefenseMode under test.
type defending struct {
	t     *testing.T
	env   *testsuite.TestWorkflowEnvironment
	began time.Time
	memos []shivx.FleetMode
	told  []activities.EscalateInput
	mute  bool
}

func newDefending(t *testing.T) *defending {
	t.Helper()
	r := &defending{t: t, env: newEnv(t), began: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)}
	workflows.Register(r.env)
	r.env.SetStartTime(r.began)
	r.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: shivx.DefenseModeID})
	r.env.OnUpsertMemo(mock.Anything).Run(func(args mock.Arguments) {
		r.memos = append(r.memos, args.Get(0).(map[string]any)[shivx.MemoMode].(shivx.FleetMode))
	}).Return(nil).Maybe()
	activities.Escalate.Register(r.env, func(_ context.Context, in activities.EscalateInput) (activities.EscalateResult, error) {
		if r.mute {
			return activities.EscalateResult{}, temporal.NewNonRetryableApplicationError("nobody was told", activities.ErrPlugin, nil)
		}
		r.told = append(r.told, in)
		return activities.EscalateResult{}, nil
	})
	return r
}

func (r *defending) at(d time.Duration, f func()) { r.env.RegisterDelayedCallback(f, d) }

// threat tells of a serious threat of a host that was found d after the start.
func (r *defending) threat(host string, d time.Duration) {
	r.env.SignalWorkflow(shivx.SignalThreat, shivx.Threat{
		ID: fmt.Sprintf("%s@%s", host, d), Host: host, Type: shivx.ThreatBruteForceCritical, Level: shivx.ThreatHigh,
		Source: attacker, At: r.began.Add(d)})
}

// attack tells of n threats, one a second, from d on.
func (r *defending) attack(host string, d time.Duration, n int) {
	for i := range n {
		at := d + time.Duration(i)*time.Second
		r.at(at, func() { r.threat(host, at) })
	}
}

// locked is a lockdown as host h has begun it, d after the start.
func (r *defending) locked(h string, d, confirm time.Duration) shivx.ModeChange {
	c := shivx.ModeChange{Host: h, From: shivx.DefenseNormal, To: shivx.DefenseLockdown, By: "ana", Reason: "intruder on " + h, At: r.began.Add(d)}
	if confirm > 0 {
		c.Until, c.Unconfirmed = c.At.Add(confirm), true
	}
	return c
}

// ended is the end of a lockdown by that person on host h.
func (r *defending) ended(h, by string, d time.Duration) shivx.ModeChange {
	return shivx.ModeChange{Host: h, From: shivx.DefenseLockdown, To: shivx.DefenseNormal, By: by, Reason: "all clear", At: r.began.Add(d)}
}

func (r *defending) mode(c shivx.ModeChange) { r.env.SignalWorkflow(shivx.SignalMode, c) }

// is checks the mode of the fleet at a time.
func (r *defending) is(at time.Duration, want shivx.DefenseMode) {
	r.at(at, func() { require.Equal(r.t, want, r.status().Shown.To, "at %s", at) })
}

func (r *defending) run(d time.Duration) (out workflows.DefenseState) {
	r.t.Helper()
	r.at(d, func() {
		out = r.status()
		r.env.CancelWorkflow()
	})
	r.env.ExecuteWorkflow(shivx.TypeDefenseMode)
	require.True(r.t, r.env.IsWorkflowCompleted())
	require.ErrorAs(r.t, r.env.GetWorkflowError(), new(*temporal.CanceledError))
	require.Equal(r.t, out.Shown, r.memos[len(r.memos)-1], "the memo")
	for i := 1; i < len(r.memos); i++ {
		require.Greater(r.t, r.memos[i].Number, r.memos[i-1].Number)
	}
	return out
}

func (r *defending) status() (out workflows.DefenseState) {
	r.t.Helper()
	v, err := r.env.QueryWorkflow(shivx.QueryStatus)
	require.NoError(r.t, err)
	require.NoError(r.t, v.Get(&out))
	return out
}

// modeAnswer is what became of an update of the mode.
type modeAnswer struct {
	rejected, err error
	got           shivx.ModeChange
}

func (r *defending) update(name string, arg any) *modeAnswer {
	a := &modeAnswer{}
	r.env.UpdateWorkflow(name, fmt.Sprintf("%s-%v", name, r.env.Now()), &testsuite.TestUpdateCallback{
		OnReject: func(err error) { a.rejected = err }, OnAccept: func() {},
		OnComplete: func(v any, err error) { a.err = err; a.got, _ = v.(shivx.ModeChange) },
	}, arg)
	return a
}

func (r *defending) messages() (out []string) {
	for _, m := range r.told {
		out = append(out, m.Message)
	}
	return out
}

func TestDefenseIsElevatedByThreatsOfAnyHostAndDecays(t *testing.T) {
	r := newDefending(t)
	r.attack("h1", time.Minute, 2)
	r.attack("h2", 5*time.Minute, 2)
	r.is(6*time.Minute, shivx.DefenseNormal)
	r.attack("h3", 10*time.Minute, 1) // the fifth within ten minutes
	r.is(10*time.Minute+time.Second, shivx.DefenseElevated)
	r.attack("h3", 15*time.Minute, 1)
	r.is(24*time.Minute+50*time.Second, shivx.DefenseElevated)
	r.is(25*time.Minute+10*time.Second, shivx.DefenseNormal)
	got := r.run(time.Hour)
	require.Equal(t, r.began.Add(25*time.Minute), got.Shown.At.Truncate(time.Second))
	require.Equal(t, "there was no serious threat for 10m0s", got.Shown.Reason)
	require.Len(t, got.Changes, 2)
	require.Equal(t, r.began.Add(10*time.Minute), got.Changes[0].At)
	require.Contains(t, r.messages()[0], "the fleet is ELEVATED since 2026-01-02T03:10:00Z, thresholds are tighter: 5 threats")
	require.Contains(t, r.messages()[1], "the fleet is NORMAL again")
	require.Len(t, r.told, 2)
	require.Equal(t, shivx.DefenseModeID, r.told[0].Run)
	require.NotEmpty(t, r.told[0].Hint)
}

func TestDefenseCountsEachThreatOnceAndTheSeriousAlone(t *testing.T) {
	r := newDefending(t)
	r.at(time.Minute, func() {
		for range 10 {
			r.threat("h1", time.Minute)
		}
		for i := range 10 {
			r.env.SignalWorkflow(shivx.SignalThreat, shivx.Threat{ID: fmt.Sprint(i), Level: shivx.ThreatMedium, At: r.env.Now()})
		}
		for i := range 10 { // told late, after Temporal was away
			r.threat("h2", -time.Hour+time.Duration(i)*time.Second)
		}
	})
	got := r.run(2 * time.Minute)
	require.Equal(t, shivx.DefenseNormal, got.Shown.To)
	require.Len(t, got.Threats, 11)
	require.Empty(t, r.told)
	require.Len(t, r.memos, 1)
}

func TestDefenseFollowsItsPolicy(t *testing.T) {
	r := newDefending(t)
	r.at(0, func() {
		r.env.SignalWorkflow(shivx.SignalConfigure, shivx.DefensePolicy{Threats: 2, Window: shivx.Duration(time.Minute)})
		r.env.SignalWorkflow(shivx.SignalConfigure, shivx.DefensePolicy{})
	})
	r.attack("h1", time.Minute, 2)
	r.is(time.Minute+2*time.Second, shivx.DefenseElevated)
	r.is(2*time.Minute+10*time.Second, shivx.DefenseNormal)
	r.at(3*time.Minute, func() { r.env.SignalWorkflow(shivx.SignalLockdown, map[string]string{"by": "ana", "why": "drill"}) })
	got := r.run(1000 * time.Hour)
	require.Equal(t, shivx.DefenseLockdown, got.Shown.To)
	require.False(t, got.Shown.Unconfirmed, "the policy asks for no confirmation")
	require.True(t, got.Shown.Until.IsZero())
}

func TestDefenseLockdownThatNobodyConfirmsRollsBack(t *testing.T) {
	r := newDefending(t)
	r.at(time.Minute, func() { r.env.SignalWorkflow(shivx.SignalLockdown, map[string]string{"by": "ana", "why": "intruder"}) })
	r.attack("h1", 2*time.Minute, 9) // counts for nothing after the lockdown
	r.is(10*time.Minute+50*time.Second, shivx.DefenseLockdown)
	r.is(11*time.Minute+time.Second, shivx.DefenseNormal)
	got := r.run(time.Hour)
	require.Equal(t, r.began.Add(11*time.Minute), got.Shown.At)
	require.Equal(t, "nobody has confirmed the lockdown in time, which was: intruder", got.Shown.Reason)
	require.True(t, got.Shown.RestoredAt.IsZero(), "no person has ended it; hosts roll back by themselves")
	require.Contains(t, r.messages()[0], "the fleet is in LOCKDOWN since 2026-01-02T03:01:00Z, by ana: intruder")
	require.Contains(t, r.told[0].Hint, "it ends by itself at 2026-01-02T03:11:00Z unless a person confirms it")
	require.Contains(t, r.messages()[1], "the LOCKDOWN of the fleet is over since 2026-01-02T03:11:00Z")
	require.Len(t, r.told, 2)
}

func TestDefenseLockdownThatIsConfirmedHolds(t *testing.T) {
	r := newDefending(t)
	var set, early, tooEarly, confirmed, again *modeAnswer
	r.at(30*time.Second, func() { early = r.update(shivx.UpdateConfirm, workflows.By{By: "ben"}) })
	r.at(time.Minute, func() {
		set = r.update(shivx.UpdateSetMode, map[string]string{"mode": "lockdown", "by": "ana", "why": "intruder", "confirm_within": "5m"})
	})
	r.at(time.Minute, func() { tooEarly = r.update(shivx.UpdateConfirm, workflows.By{By: "ana"}) })
	r.at(5*time.Minute, func() { confirmed = r.update(shivx.UpdateConfirm, workflows.By{By: "ben"}) })
	r.at(6*time.Minute, func() { again = r.update(shivx.UpdateConfirm, workflows.By{By: "eve"}) })
	// A host that did not know has begun one, and rolls back.
	r.at(6*time.Minute+30*time.Second, func() { r.mode(r.locked("h2", 6*time.Minute, time.Minute)) })
	r.at(7*time.Minute, func() { r.mode(r.ended("h2", shivx.Guardian, 7*time.Minute)) })
	r.at(7*time.Minute+time.Second, func() {
		require.Equal(t, shivx.DefenseLockdown, r.status().Shown.To)
		require.False(t, r.status().Shown.Unconfirmed)
		require.Equal(t, r.began.Add(6*time.Minute+time.Microsecond), r.status().Shown.At, "that host follows")
	})
	r.is(100*time.Hour, shivx.DefenseLockdown)
	r.at(101*time.Hour, func() { r.env.SignalWorkflow(shivx.SignalRestore, map[string]string{"by": "ana", "why": "all clear"}) })
	got := r.run(102 * time.Hour)
	require.ErrorContains(t, early.rejected, "no lockdown waits to be confirmed")
	require.ErrorContains(t, tooEarly.rejected, "the lockdown begins only now")
	require.Equal(t, r.began.Add(6*time.Minute), set.got.Until)
	require.True(t, set.got.Unconfirmed)
	require.False(t, confirmed.got.Unconfirmed)
	require.True(t, confirmed.got.Until.IsZero())
	require.Equal(t, "confirmed: intruder", confirmed.got.Reason)
	require.Equal(t, confirmed.got, again.got)
	require.Equal(t, shivx.DefenseNormal, got.Shown.To)
	require.Equal(t, r.began.Add(101*time.Hour), got.Shown.RestoredAt)
	require.Len(t, r.told, 3)
	require.Contains(t, r.messages()[1], "confirmed by ben")
}

func TestDefenseLockdownThatNeedsNoConfirmation(t *testing.T) {
	r := newDefending(t)
	var a *modeAnswer
	r.at(time.Minute, func() {
		a = r.update(shivx.UpdateSetMode, shivx.ModeRequest{Mode: shivx.DefenseLockdown, By: "ana", Why: "intruder"})
	})
	got := r.run(1000 * time.Hour)
	require.NoError(t, a.rejected)
	require.Equal(t, shivx.DefenseLockdown, got.Shown.To, "a Go program that says 0 means 0")
}

// TestDefenseEndsALockdownThatItDoesNotKnow: a run that was begun anew knows of nothing, its hosts may.
func TestDefenseEndsALockdownThatItDoesNotKnow(t *testing.T) {
	r := newDefending(t)
	var a *modeAnswer
	r.at(time.Minute, func() {
		a = r.update(shivx.UpdateSetMode, shivx.ModeRequest{Mode: shivx.DefenseNormal, By: "ana", Why: "all clear"})
	})
	got := r.run(time.Hour)
	require.NoError(t, a.rejected)
	require.Equal(t, shivx.DefenseNormal, got.Shown.To)
	require.Equal(t, r.began.Add(time.Minute), got.Shown.RestoredAt)
}

func TestDefenseFollowsTheLockdownOfAHostAndItsEnd(t *testing.T) {
	r := newDefending(t)
	r.at(time.Minute, func() {
		r.mode(shivx.ModeChange{Host: "h1", From: shivx.DefenseNormal, To: shivx.DefenseElevated, By: shivx.Guardian, At: r.env.Now()})
	})
	r.at(2*time.Minute, func() {
		require.Equal(t, shivx.DefenseNormal, r.status().Shown.To, "that one host is ELEVATED says nothing of the fleet")
		r.mode(r.locked("h1", 30*time.Second, time.Hour))
	})
	r.at(3*time.Minute, func() {
		require.Equal(t, r.locked("h1", 30*time.Second, time.Hour), r.status().Shown.ModeChange, "as the host says, which need not follow")
		r.mode(r.ended("h2", "ben", 10*time.Second)) // before
	})
	r.is(4*time.Minute, shivx.DefenseLockdown)
	r.at(5*time.Minute, func() { r.mode(r.ended("h1", "ben", 90*time.Second)) })
	r.is(6*time.Minute, shivx.DefenseNormal)
	r.at(7*time.Minute, func() { r.mode(r.locked("h1", 30*time.Second, time.Hour)) }) // told again
	got := r.run(time.Hour)
	require.Equal(t, shivx.DefenseNormal, got.Shown.To)
	require.Equal(t, "ben", got.Shown.By)
	require.Equal(t, r.began.Add(90*time.Second), got.Shown.RestoredAt)
}

func TestDefenseTakesALockdownThoughTheFleetBecameElevatedAfterIt(t *testing.T) {
	r := newDefending(t)
	r.attack("h1", time.Minute, 5)
	r.at(2*time.Minute, func() {
		require.Equal(t, shivx.DefenseElevated, r.status().Shown.To)
		r.mode(r.locked("h2", 30*time.Second, 0))
	})
	require.Equal(t, shivx.DefenseLockdown, r.run(time.Hour).Shown.To)
}

func TestDefenseTellsOfALockdownThatWasOverBeforeItWasTold(t *testing.T) {
	r := newDefending(t)
	r.at(time.Hour, func() { r.mode(r.locked("h1", time.Minute, 10*time.Minute)) })
	got := r.run(2 * time.Hour)
	require.Equal(t, shivx.DefenseNormal, got.Shown.To)
	require.Len(t, r.memos, 1, "hosts need not know")
	require.Len(t, r.told, 1)
	require.Contains(t, r.messages()[0], "h1 was in LOCKDOWN from 2026-01-02T03:01:00Z to 2026-01-02T03:11:00Z, while Temporal was away")
}

func TestDefenseIsCalmedByAPerson(t *testing.T) {
	for name, calm := range map[string]func(*defending){
		"here": func(r *defending) { r.env.SignalWorkflow(shivx.SignalRestore, map[string]string{"by": "ana"}) },
		"on a host": func(r *defending) {
			r.mode(shivx.ModeChange{Host: "h2", From: shivx.DefenseElevated, To: shivx.DefenseNormal, By: "ana", At: r.env.Now()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newDefending(t)
			r.attack("h1", time.Minute, 5)
			r.at(2*time.Minute, func() { calm(r) })
			r.is(2*time.Minute+time.Second, shivx.DefenseNormal)
			r.at(3*time.Minute, func() { r.threat("h1", time.Minute+30*time.Second) }) // older than that
			r.attack("h1", 4*time.Minute, 4)
			r.is(5*time.Minute, shivx.DefenseNormal)
			r.attack("h1", 6*time.Minute, 1)
			r.is(7*time.Minute, shivx.DefenseElevated)
			r.run(time.Hour)
		})
	}
}

func TestDefenseIsElevatedByHandAndDecays(t *testing.T) {
	r := newDefending(t)
	var a *modeAnswer
	r.at(time.Minute, func() {
		a = r.update(shivx.UpdateSetMode, shivx.ModeRequest{Mode: shivx.DefenseElevated, By: "ana", Why: "a release"})
	})
	r.attack("h1", 8*time.Minute, 1)
	r.is(17*time.Minute, shivx.DefenseElevated)
	got := r.run(time.Hour)
	require.Equal(t, "a release", a.got.Reason)
	require.Equal(t, r.began.Add(11*time.Minute), a.got.Until)
	require.Equal(t, shivx.DefenseNormal, got.Shown.To)
	require.Equal(t, r.began.Add(18*time.Minute), got.Shown.At)
}

func TestDefenseRefusesRequestsThatSayTooLittle(t *testing.T) {
	for want, req := range map[string]map[string]string{
		`write one of NORMAL, ELEVATED, LOCKDOWN`:     {"mode": "PANIC", "by": "ana"},
		`set "by" to your name`:                       {"mode": "NORMAL"},
		`set "why" to one line`:                       {"mode": "LOCKDOWN", "by": "ana"},
		`set "confirm_within" to a time such as "10m`: {"mode": "LOCKDOWN", "by": "ana", "why": "x", "confirm_within": "-1s"},
	} {
		t.Run(want, func(t *testing.T) {
			r := newDefending(t)
			var a *modeAnswer
			r.at(time.Second, func() { a = r.update(shivx.UpdateSetMode, req) })
			r.run(time.Minute)
			require.ErrorContains(t, a.rejected, want)
			require.Len(t, r.memos, 1)
		})
	}
	r := newDefending(t)
	var a *modeAnswer
	r.at(time.Second, func() { a = r.update(shivx.UpdateConfirm, workflows.By{}) })
	r.run(time.Minute)
	require.ErrorContains(t, a.rejected, `set "by" to your name`)
}

func TestDefenseGoesOnTellingUntilPeopleAreReached(t *testing.T) {
	r := newDefending(t)
	r.mute = true
	r.at(time.Minute, func() { r.mode(r.locked("h1", time.Minute, 0)) })
	r.at(10*time.Minute, func() {
		require.Len(t, r.status().Untold, 1)
		r.mute = false
	})
	got := r.run(time.Hour)
	require.Empty(t, got.Untold)
	require.Len(t, r.told, 1)
}

func TestDefenseSurvivesThousandsOfThreatsAndContinuesAsNew(t *testing.T) {
	r := newDefending(t)
	for i := range 30 {
		r.at(time.Minute+time.Duration(i)*time.Second, func() {
			for j := range 100 {
				r.threat(fmt.Sprint("h", j%7), time.Duration(i)*time.Second+time.Duration(j)*time.Millisecond)
			}
		})
	}
	r.at(9*time.Minute, func() {
		require.Equal(t, shivx.DefenseElevated, r.status().Shown.To)
		require.Len(t, r.status().Threats, 200)
		require.LessOrEqual(t, len(r.memos), 4, "hosts are not told of every threat")
	})
	cutAtSignal(r.env, shivx.SignalLockdown)
	r.at(10*time.Minute, func() { r.env.SignalWorkflow(shivx.SignalLockdown, map[string]string{"by": "ana", "why": "too much"}) })
	r.env.ExecuteWorkflow(shivx.TypeDefenseMode)
	var in workflows.DefenseInput
	nextInput(t, r.env.GetWorkflowError(), &in)
	require.Equal(t, shivx.DefenseLockdown, in.State.Shown.To)

	next := newDefending(t)
	next.env.SetStartTime(r.began.Add(11 * time.Minute))
	var got workflows.DefenseState
	next.at(20*time.Minute, func() { got = next.status(); next.env.CancelWorkflow() })
	next.env.ExecuteWorkflow(shivx.TypeDefenseMode, in)
	require.Equal(t, shivx.DefenseNormal, got.Shown.To)
	require.Equal(t, in.State.Shown.Number+1, got.Shown.Number)
	require.Equal(t, r.began.Add(20*time.Minute), got.Shown.At.Truncate(time.Second))
}

func TestDefenseStaysElevatedByATrickle(t *testing.T) {
	r := newDefending(t)
	r.attack("h1", time.Minute, 5)
	for i := range 400 { // more than is remembered
		at := time.Duration(i+1) * 9 * time.Minute
		r.at(at, func() { r.threat("h1", at) })
	}
	r.is(400*9*time.Minute+time.Minute, shivx.DefenseElevated)
	got := r.run(401 * 9 * time.Minute)
	require.Equal(t, shivx.DefenseElevated, got.Shown.To)
	require.Len(t, r.told, 1)
}

func TestDefenseShowsItselfInTheTemporalUI(t *testing.T) {
	r := newDefending(t)
	r.attack("h1", time.Minute, 5)
	r.at(2*time.Minute, func() { r.mode(r.locked("h|1", 2*time.Minute, time.Hour)) })
	r.at(3*time.Minute, func() {
		v, err := r.env.QueryWorkflow("__temporal_workflow_metadata")
		require.NoError(t, err)
		var meta sdkpb.WorkflowMetadata
		require.NoError(t, v.Get(&meta))
		for _, want := range []string{"### The fleet is LOCKDOWN", `| why | intruder on h\|1 |`, "| ends | 2026-01-02T04:02:00Z, unless", "| ELEVATED | LOCKDOWN | ana |",
			"brute_force_critical | 203.0.113.7 | h1 |"} {
			require.Contains(t, meta.CurrentDetails, want)
		}
		described := 0
		for _, d := range append(append(meta.Definition.SignalDefinitions, meta.Definition.UpdateDefinitions...), meta.Definition.QueryDefinitions...) {
			if d.Description != "" {
				described++
			}
		}
		require.GreaterOrEqual(t, described, 8)
	})
	r.run(4 * time.Minute)
}

func TestDefenseHasOneRun(t *testing.T) {
	r := newDefending(t)
	r.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: "another"})
	r.env.ExecuteWorkflow(shivx.TypeDefenseMode)
	require.ErrorContains(t, r.env.GetWorkflowError(), "defense-mode")
}
