package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// unmended is a host whose component has no ladder, as a registered module has none, and no
// traffic path.
func unmended() *fakeHost {
	f := newFakeHost()
	f.policy.IsolatedBy = ""
	return f
}

// beat tells the entity of a missed lease, or of its end, and sets what the host says meanwhile.
func (e *entity) beat(id string, resolved bool) {
	e.host.mu.Lock()
	e.host.healthy = resolved
	e.host.mu.Unlock()
	signal := shivx.SignalFault
	if resolved {
		signal = shivx.SignalResolved
	}
	e.env.SignalWorkflow(signal, shivx.Finding{ID: id, Target: demo, Source: shivx.SourceHeartbeat, Signal: "heartbeat",
		Reason: "no heartbeat for 30s", Resolved: resolved, ObservedAt: e.env.Now().Add(-time.Millisecond)})
}

func TestComponentWithoutALadderCallsPeopleAndIsInServiceAgain(t *testing.T) {
	f := unmended()
	e := newEntity(t, f)
	e.at(time.Minute, func() { e.beat("a", false) })
	e.at(2*time.Minute, func() {
		require.Len(t, f.escalated, 1, "people are told at once")
		got := e.status()
		require.Equal(t, shivx.OutcomeFailed, got.Last.Outcome)
		require.True(t, got.Escalated)
		require.False(t, got.Isolated)
	})
	e.at(time.Hour, func() { e.beat("a#resolved", true) })
	e.at(time.Hour+time.Minute, func() {
		got := e.status()
		require.Equal(t, shivx.OutcomeHealthy, got.Last.Outcome, "verified as soon as it resolved")
		require.False(t, got.Escalated)
		require.False(t, got.Verify)
	})
	e.at(2*time.Hour, func() { e.beat("b", false) })
	got := e.run(3 * time.Hour)
	require.Len(t, f.escalated, 2, "once for each fault")
	require.Equal(t, shivx.OutcomeFailed, got.Last.Outcome)
}

func TestComponentThatResolvesWhileItsRunGivesUpIsVerified(t *testing.T) {
	f := unmended()
	e := newEntity(t, f)
	f.before = func(name string) {
		if name == "Escalate" {
			e.beat("a#resolved", true)
		}
	}
	e.at(time.Minute, func() { e.beat("a", false) })
	got := e.run(time.Hour)
	require.Equal(t, shivx.OutcomeHealthy, got.Last.Outcome)
	require.False(t, got.Escalated)
	require.Len(t, f.escalated, 1)
}

func TestComponentThatIsGoneIsNotVerifiedForever(t *testing.T) {
	f := unmended()
	e := newEntity(t, f)
	e.at(time.Minute, func() { e.beat("a", false) })
	e.at(time.Hour, func() {
		f.mu.Lock()
		f.failing["Inspect"] = activities.UnknownComponent("h1 has no component demo")
		f.mu.Unlock()
		e.beat("a#resolved", true)
	})
	got := e.run(3 * time.Hour)
	require.False(t, got.Escalated)
	require.False(t, got.Verify)
	require.Equal(t, 2, f.heals(), "it is looked at once more, and then left alone")
}

func TestSelfHealLeavesAProgramAloneWhoseHeartbeatsAreBack(t *testing.T) {
	f := healing()
	f.healthy = true
	e := newEntity(t, f)
	e.at(time.Minute, func() { e.beat("a", false); f.healthy = true })
	got := e.run(time.Hour)
	require.Equal(t, shivx.OutcomeHealthy, got.Last.Outcome)
	require.False(t, f.did("Recover restart"))
}

// TestComponentDealsAtOnceWithWhatComesWhileItLooks: in histories from before, a fault that comes
// while the entity asks the host waits for the next timer.
func TestComponentDealsAtOnceWithWhatComesWhileItLooks(t *testing.T) {
	for version, waits := range map[workflow.Version]time.Duration{workflow.DefaultVersion: probeEvery, 1: 0} {
		f := newFakeHost("restart") // nothing helps
		e := newEntity(t, f)
		e.env.OnGetVersion("see-at-once-what-comes-meanwhile", workflow.DefaultVersion, workflow.Version(1)).Return(version)
		e.env.OnGetVersion(mock.Anything, workflow.DefaultVersion, workflow.Version(1)).Return(workflow.Version(1)).Maybe()
		e.at(time.Second, func() { e.fault("a") })
		var came, healed time.Time
		e.at(10*time.Minute, func() {
			require.True(t, e.status().Isolated, "so it is looked at")
			f.before = func(name string) {
				switch {
				case name == "Inspect" && came.IsZero():
					came = e.env.Now()
					e.fault("b")
				case name == "Recover restart" && healed.IsZero():
					healed = e.env.Now()
				}
			}
		})
		e.run(15 * time.Minute)
		require.InDelta(t, waits.Seconds(), healed.Sub(came).Seconds(), 1, "version %d", version)
	}
}

// probeEvery is how often a component left out of traffic is looked at.
const probeEvery = time.Minute
