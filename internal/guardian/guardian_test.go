package guardian

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/guardian/logs"
	"github.com/shivx/shivx/internal/ledger"
)

// keeper is an enforcer that remembers.
type keeper struct {
	mu       sync.Mutex
	held     map[string]bool
	lockdown enforce.Lockdown
	replaced int
}

func (k *keeper) Name() string { return "keeper" }

func (k *keeper) Replace(_ context.Context, s enforce.State) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held, k.lockdown = map[string]bool{}, s.Lockdown
	k.replaced++
	for _, i := range s.Isolations {
		k.held[i.Source] = true
	}
	return nil
}

func (k *keeper) Apply(_ context.Context, d enforce.Delta) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, i := range d.Put {
		k.held[i.Source] = true
	}
	for _, p := range d.Drop {
		delete(k.held, shivx.SourceString(p))
	}
	if d.Lockdown != nil {
		k.lockdown = *d.Lockdown
	}
	return nil
}

// locked says whether that is the lockdown that it was told of.
func (k *keeper) locked(l enforce.Lockdown) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lockdown.Equal(l)
}

func (k *keeper) has(source string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held[source]
}

// stand is a guardian on files of its own with a clock that the test moves.
type stand struct {
	*Guardian
	t      *testing.T
	dir    string
	rules  config.Guardian
	ledger *ledger.Ledger
	keeper *keeper

	mu    sync.Mutex
	clock time.Time
	said  []string
	stop  func()
}

func (s *stand) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

// pass moves the clock and ends what is over.
func (s *stand) pass(d time.Duration) {
	s.mu.Lock()
	s.clock = s.clock.Add(d)
	s.mu.Unlock()
	s.tick()
}

func newStand(t *testing.T, edit func(*config.Guardian)) *stand {
	s := &stand{t: t, dir: t.TempDir(), rules: config.Default().Guardian, clock: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	s.rules.Rules.MaxSources = 10_000
	if edit != nil {
		edit(&s.rules)
	}
	s.open()
	t.Cleanup(s.close)
	return s
}

func (s *stand) open() {
	var err error
	path := filepath.Join(s.dir, "guardian_audit.ndjson")
	s.ledger, err = ledger.Open(path, ledger.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(s.t, err)
	s.keeper = &keeper{}
	s.Guardian, err = New(Options{
		Host: "h1", Rules: s.rules, Ledger: s.ledger, LedgerPath: path, Dir: s.dir,
		Enforcers: []enforce.Enforcer{s.keeper}, Logger: slog.New(slog.DiscardHandler), Now: s.now,
		Tell: func(message, _ string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.said = append(s.said, message)
		},
	})
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.stop = func() {
		cancel()
		require.NoError(s.t, <-done)
		require.NoError(s.t, s.ledger.Close())
	}
}

func (s *stand) close() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

func (s *stand) reopen() {
	s.close()
	s.open()
}

// records waits until everything is recorded and returns it.
func (s *stand) records() (out []Statement) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.Guardian.records.left() == 0 }, 10*time.Second, time.Millisecond)
	require.NoError(s.t, ledger.Read(s.o.LedgerPath, 1, func(r ledger.Record) error {
		st, err := Decode(r)
		if st.Threat != nil || st.Isolation != nil || st.Mode != nil {
			out = append(out, st)
		}
		return err
	}))
	return out
}

func (s *stand) actions() (out []shivx.Action) {
	for _, st := range s.records() {
		out = append(out, st.ActionTaken)
	}
	return out
}

// fail reports n failed logins of a source, a second apart and up to now.
func (s *stand) fail(source string, n int) {
	var events []Reported
	for i := range n {
		events = append(events, Reported{
			Source: netip.MustParseAddr(source), Kind: logs.Failure, User: "root", At: s.now().Add(time.Duration(i-n+1) * time.Second)})
	}
	s.Report(events)
}

func (s *stand) refused(source string) bool { return s.Check(netip.MustParseAddr(source)).Refused }

func TestAnAttackerIsIsolatedForItsTerm(t *testing.T) {
	s := newStand(t, nil)
	s.fail("203.0.113.7", 9)
	require.False(t, s.refused("203.0.113.7"), "a warning isolates nobody")
	s.fail("203.0.113.7", 1)
	require.True(t, s.refused("203.0.113.7"))
	require.False(t, s.refused("203.0.113.8"))
	require.Eventually(t, func() bool { return s.keeper.has("203.0.113.7") }, 5*time.Second, time.Millisecond)

	s.pass(10*time.Minute - time.Second)
	require.True(t, s.refused("203.0.113.7"))
	s.pass(2 * time.Second)
	require.False(t, s.refused("203.0.113.7"))
	require.Eventually(t, func() bool { return !s.keeper.has("203.0.113.7") }, 5*time.Second, time.Millisecond)
	require.Equal(t, []shivx.Action{shivx.ActionNone, shivx.ActionIsolated, shivx.ActionExpired}, s.actions())

	s.fail("203.0.113.7", 10)
	i, held := s.Isolation(netip.MustParsePrefix("203.0.113.7/32"))
	require.True(t, held)
	require.Equal(t, 2, i.Offence)
	require.Equal(t, time.Hour, i.Until.Sub(i.Since), "the term grows")
}

func TestAllowOutranksAll(t *testing.T) {
	s := newStand(t, nil)
	s.fail("203.0.113.7", 10)
	s.fail("2001:db8::1", 10)
	require.True(t, s.refused("2001:db8::abcd"), "an IPv6 source is its /64")
	s.rules.Allow = []string{"203.0.113.0/24", "2001:db8::/32"}
	s.reopen()
	require.False(t, s.refused("203.0.113.7"), "the allow list lifts what stands")
	require.False(t, s.refused("2001:db8::1"))
	s.fail("203.0.113.7", 30)
	require.False(t, s.refused("203.0.113.7"))
	all := s.actions()
	require.Equal(t, shivx.ActionSpared, all[len(all)-1])
	_, err := s.Isolate(t.Context(), shivx.IsolationRequest{Source: "203.0.113.9", By: "ana"})
	require.ErrorIs(t, err, ErrAllowed)
	require.False(t, s.refused("127.0.0.1"))
}

func TestByHand(t *testing.T) {
	s := newStand(t, nil)
	ctx := t.Context()
	_, err := s.Restore(ctx, "203.0.113.7", "ana", "")
	require.ErrorIs(t, err, ErrNotIsolated)
	i, err := s.Isolate(ctx, shivx.IsolationRequest{Source: "203.0.113.0/24", For: shivx.Duration(time.Hour), By: "ana", Why: "test"})
	require.NoError(t, err)
	require.Equal(t, "ana", i.By)
	require.True(t, s.refused("203.0.113.200"))
	i, err = s.Extend(ctx, shivx.IsolationRequest{Source: "203.0.113.0/24", Indefinite: true, By: "ben"})
	require.NoError(t, err)
	require.True(t, i.Until.IsZero())
	s.pass(100 * 24 * time.Hour)
	require.True(t, s.refused("203.0.113.200"))
	s.reopen()
	require.True(t, s.refused("203.0.113.200"), "also after a restart")
	i, err = s.Restore(ctx, "203.0.113.0/24", "cleo", "enough")
	require.NoError(t, err)
	require.True(t, i.Lifted)
	require.False(t, s.refused("203.0.113.200"))
	require.Equal(t, []shivx.Action{shivx.ActionIsolatedByHand, shivx.ActionExtended, shivx.ActionRestored}, s.actions())
}

func TestARestoredSourceStartsAfresh(t *testing.T) {
	s := newStand(t, nil)
	s.fail("203.0.113.7", 10)
	_, err := s.Restore(t.Context(), "203.0.113.7", "ana", "")
	require.NoError(t, err)
	s.pass(time.Second)
	s.fail("203.0.113.7", 4)
	require.False(t, s.refused("203.0.113.7"))
	s.fail("203.0.113.7", 6)
	require.True(t, s.refused("203.0.113.7"))
}

func TestOldEventsIsolateNobody(t *testing.T) {
	s := newStand(t, nil)
	var events []Reported
	for i := range 12 {
		events = append(events, Reported{Source: netip.MustParseAddr("203.0.113.7"), Kind: logs.Failure, At: s.now().Add(time.Duration(i)*time.Second - time.Hour)})
	}
	s.Report(events)
	require.False(t, s.refused("203.0.113.7"))
	all := s.actions()
	require.Equal(t, shivx.ActionStale, all[len(all)-1])
}

func TestSeriousThreatsTightenTheThresholds(t *testing.T) {
	s := newStand(t, nil)
	for n := range 5 {
		require.Equal(t, shivx.DefenseNormal, s.Mode().To)
		s.fail(fmt.Sprintf("203.0.113.%d", n*20+1), 10)
	}
	require.Equal(t, shivx.DefenseElevated, s.Mode().To)
	s.fail("198.51.100.1", 5)
	require.True(t, s.refused("198.51.100.1"), "half of the failures are enough")
	s.pass(11 * time.Minute)
	require.Equal(t, shivx.DefenseNormal, s.Mode().To)
	s.fail("198.51.100.2", 5)
	require.False(t, s.refused("198.51.100.2"))
}

func TestALockdownRollsBackUnlessConfirmed(t *testing.T) {
	s := newStand(t, func(g *config.Guardian) { g.Allow = []string{"198.51.100.7"} })
	ctx := t.Context()
	in := shivx.ModeRequest{Mode: shivx.DefenseLockdown, By: "ana", Why: "intruder", ConfirmWithin: shivx.Duration(time.Minute)}
	_, err := s.SetMode(ctx, in)
	require.NoError(t, err)
	require.True(t, s.refused("203.0.113.7"))
	require.False(t, s.refused("198.51.100.7"))
	told := func(want enforce.Lockdown) {
		t.Helper()
		require.Eventually(t, func() bool { return s.keeper.locked(want) }, 5*time.Second, time.Millisecond)
		require.True(t, s.enforced().Lockdown.Equal(want), "also when everything is given anew")
	}
	told(enforce.Lockdown{On: true, Until: s.now().Add(time.Minute)}) // so that it ends without the agent
	s.pass(61 * time.Second)
	told(enforce.Lockdown{})
	require.Equal(t, shivx.DefenseNormal, s.Mode().To)
	require.False(t, s.refused("203.0.113.7"))

	_, err = s.SetMode(ctx, in)
	require.NoError(t, err)
	_, err = s.Confirm(ctx, "ana")
	require.NoError(t, err)
	told(enforce.Lockdown{On: true})
	s.pass(time.Hour)
	require.True(t, s.refused("203.0.113.7"))
	s.reopen()
	told(enforce.Lockdown{On: true})
	require.True(t, s.refused("203.0.113.7"), "also after a restart")
	_, err = s.SetMode(ctx, shivx.ModeRequest{Mode: shivx.DefenseNormal, By: "ana", Why: "over"})
	require.NoError(t, err)
	require.False(t, s.refused("203.0.113.7"))
	_, err = s.Confirm(ctx, "ana")
	require.ErrorIs(t, err, ErrNoLockdown)
}

func TestTheFleet(t *testing.T) {
	s := newStand(t, nil)
	at := s.now().UTC()
	i := shivx.Isolation{Source: "203.0.113.7", Since: at, Until: at.Add(time.Hour), Host: "h2", By: shivx.Guardian, Changed: at}
	s.Fleet([]shivx.Isolation{i, i})
	require.True(t, s.refused("203.0.113.7"))
	lifted := i
	lifted.Lifted, lifted.Changed = true, at.Add(time.Minute)
	s.Fleet([]shivx.Isolation{lifted, i})
	require.False(t, s.refused("203.0.113.7"), "the later statement holds")
	s.Fleet(nil)
	require.Equal(t, []shivx.Action{shivx.ActionFollowed, shivx.ActionFollowed}, s.actions())

	s.fail("198.51.100.1", 10)
	s.Fleet(nil)
	require.True(t, s.refused("198.51.100.1"), "what the fleet does not mention stays")

	s.FleetMode(shivx.FleetMode{ModeChange: shivx.ModeChange{From: shivx.DefenseNormal, To: shivx.DefenseLockdown, By: "ana", At: at}, Number: 1})
	require.True(t, s.refused("192.0.2.1"))
	s.FleetMode(shivx.FleetMode{ModeChange: shivx.ModeChange{From: shivx.DefenseLockdown, To: shivx.DefenseNormal, By: "ana", At: at.Add(time.Minute)}, Number: 2, RestoredAt: at.Add(time.Minute)})
	require.False(t, s.refused("192.0.2.1"))
}

func TestALeakIsTold(t *testing.T) {
	s := newStand(t, nil)
	s.fail("203.0.113.7", 10)
	s.pass(time.Minute)
	s.fail("203.0.113.7", 3)
	all := s.records()
	last := all[len(all)-1]
	require.Equal(t, shivx.ThreatIneffective, last.Threat.Type)
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.said) == 1 }, 5*time.Second, time.Millisecond)
}

// TestACrashLosesNothing stops a guardian without a last word at any line, and goes on from its files.
func TestACrashLosesNothing(t *testing.T) {
	line := func(n, source int) string {
		return fmt.Sprintf("2026-11-23T07:59:%02d.000000+00:00 web1 sshd[%d]: Failed password for root from 203.0.113.%d port 4711 ssh2\n", n%60, 1000+source, source)
	}
	for _, crash := range []int{1, 5, 9, 10, 11, 15} {
		t.Run(fmt.Sprint(crash), func(t *testing.T) {
			var path string
			s := newStand(t, func(g *config.Guardian) {
				path = filepath.Join(t.TempDir(), "auth.log")
				require.NoError(t, os.WriteFile(path, nil, 0o600))
				g.Logs = []config.Log{{Name: "ssh", File: path, Format: "sshd", FromStart: true}}
			})
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			defer f.Close()
			read := func(n uint64) {
				require.Eventually(t, func() bool { return s.Status().Logs[0].Lines >= n }, 10*time.Second, time.Millisecond)
			}
			for n := range crash {
				_, err := f.WriteString(line(n, 7))
				require.NoError(t, err)
			}
			read(uint64(crash))
			s.records()
			require.NoError(t, s.saveCheckpoint(t.Context()))
			before, err := os.ReadFile(s.checkpointPath())
			require.NoError(t, err)
			for n := crash; n < 16; n++ {
				_, err := f.WriteString(line(n, 7))
				require.NoError(t, err)
			}
			read(16)
			s.records()
			s.close()
			require.NoError(t, os.WriteFile(s.checkpointPath(), before, 0o600), "the last checkpoint was not saved")
			require.NoError(t, os.Remove(s.statePath()))
			s.open()
			read(uint64(16 - crash))
			require.True(t, s.refused("203.0.113.7"))
			isolated := 0
			for _, st := range s.records() {
				if st.ActionTaken == shivx.ActionIsolated {
					isolated++
				}
			}
			require.Equal(t, 1, isolated, "the same lines give the same decision, once")
		})
	}
}
