package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
)

// temporalAway: the server is killed, services die meanwhile. What was found waits in the ledger
// and is healed once, when the server is back; also by an agent that was started without it.
func temporalAway(t *testing.T, _ *stand.Server) {
	server := stand.NewServer(t)
	first := newDemo(t)
	a := play(t, server, "away-1", first.component("shop"))

	server.Kill()
	before := first.pid()
	killed := first.kill()
	a.AwaitRecord(patience, "the fault in the ledger", func(r shivx.RecoveryRecord) bool { return r.EventType == shivx.EventFault })

	second := newDemo(t)
	b := agentOf(t, server, "away-2", "e2e-away-2", second.component("shop"))
	b.awaitHealthy() // it senses without a server
	secondBefore := second.pid()
	secondKilled := second.kill()
	fault := b.AwaitRecord(patience, "the fault in the second ledger", func(r shivx.RecoveryRecord) bool { return r.EventType == shivx.EventFault })
	t.Logf("found without a server after %s", fault.Timestamp.Sub(secondKilled))
	require.False(t, first.alive() || second.alive(), "somebody healed without a server")

	server.Start()
	server.Await()
	back := time.Now()
	for _, r := range []shivx.RecoveryRecord{
		a.healed("shop", 1, killed, "restart", shivx.RecoverProcess),
		b.healed("shop", 1, secondKilled, "restart", shivx.RecoverProcess),
	} {
		t.Logf("server back → recovery record %s", r.Timestamp.Sub(back).Round(time.Millisecond))
		require.Less(t, r.Timestamp.Sub(back), 30*time.Second)
	}
	first.works(before)
	second.works(secondBefore)
	for _, s := range []*scene{a, b} {
		s.awaitQuiet("shop")
		require.Len(t, s.runs("shop"), 1)
		require.Len(t, s.events(shivx.EventFault, "shop"), 1)
	}
}
