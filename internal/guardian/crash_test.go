package guardian

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/integrity"
)

// killed ends the guardian without a word, when only the first of the records that wait was written, and
// starts it anew.
func (s *stand) killed(first func()) {
	s.t.Helper()
	s.records()
	r := &s.Guardian.records
	r.writing.Lock()
	first()
	r.mu.Lock()
	require.NotEmpty(s.t, r.waiting)
	r.waiting = r.waiting[:1]
	r.mu.Unlock()
	r.writing.Unlock()
	s.records()
	require.NoError(s.t, s.ledger.Close())
	s.stop = nil
	s.open()
}

func TestALockdownAfterTamperingOutlivesACrashBetweenItsRecords(t *testing.T) {
	s := newStand(t, func(g *config.Guardian) { g.Allow = []string{"198.51.100.7"} })
	f := integrity.Finding{Path: "/opt/shop/bin", Kind: integrity.KindContent, ExpectedHash: "a", CurrentHash: "b", At: s.now()}
	s.killed(func() { s.tampered(t.Context(), f) })
	s.tampered(t.Context(), f) // found anew at the start
	require.Equal(t, shivx.DefenseLockdown, s.Mode().To)
	require.True(t, s.set.Lockdown().On)
}

func TestAnEndOfTheLockdownAndOfElevatedAreTwoRecords(t *testing.T) {
	s := newStand(t, nil)
	s.attack(1)
	_, err := s.SetMode(t.Context(), shivx.ModeRequest{Mode: shivx.DefenseLockdown, By: "ana", Why: "intruder"})
	require.NoError(t, err)
	_, err = s.SetMode(t.Context(), shivx.ModeRequest{Mode: shivx.DefenseNormal, By: "ana", Why: "over"})
	require.NoError(t, err)
	all := s.actions()
	require.Contains(t, all, shivx.ActionLockdownEnded)
	require.Contains(t, all, shivx.ActionCalmed)
	require.NoError(t, s.ledger.Close())
	s.stop = nil // killed: nothing was saved
	s.open()
	require.Equal(t, shivx.DefenseNormal, s.Mode().To)
}

func TestWhoWasLetGoIsNotBroughtBackByWhatTheFleetSaidBefore(t *testing.T) {
	s := newStand(t, nil)
	const who = "203.0.113.7"
	at := s.now()
	old := shivx.Isolation{Source: who, Since: at, Changed: at, Until: at.Add(24 * time.Hour), By: shivx.Guardian, Host: "h2"}
	s.Fleet([]shivx.Isolation{old})
	require.True(t, s.refused(who))
	s.pass(time.Minute)
	_, err := s.Restore(t.Context(), who, "ana", "our own monitoring") // while Temporal is away
	require.NoError(t, err)
	for range 6 {
		_, err = s.Isolate(t.Context(), shivx.IsolationRequest{Source: "203.0.113.8", For: shivx.Duration(30 * time.Minute), By: "ana"})
		require.NoError(t, err)
		s.pass(31 * time.Minute)
	}
	s.Fleet([]shivx.Isolation{old}) // it has not heard of it yet
	require.False(t, s.refused(who))

	s.pass(26 * time.Hour)
	_, err = s.Isolate(t.Context(), shivx.IsolationRequest{Source: "203.0.113.8", For: shivx.Duration(time.Minute), By: "ana"})
	require.NoError(t, err)
	s.pass(2 * time.Minute)
	s.Guardian.mu.Lock()
	defer s.Guardian.mu.Unlock()
	require.NotContains(t, s.state.Isolations, mustSource(t, who), "it is forgotten when it decides nothing any more")
}

// TestARestoreByAClockThatIsAheadIsOfWhatWasBefore: hosts that saw the restore speak after it, also those
// that had nothing to restore.
func TestARestoreByAClockThatIsAheadIsOfWhatWasBefore(t *testing.T) {
	s := newStand(t, func(g *config.Guardian) { g.Allow = []string{"198.51.100.7"} })
	ahead := s.now().Add(5 * time.Minute)
	restored := shivx.FleetMode{ModeChange: shivx.ModeChange{To: shivx.DefenseNormal, By: "ben", At: ahead}, Number: 2, RestoredAt: ahead}
	const who = "203.0.113.7"
	lifted := []shivx.Isolation{{Source: who, Since: s.now(), Until: ahead.Add(time.Hour), Changed: ahead, Lifted: true, By: "ben"}}
	s.FleetMode(restored)
	s.Fleet(lifted)
	s.tampered(t.Context(), integrity.Finding{Path: "/opt/shop/bin", Kind: integrity.KindContent, At: s.now()})
	s.fail(who, 10)
	require.True(t, s.set.Lockdown().On)
	_, held := s.Isolation(mustSource(t, who))
	require.True(t, held)
	s.FleetMode(restored)
	s.Fleet(lifted)
	require.True(t, s.set.Lockdown().On, "it began after the restore")
	_, held = s.Isolation(mustSource(t, who))
	require.True(t, held, "it began after the restore")
}

func mustSource(t *testing.T, s string) netip.Prefix {
	t.Helper()
	p, err := shivx.ParseSource(s)
	require.NoError(t, err)
	return p
}

// TestWhatIsTamperedWithAgainLocksDownAgain: what is open is known, and something else is not.
func TestWhatIsTamperedWithAgainLocksDownAgain(t *testing.T) {
	allow := func(g *config.Guardian) { g.Allow = []string{"198.51.100.7"} }
	locked := func(s *stand) func() bool { return func() bool { return s.Mode().To == shivx.DefenseLockdown } }
	calm := func(s *stand) {
		_, err := s.SetMode(s.t.Context(), shivx.ModeRequest{Mode: shivx.DefenseNormal, By: "ana", Why: "looked at it"})
		require.NoError(s.t, err)
	}
	t.Run("in another way", func(t *testing.T) {
		s, file := watched(t, allow)
		verified(s)
		require.NoError(t, os.Chmod(file, 0o775))
		require.Eventually(t, locked(s), 10*time.Second, time.Millisecond)
		calm(s)
		require.NoError(t, os.Chmod(file, 0o755|os.ModeSetuid))
		require.Eventually(t, locked(s), 10*time.Second, time.Millisecond, "a program that runs as root is no open finding")
	})
	t.Run("in the same way, after it was put back while the agent was away", func(t *testing.T) {
		s, file := watched(t, allow)
		verified(s)
		require.NoError(t, os.WriteFile(file, []byte("two"), 0o755))
		require.Eventually(t, locked(s), 10*time.Second, time.Millisecond)
		calm(s)
		s.close()
		require.NoError(t, os.WriteFile(file, []byte("one"), 0o755))
		s.open()
		verified(s)
		require.Eventually(t, func() bool { s.Guardian.mu.Lock(); defer s.Guardian.mu.Unlock(); return s.unseen == nil }, 10*time.Second, time.Millisecond)
		require.NoError(t, os.WriteFile(file, []byte("two"), 0o755))
		require.Eventually(t, locked(s), 10*time.Second, time.Millisecond)
	})
	t.Run("what is open at a start is known", func(t *testing.T) {
		s, file := watched(t, allow)
		verified(s)
		require.NoError(t, os.WriteFile(file, []byte("two"), 0o755))
		require.Eventually(t, locked(s), 10*time.Second, time.Millisecond)
		calm(s)
		s.reopen()
		verified(s)
		require.Equal(t, shivx.DefenseNormal, s.Mode().To)
	})
}

// verified waits until all watched files were looked at since the start.
func verified(s *stand) {
	require.Eventually(s.t, func() bool { return !s.Integrity().Status().Last.At.IsZero() }, 10*time.Second, time.Millisecond)
}

func TestALockdownDoesNotChangeTheTermOfWhoIsIsolated(t *testing.T) {
	s := newStand(t, nil)
	const who = "203.0.113.7"
	_, err := s.Isolate(t.Context(), shivx.IsolationRequest{Source: who, Indefinite: true, By: "ana", Why: "for good"})
	require.NoError(t, err)
	_, err = s.SetMode(t.Context(), shivx.ModeRequest{Mode: shivx.DefenseLockdown, By: "ana", Why: "intruder"})
	require.NoError(t, err)
	s.pass(time.Minute)
	s.fail(who, 20) // what a proxy's log still has of it
	i, held := s.Isolation(mustSource(t, who))
	require.True(t, held)
	require.Zero(t, i.Until)
	require.Equal(t, "ana", i.By)
}

func TestOffencesCountAnewAfterTheyWereForgotten(t *testing.T) {
	s := newStand(t, nil)
	const who = "203.0.113.7"
	offence := func() int {
		s.fail(who, 10)
		i, held := s.Isolation(mustSource(t, who))
		require.True(t, held)
		s.pass(7 * 24 * time.Hour)
		return i.Offence
	}
	require.Equal(t, 1, offence())
	require.Equal(t, 2, offence())
	require.Equal(t, 3, offence())
	s.pass(31 * 24 * time.Hour) // and nobody's term has ended meanwhile
	s.fail(who, 10)
	s.pass(11 * time.Minute)
	s.fail(who, 10)
	i, _ := s.Isolation(mustSource(t, who))
	require.Equal(t, 2, i.Offence)
}

// TestALockdownThatOthersKeepIsFollowedAfterTheRollBack: the fleet speaks a microsecond after the newest of those
// that have locked down (workflows.joinClaims).
func TestALockdownThatOthersKeepIsFollowedAfterTheRollBack(t *testing.T) {
	s := newStand(t, nil)
	c, err := s.SetMode(t.Context(), shivx.ModeRequest{Mode: shivx.DefenseLockdown, By: "ana", Why: "intruder", ConfirmWithin: shivx.Duration(time.Minute)})
	require.NoError(t, err)
	s.pass(61 * time.Second) // this host heard of nobody
	require.False(t, s.set.Lockdown().On)
	s.FleetMode(shivx.FleetMode{ModeChange: shivx.ModeChange{To: shivx.DefenseLockdown, By: "ben", Reason: "here, too", Host: "h2", At: c.At.Add(time.Microsecond)}, Number: 2})
	require.True(t, s.set.Lockdown().On)
}
