package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// restoreLimit is how long a whole restore may take, on any machine that runs these tests.
const restoreLimit = 90 * time.Second

// TestGolden backs up a shop of four services under write load, destroys it, and brings it back by one
// command; also when the new state is sick, the store is damaged, or all else is down.
func TestGolden(t *testing.T) {
	began := time.Now()
	s := openShop(t)
	t.Logf("the shop opens after %s", time.Since(began).Round(time.Millisecond))
	for _, part := range []struct {
		name string
		play func(*testing.T)
	}{
		{"restored", s.restored}, {"undone", s.undone}, {"refused", s.refused}, {"alone", s.alone}, {"back", s.back},
	} {
		at := time.Now()
		part.play(t)
		t.Logf("== %s took %s", part.name, time.Since(at).Round(time.Millisecond))
	}
	s.VerifyLedger()
}

// restored: everything is damaged; one command, approved, brings it all back.
func (s *shop) restored(t *testing.T) {
	stock := s.stock(t)
	before, after := s.underLoad(t, "backup", "shop")
	s.requireSteps(t, shivx.GoldenBackup, shivx.OutcomeStored, shivx.GoldenStepTake, shivx.GoldenStepPrune)
	s.wreck(t)

	at := time.Now()
	out := s.restoreApproved(t, 0, "shop")
	took := time.Since(at)
	t.Logf("restored in %s:\n%s", took.Round(time.Millisecond), out)
	require.Less(t, took, restoreLimit)
	s.requireSteps(t, shivx.GoldenRestore, shivx.OutcomeRestored, wholeRestore...)
	s.awaitHealthy()
	require.Equal(t, stock, s.stock(t))
	s.requireOrders(t, before, after)
	require.FileExists(t, filepath.Join(s.elsewhere(), "static", "shell.php"), "what a link led to is not the shop's")
	for _, r := range s.Records() {
		require.NotEqual(t, shivx.EventRecovery, r.EventType, "a service was healed that was stopped on purpose: %+v", r)
	}
	require.NoError(t, os.RemoveAll(s.elsewhere()))
	s.requireClean(t)
}

// undone: what is restored does not pass the health checks; the old state is put back.
func (s *shop) undone(t *testing.T) {
	s.sign(t, "closed")
	s.golden(t, 0, "backup", "shop", "--name", "closed")
	s.sign(t, "open")
	s.takeOrders(t)
	s.pauseOrders(t)
	acked, stock := s.acked(), s.stock(t)

	out := s.restoreApproved(t, exitNotHealed, "shop/closed")
	t.Logf("undone:\n%s", out)
	require.Contains(t, out, "the old state is back; its services run and are healthy")
	s.requireSteps(t, shivx.GoldenRestore, shivx.OutcomeUndone, shivx.GoldenStepSwap, shivx.GoldenStepCheck, shivx.GoldenStepUndo)
	s.awaitHealthy()
	require.Equal(t, stock, s.stock(t))
	s.requireOrders(t, acked, acked)
	s.requireClean(t)
}

// refused: the store is damaged. Services never stop, and go on taking orders.
func (s *shop) refused(t *testing.T) {
	s.takeOrders(t)
	pids := s.pids()
	mend := s.spoil(t)
	for _, how := range [][]string{nil, {"--local", "--yes", "--beside-agent"}} {
		out := s.golden(t, exitTampered, append([]string{"restore", "shop"}, how...)...)
		t.Logf("refused:\n%s", out)
		require.Contains(t, out, "damaged")
	}
	mend()
	s.golden(t, 0, "verify", "shop")
	s.pauseOrders(t)
	require.Equal(t, pids, s.pids())
	s.requireOrders(t, s.acked(), s.acked())
	s.requireClean(t)
}

// alone: Temporal and the agent are stopped, and every service is killed and razed.
func (s *shop) alone(t *testing.T) {
	s.server.Stop()
	s.Stop()
	stock := s.stock(t)
	before, after := s.underLoad(t, "backup", "shop", "--local")
	s.requireSteps(t, shivx.GoldenBackup, shivx.OutcomeStored, shivx.GoldenStepTake, shivx.GoldenStepPrune)
	s.raze(t)

	at := time.Now()
	out := s.golden(t, 0, "restore", "shop", "--local", "--yes")
	took := time.Since(at)
	t.Logf("restored in %s:\n%s", took.Round(time.Millisecond), out)
	require.Less(t, took, restoreLimit)
	s.requireSteps(t, shivx.GoldenRestore, shivx.OutcomeRestored, wholeRestore...)
	require.Equal(t, stock, s.stock(t))
	s.requireOrders(t, before, after)
	require.NoError(t, os.RemoveAll(s.elsewhere()))
	s.requireClean(t)
}

// back: the agent starts again, takes the services as they are, and records what it was told of a local
// restore while it had the ledger for itself.
func (s *shop) back(t *testing.T) {
	pids := s.pids()
	s.server.Start()
	s.server.Await()
	s.Start()
	s.awaitHealthy()
	s.AwaitRecord(patience, "the refused local restore", func(r shivx.RecoveryRecord) bool {
		return r.EventType == shivx.EventGolden && strings.HasPrefix(r.Run, "local ") && r.Outcome == shivx.OutcomeDamaged
	})
	require.Equal(t, pids, s.pids())
}
