package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

var demo = shivx.Target{Component: "demo", Host: "h1"}

// entity is a Component under test, with real SelfHeal runs as its children on a fake host.
type entity struct {
	t    *testing.T
	env  *testsuite.TestWorkflowEnvironment
	host *fakeHost
}

func newEntity(t *testing.T, f *fakeHost) *entity {
	e := &entity{t, newEnv(t), f}
	f.register(e.env)
	e.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: shivx.ComponentID(demo)})
	e.env.OnSignalExternalWorkflow(mock.Anything, mock.Anything, mock.Anything, mock.Anything, mock.Anything).Return(
		func(_, id, _, signal string, arg any) error {
			if id == shivx.ComponentID(demo) {
				e.env.SignalWorkflow(signal, arg)
				return nil
			}
			return e.env.SignalWorkflowByID(id, signal, arg)
		}).Maybe()
	return e
}

// at runs f at a time after the start.
func (e *entity) at(d time.Duration, f func()) { e.env.RegisterDelayedCallback(f, d) }

// run runs the entity for d of its time and returns its state at the end.
func (e *entity) run(d time.Duration) (out workflows.ComponentState) {
	e.t.Helper()
	e.at(d, func() {
		out = e.status()
		e.env.CancelWorkflow()
	})
	e.env.ExecuteWorkflow(shivx.TypeComponent, workflows.ComponentInput{Target: demo})
	require.True(e.t, e.env.IsWorkflowCompleted())
	return out
}

func (e *entity) status() (out workflows.ComponentState) {
	e.t.Helper()
	v, err := e.env.QueryWorkflow(shivx.QueryStatus)
	require.NoError(e.t, err)
	require.NoError(e.t, v.Get(&out))
	return out
}

func (e *entity) fault(id string) {
	e.env.SignalWorkflow(shivx.SignalFault, shivx.Finding{
		// A millisecond ago: the clock of the test stands still while activities run.
		ID: id, Target: demo, Source: shivx.SourceHealthCheck, Reason: "http: down " + id, ObservedAt: e.env.Now().Add(-time.Millisecond)})
}

func (e *entity) configure(p shivx.Policy) { e.env.SignalWorkflow(shivx.SignalConfigure, p) }

// update sends an update and tells whether it was accepted.
func (e *entity) update(name, id string, arg any, rejected *error) {
	e.env.UpdateWorkflow(name, id, &testsuite.TestUpdateCallback{
		OnReject: func(err error) {
			if rejected != nil {
				*rejected = err
			}
		}, OnAccept: func() {}, OnComplete: func(any, error) {},
	}, arg)
}

func (f *fakeHost) heals() (n int) {
	for _, c := range f.sequence() {
		if c == "Inspect" {
			n++
		}
	}
	return n
}

func healing() *fakeHost {
	f := newFakeHost("restart")
	f.helps = "restart"
	return f
}

func TestComponentTurnsAFaultIntoOneRun(t *testing.T) {
	e := newEntity(t, healing())
	e.at(time.Second, func() {
		e.fault("a")
		e.fault("a") // delivered twice
		e.fault("b") // another source, same fault
	})
	got := e.run(time.Minute)
	require.Equal(t, 1, e.host.heals())
	require.Nil(t, got.Holder)
	require.Equal(t, shivx.OutcomeHealed, got.Last.Outcome)
	require.Equal(t, 1, got.InRow)
}

func TestComponentDropsAFaultOlderThanItsCure(t *testing.T) {
	e := newEntity(t, healing())
	e.at(time.Second, func() { e.fault("a") })
	e.at(time.Minute, func() {
		e.env.SignalWorkflow(shivx.SignalFault, shivx.Finding{ID: "late", Target: demo, ObservedAt: e.env.Now().Add(-time.Minute)})
	})
	got := e.run(2 * time.Minute)
	require.Equal(t, 1, e.host.heals())
	require.Equal(t, 1, got.Suppressed)
}

func TestComponentHealsAgainWhatBreaksBeforeTheRunHasEnded(t *testing.T) {
	f := healing()
	e := newEntity(t, f)
	broken := false
	f.before = func(name string) {
		if name == "Log" && !broken { // back in service, and at once gone again
			broken = true
			f.mu.Lock()
			f.healthy = false
			f.mu.Unlock()
			e.env.SignalWorkflow(shivx.SignalFault, shivx.Finding{ID: "second", Target: demo, ObservedAt: e.env.Now().Add(time.Second)})
		}
	}
	e.at(time.Second, func() { e.fault("first") })
	got := e.run(time.Hour)
	require.Equal(t, 2, f.heals())
	require.True(t, f.healthy)
	require.Equal(t, shivx.OutcomeHealed, got.Last.Outcome)
}

func TestComponentCoolsDownLongerEachTime(t *testing.T) {
	f := healing()
	e := newEntity(t, f)
	var starts []time.Duration
	begin := e.env.Now()
	f.before = func(name string) {
		if name == "Inspect" {
			f.mu.Lock()
			f.healthy = false
			f.mu.Unlock()
			starts = append(starts, e.env.Now().Sub(begin).Round(time.Second))
		}
	}
	e.at(0, func() {
		e.configure(shivx.Policy{Limits: shivx.Limits{Heals: 9, Window: shivx.Duration(time.Hour),
			Cooldown: shivx.Duration(10 * time.Second), MaxCooldown: shivx.Duration(30 * time.Second)}})
	})
	for i := range 4 { // faults that come at once after each cure
		e.at(time.Second+time.Duration(i)*40*time.Second, func() { e.fault(string(rune('a' + i))) })
		e.at(3*time.Second+time.Duration(i)*40*time.Second, func() { e.fault("again" + string(rune('a'+i))) })
	}
	e.run(10 * time.Minute)
	require.GreaterOrEqual(t, len(starts), 4)
	require.Equal(t, 10*time.Second, starts[1]-starts[0], "first cooldown: %v", starts)
	require.GreaterOrEqual(t, starts[3]-starts[2], 30*time.Second, "capped cooldown: %v", starts)
}

func TestComponentAsksPeopleWhenTheBudgetIsUsedUp(t *testing.T) {
	f := healing()
	f.before = func(name string) {
		if name == "Inspect" {
			f.mu.Lock()
			f.healthy = false
			f.mu.Unlock()
		}
	}
	e := newEntity(t, f)
	e.at(0, func() {
		e.configure(shivx.Policy{Limits: shivx.Limits{Heals: 2, Window: shivx.Duration(time.Hour),
			Cooldown: shivx.Duration(time.Second), MaxCooldown: shivx.Duration(time.Second)}})
	})
	for i := range 6 {
		e.at(time.Duration(i+1)*time.Minute, func() { e.fault(string(rune('a' + i))) })
	}
	e.at(50*time.Minute, func() {
		require.Equal(t, 2, f.heals(), "the budget of the hour")
		require.Len(t, f.escalated, 1, "people are told once")
		require.True(t, e.status().OverBudget)
	})
	got := e.run(3 * time.Hour)
	require.Equal(t, 3, f.heals(), "the fault stayed pending and was healed when the window had room")
	require.False(t, got.OverBudget)
	require.Empty(t, got.Pending)
}

func TestComponentIsLeftAloneInMaintenance(t *testing.T) {
	e := newEntity(t, healing())
	var refused error
	e.at(0, func() {
		e.update(shivx.UpdateSetMaintenance, "m", workflows.Maintenance{On: true, By: "ana", For: shivx.Duration(time.Hour)}, nil)
	})
	e.at(time.Minute, func() { e.fault("a") })
	e.at(2*time.Minute, func() { e.update(shivx.UpdateHeal, "h", workflows.HealRequest{By: "ben"}, &refused) })
	e.at(59*time.Minute, func() { require.Zero(t, e.host.heals()) })
	e.run(3 * time.Hour)
	require.ErrorContains(t, refused, "maintenance by ana")
	require.Equal(t, 1, e.host.heals(), "the fault that lasted was healed once maintenance had ended by itself")
}

func TestComponentRefusesASecondHealAndSaysWhoHasTheFirst(t *testing.T) {
	f := healing()
	f.policy.Ladder[0].Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(time.Hour)}
	e := newEntity(t, f)
	var refused, acquire error
	e.at(time.Second, func() { e.update(shivx.UpdateHeal, "1", workflows.HealRequest{By: "ana", Reason: "slow"}, nil) })
	e.at(time.Minute, func() {
		e.update(shivx.UpdateHeal, "2", workflows.HealRequest{By: "ben"}, &refused)
		e.update(shivx.UpdateAcquire, "3", activities.AcquireInput{Target: demo, Holder: activities.RunRef{WorkflowID: "mine", RunID: "r"}}, &acquire)
	})
	e.run(2 * time.Minute)
	require.ErrorContains(t, refused, "asked for by ana: slow")
	require.ErrorContains(t, acquire, "self-heal/demo@h1")
}

func TestComponentFreesALockWhoseHolderIsGone(t *testing.T) {
	e := newEntity(t, healing())
	e.at(time.Second, func() {
		e.update(shivx.UpdateAcquire, "a", activities.AcquireInput{Target: demo, Holder: activities.RunRef{WorkflowID: "mine", RunID: "r"}}, nil)
	})
	e.at(30*time.Second, func() { require.NotNil(t, e.status().Holder) })
	got := e.run(5 * time.Minute)
	require.Nil(t, got.Holder)
	require.True(t, e.host.did("RunOpen"))
	require.Contains(t, got.Last.Message, "without handing the lock back")
}

func TestComponentVerifiesWhatRecoversWhileIsolated(t *testing.T) {
	f := newFakeHost("restart") // nothing helps
	e := newEntity(t, f)
	e.at(time.Second, func() { e.fault("a") })
	e.at(time.Minute, func() {
		require.True(t, e.status().Isolated)
		f.mu.Lock()
		f.healthy = true
		f.mu.Unlock()
		e.env.SignalWorkflow(shivx.SignalResolved, shivx.Finding{ID: "a#resolved", Target: demo, Resolved: true, ObservedAt: e.env.Now()})
	})
	got := e.run(2 * time.Minute)
	require.False(t, got.Isolated)
	require.False(t, f.isolated)
	require.Equal(t, shivx.OutcomeHealthy, got.Last.Outcome)
}

func TestComponentPutsBackWhatIsWellAgainByItself(t *testing.T) {
	f := newFakeHost("restart") // nothing helps
	e := newEntity(t, f)
	e.at(time.Second, func() { e.fault("a") })
	e.at(10*time.Minute, func() { // repaired by hand; no sensor says so, for the agent was restarted
		require.True(t, e.status().Isolated)
		f.mu.Lock()
		f.healthy = true
		f.mu.Unlock()
	})
	got := e.run(15 * time.Minute)
	require.False(t, got.Isolated)
	require.False(t, f.isolated)
}

func TestComponentRemembersThatItIsOutOfTraffic(t *testing.T) {
	f := newFakeHost("restart") // nothing helps
	e := newEntity(t, f)
	e.at(time.Second, func() { e.fault("a") })
	e.at(30*time.Second, func() {
		require.True(t, e.status().Isolated)
		f.mu.Lock()
		f.healthy = true // just before the reminder
		f.mu.Unlock()
		e.fault("a#2")
	})
	got := e.run(2 * time.Minute)
	require.Equal(t, shivx.OutcomeHealthy, got.Last.Outcome)
	require.False(t, f.isolated, "a run that finds it healthy puts it back")
	require.False(t, got.Isolated)
}

func TestComponentTellsOnlyTheSignalThatResolved(t *testing.T) {
	f := healing()
	e := newEntity(t, f)
	alert := func(id string, resolved bool) shivx.Finding {
		return shivx.Finding{ID: id, Target: demo, Source: shivx.SourceAlert, Signal: "QueueStuck", Resolved: resolved, ObservedAt: e.env.Now()}
	}
	e.at(0, func() {
		e.update(shivx.UpdateSetMaintenance, "m", workflows.Maintenance{On: true, By: "ana", For: shivx.Duration(time.Hour)}, nil)
	})
	e.at(time.Minute, func() {
		e.env.SignalWorkflow(shivx.SignalFault, alert("q", false))
		e.fault("h")
	})
	e.at(2*time.Minute, func() {
		e.env.SignalWorkflow(shivx.SignalResolved, shivx.Finding{ID: "h#resolved", Target: demo, Source: shivx.SourceHealthCheck, Resolved: true})
	})
	e.at(3*time.Minute, func() { require.Len(t, e.status().Pending, 1, "the alert still stands") })
	e.at(4*time.Minute, func() { e.env.SignalWorkflow(shivx.SignalResolved, alert("q2", true)) })
	got := e.run(2 * time.Hour)
	require.Empty(t, got.Pending)
	require.Zero(t, f.heals())
}

func TestComponentRunsThatDidNothingCostNothing(t *testing.T) {
	f := healing()
	f.healthy = true
	e := newEntity(t, f)
	for i := range 4 {
		e.at(time.Duration(i+1)*time.Minute, func() { e.fault(string(rune('a' + i))) })
	}
	got := e.run(10 * time.Minute)
	require.Equal(t, shivx.OutcomeHealthy, got.Last.Outcome)
	require.Empty(t, got.Heals)
	require.Zero(t, got.InRow)
}

func TestComponentReleasedByHandStaysWhole(t *testing.T) {
	f := healing()
	f.policy.Ladder[0].Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(time.Hour)}
	e := newEntity(t, f)
	e.at(time.Second, func() { e.fault("a") })
	e.at(time.Minute, func() {
		e.env.SignalWorkflow(shivx.SignalReleased, workflows.Released{Holder: e.status().Holder.RunRef, Outcome: shivx.OutcomeHealed})
	})
	e.at(2*time.Minute, func() { require.NotNil(t, e.status().Holder, "the run is still under way") })
	got := e.run(2 * time.Hour)
	require.Nil(t, got.Holder)
	require.Equal(t, shivx.OutcomeFailed, got.Last.Outcome)
}

func TestComponentForgetsAFaultThatResolvesInTheCooldown(t *testing.T) {
	e := newEntity(t, healing())
	e.at(time.Second, func() { e.fault("a") })
	e.at(5*time.Second, func() { e.fault("b") })
	e.at(6*time.Second, func() {
		require.Len(t, e.status().Pending, 1)
		e.env.SignalWorkflow(shivx.SignalResolved, shivx.Finding{ID: "b#resolved", Target: demo, Resolved: true})
	})
	e.run(time.Hour)
	require.Equal(t, 1, e.host.heals())
}

func TestComponentTakesCheckpointsWhileHealthy(t *testing.T) {
	e := newEntity(t, healing())
	e.at(0, func() {
		e.configure(shivx.Policy{Limits: shivx.DefaultLimits(), CheckpointEvery: shivx.Duration(10 * time.Minute)})
	})
	e.run(35 * time.Minute)
	n := 0
	for _, c := range e.host.sequence() {
		if c == "Checkpoint" {
			n++
		}
	}
	require.Equal(t, 4, n, "at once, and then every ten minutes")
}

func TestLedgerWitnessRefusesContradictions(t *testing.T) {
	head := func(seq uint64, hash, genesis string) shivx.LedgerHead {
		return shivx.LedgerHead{Ledger: "operational_ledger", Host: "h1", Seq: seq, Hash: hash, Genesis: genesis}
	}
	cases := map[string]struct {
		h    shivx.LedgerHead
		want string
	}{
		"longer":            {head(11, "cc", "g"), ""},
		"the same again":    {head(10, "bb", "g"), ""},
		"shorter":           {head(9, "aa", "g"), "it was cut or an old copy put back"},
		"rewritten":         {head(10, "xx", "g"), "it was rewritten"},
		"another first key": {head(12, "dd", "other"), "it was replaced"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			workflows.Register(env)
			var rejected error
			kept := 0
			send := func(id string, h shivx.LedgerHead, to *error) {
				env.UpdateWorkflow(shivx.UpdateWitness, id, &testsuite.TestUpdateCallback{
					OnReject: func(err error) { *to = err }, OnAccept: func() {},
					OnComplete: func(any, error) { kept++ },
				}, h)
			}
			var first error
			env.RegisterDelayedCallback(func() { send("1", head(10, "bb", "g"), &first) }, time.Second)
			env.RegisterDelayedCallback(func() { send("2", c.h, &rejected) }, 2*time.Second)
			env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
			env.ExecuteWorkflow(shivx.TypeLedgerWitness, workflows.WitnessInput{Host: "h1"})
			require.NoError(t, first)
			if c.want == "" {
				require.NoError(t, rejected)
				require.Equal(t, 2, kept)
				return
			}
			require.ErrorContains(t, rejected, c.want)
		})
	}
}
