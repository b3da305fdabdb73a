package guardian

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// attack makes five sources of different networks fail often enough to be isolated.
func (s *stand) attack(from int) {
	for n := range 5 {
		s.fail(fmt.Sprintf("203.%d.%d.1", from, n), 10)
	}
}

func TestThreatsDoNotEndALockdown(t *testing.T) {
	s := newStand(t, func(g *config.Guardian) { g.Allow = []string{"203.0.0.0/8"} })
	_, err := s.SetMode(t.Context(), shivx.ModeRequest{Mode: shivx.DefenseLockdown, By: "ana", Why: "intruder"})
	require.NoError(t, err)
	now := s.now()
	s.Guardian.mu.Lock()
	defer s.Guardian.mu.Unlock()
	for range 20 {
		s.countSerious(now)
	}
	require.True(t, s.lockedDown(now))
	require.True(t, s.elevated(now))
	require.Equal(t, shivx.DefenseLockdown, s.mode(now).To)
}

func TestTheTracksHaveClocksOfTheirOwn(t *testing.T) {
	s := newStand(t, nil)
	ctx := t.Context()
	s.attack(1)
	require.Equal(t, shivx.DefenseElevated, s.Mode().To)
	ahead := s.now().Add(5 * time.Minute)
	s.FleetMode(shivx.FleetMode{ModeChange: shivx.ModeChange{To: shivx.DefenseLockdown, By: "ben", At: ahead, Until: ahead.Add(time.Hour)}, Number: 1})
	s.FleetMode(shivx.FleetMode{ModeChange: shivx.ModeChange{To: shivx.DefenseNormal, By: "ben", At: ahead.Add(time.Second)}, Number: 2, RestoredAt: ahead.Add(time.Second)})
	require.NotEqual(t, shivx.DefenseLockdown, s.Mode().To)
	_, err := s.SetMode(ctx, shivx.ModeRequest{Mode: shivx.DefenseLockdown, By: "ana", Why: "intruder"})
	require.NoError(t, err)
	require.True(t, s.set.Lockdown().On, "a later word holds, whatever the clock says")

	_, err = s.SetMode(ctx, shivx.ModeRequest{Mode: shivx.DefenseNormal, By: "ana", Why: "over"})
	require.NoError(t, err)
	require.Equal(t, shivx.DefenseNormal, s.Mode().To)
	require.False(t, s.set.Lockdown().On)
}

// TestALockdownThatEndsBeforeItBegan comes of clocks that differ; it must not keep the guardian busy.
func TestALockdownThatEndsBeforeItBegan(t *testing.T) {
	s := newStand(t, nil)
	now := s.now()
	s.attack(1)
	s.FleetMode(shivx.FleetMode{ModeChange: shivx.ModeChange{To: shivx.DefenseLockdown, By: "ben", At: now.Add(time.Hour), Until: now.Add(time.Minute)}, Number: 1})
	require.True(t, s.set.Lockdown().On)
	s.pass(2 * time.Minute)
	require.False(t, s.set.Lockdown().On)
	before := len(s.records())
	for range 5 {
		s.tick()
	}
	require.Len(t, s.records(), before)
	require.True(t, s.due().After(s.now()), "nothing is due in the past")
}

func TestAConfirmationAfterTheRollBackHolds(t *testing.T) {
	s := newStand(t, nil)
	c, err := s.SetMode(t.Context(), shivx.ModeRequest{Mode: shivx.DefenseLockdown, By: "ana", Why: "intruder", ConfirmWithin: shivx.Duration(time.Minute)})
	require.NoError(t, err)
	s.pass(61 * time.Second)
	require.False(t, s.set.Lockdown().On)
	confirmed := shivx.ModeChange{To: shivx.DefenseLockdown, By: "ben", Reason: "confirmed: intruder", At: c.At.Add(59 * time.Second)}
	s.FleetMode(shivx.FleetMode{ModeChange: confirmed, Number: 2})
	require.True(t, s.set.Lockdown().On, "it was confirmed in time, elsewhere")
}

func TestALockdownOfTheFleetsGuardianEndsWhereNobodyIsAllowed(t *testing.T) {
	s := newStand(t, nil)
	s.FleetMode(shivx.FleetMode{ModeChange: shivx.ModeChange{To: shivx.DefenseLockdown, By: shivx.Guardian, At: s.now()}, Number: 1})
	require.True(t, s.Mode().Unconfirmed)
	s.pass(11 * time.Minute)
	require.Equal(t, shivx.DefenseNormal, s.Mode().To)
	s.FleetMode(shivx.FleetMode{ModeChange: shivx.ModeChange{To: shivx.DefenseLockdown, By: shivx.Guardian, At: s.now().Add(-11 * time.Minute)}, Number: 1})
	require.Equal(t, shivx.DefenseNormal, s.Mode().To, "the same statement does not lock it down again")
}

func TestElevatedFollowsTheFleetUntilItIsCalmed(t *testing.T) {
	s := newStand(t, nil)
	at := s.now()
	f := shivx.FleetMode{ModeChange: shivx.ModeChange{From: shivx.DefenseLockdown, To: shivx.DefenseElevated, By: shivx.Guardian, At: at, Until: at.Add(10 * time.Minute)}, Number: 1}
	s.FleetMode(f)
	require.Equal(t, shivx.DefenseElevated, s.Mode().To)
	before := len(s.records())
	s.FleetMode(f)
	require.Len(t, s.records(), before)
	f.Until = at.Add(20 * time.Minute)
	s.FleetMode(f)
	s.pass(15 * time.Minute)
	require.Equal(t, shivx.DefenseElevated, s.Mode().To, "its end has moved")
	_, err := s.SetMode(t.Context(), shivx.ModeRequest{Mode: shivx.DefenseNormal, By: "ana", Why: "calm"})
	require.NoError(t, err)
	s.FleetMode(f)
	require.Equal(t, shivx.DefenseNormal, s.Mode().To, "it was calmed here after that")
}

func TestSeriousThreatsCountOverARestart(t *testing.T) {
	s := newStand(t, nil)
	for n := range 4 {
		s.fail(fmt.Sprintf("203.%d.1.1", n), 10)
	}
	s.records()
	require.NoError(t, s.ledger.Close())
	s.stop = nil // killed: nothing was saved
	s.open()
	s.fail("203.9.1.1", 10)
	require.Equal(t, shivx.DefenseElevated, s.Mode().To)
}

func TestTooWideIsRefused(t *testing.T) {
	s := newStand(t, nil)
	for _, source := range []string{"0.0.0.0/0", "::/0", "8.0.0.0/7", "2000::/3"} {
		_, err := s.Isolate(t.Context(), shivx.IsolationRequest{Source: source, By: "ana"})
		require.ErrorContains(t, err, "too wide")
	}
	at := s.now()
	s.Fleet([]shivx.Isolation{{Source: "0.0.0.0/0", Since: at, Changed: at}})
	require.False(t, s.refused("8.8.8.8"))
}
