package enforce

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestNftablesRefusesAtPacketLevelAndLetsGo(t *testing.T) {
	server, outside := link(t)
	n := newNft(t, server, true)
	ctx := context.Background()
	require.NoError(t, n.Replace(ctx, State{}))
	for _, c := range []struct{ name, server, attacker, bystander, source string }{
		{"IPv4", server4, attacker4, bystander4, attacker4},
		{"IPv6", server6, attacker6, bystander6, "fd00:213:0:a::/64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := server.echo(t, c.server)
			requireServed(t, outside, c.attacker, addr)
			old, err := outside.dial(c.attacker, addr, served)
			require.NoError(t, err)
			defer old.Close()

			require.NoError(t, n.Apply(ctx, Delta{Put: []shivx.Isolation{block(c.source, time.Hour)}}))
			requireDropped(t, outside, c.attacker, addr)
			require.Error(t, says(old, dropped), "an established connection is cut as well")
			requireServed(t, outside, c.bystander, addr)
			holds, err := n.Holds(ctx, prefixes(c.source)[0])
			require.NoError(t, err)
			require.True(t, holds)

			require.NoError(t, n.Apply(ctx, Delta{Drop: prefixes(c.source)}))
			requireServed(t, outside, c.attacker, addr)
			holds, err = n.Holds(ctx, prefixes(c.source)[0])
			require.NoError(t, err)
			require.False(t, holds)

			require.NoError(t, n.Apply(ctx, Delta{Put: []shivx.Isolation{block(c.source, 2*time.Second)}}))
			requireDropped(t, outside, c.attacker, addr)
			began := time.Now()
			requireServed(t, outside, c.attacker, addr) // the SYN is sent again until the kernel ends the block
			require.Greater(t, time.Since(began), 500*time.Millisecond)
			require.NoError(t, n.Verify(ctx), "what has ended by itself is not missing")
		})
	}
}

func TestNftablesLockdown(t *testing.T) {
	server, outside := link(t)
	n := newNft(t, server, true)
	ctx := context.Background()
	allow := prefixes(bystander4, bystander6)
	require.NoError(t, n.Replace(ctx, State{Allow: allow}))
	on, off := Lockdown{On: true}, Lockdown{}
	for _, c := range []struct{ name, server, attacker, bystander string }{
		{"IPv4", server4, attacker4, bystander4}, {"IPv6", server6, attacker6, bystander6},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, out := server.echo(t, c.server), outside.echo(t, c.attacker)
			old, err := outside.dial(c.attacker, in, served)
			require.NoError(t, err)
			defer old.Close()
			friend, err := outside.dial(c.bystander, in, served)
			require.NoError(t, err)
			defer friend.Close()

			require.NoError(t, n.Apply(ctx, Delta{Lockdown: &on}))
			requireDropped(t, outside, c.attacker, in)
			require.Error(t, says(old, dropped), "established connections of others are cut")
			server.run(t, "neigh", "flush", "dev", "v0") // the link's addresses are found anew
			outside.run(t, "neigh", "flush", "dev", "v1")
			requireServed(t, outside, c.bystander, in)
			require.NoError(t, says(friend, served), "established connections of the allow list go on")
			requireServed(t, server, c.server, out) // what this host begins itself
			requireServed(t, server, c.server, in)  // over the loopback
			holds, err := n.Holds(ctx, prefixes(c.attacker)[0])
			require.NoError(t, err)
			require.True(t, holds)
			require.NoError(t, n.Verify(ctx))

			require.NoError(t, n.Apply(ctx, Delta{Lockdown: &off}))
			requireServed(t, outside, c.attacker, in)
			require.NoError(t, n.Verify(ctx))
		})
	}
}

// A kernel that has not tracked connections before takes the first packet it sees for the beginning of
// a connection: a stranger's must not become ours because our side happens to send first.
func TestNftablesLockdownCutsWhatWasBegunBeforeTracking(t *testing.T) {
	server, outside := link(t)
	n := newNft(t, server, true)
	ctx := context.Background()
	in, out := server.listen(t, server4), outside.echo(t, attacker4)
	stranger, err := outside.dial(attacker4, in.Addr().String(), served)
	require.NoError(t, err)
	defer stranger.Close()
	ourEnd, err := in.Accept()
	require.NoError(t, err)
	defer ourEnd.Close()
	own, err := server.dial(server4, out, served)
	require.NoError(t, err)
	defer own.Close()
	require.NoError(t, says(own, served))

	require.NoError(t, n.Replace(ctx, State{Lockdown: Lockdown{On: true}}))
	_, err = ourEnd.Write([]byte("we send first\n"))
	require.NoError(t, err)
	_ = ourEnd.SetReadDeadline(time.Now().Add(served))
	_, err = ourEnd.Read(make([]byte, 1))
	require.ErrorContains(t, err, "reset")
	_, _ = stranger.Write([]byte("am I in?\n"))
	require.ErrorContains(t, says(own, served), "reset", "an own connection ends at once, not by a timeout")
	requireServed(t, server, server4, out)
}

func TestNftablesAllowOutranksAndNetworksOverlap(t *testing.T) {
	server, outside := link(t)
	n := newNft(t, server, false)
	ctx := context.Background()
	addr := server.echo(t, server4)
	require.NoError(t, n.Replace(ctx, State{
		Isolations: []shivx.Isolation{
			block("10.213.0.0/24", 0), block("10.0.0.0/8", time.Hour), block(attacker4, time.Hour),
			block(attacker4, 2*time.Hour), block("fd00:213::/32", 0), block("fd00:213::/48", 0),
			block("0.0.0.0/0", 0), block("::/0", 0), block("fd00::9/128", 0), block("255.255.255.255", 0),
		},
		Allow: prefixes(bystander4),
	}))
	requireDropped(t, outside, attacker4, addr)
	requireServed(t, outside, bystander4, addr)
	holds, err := n.Holds(ctx, prefixes(bystander4)[0])
	require.NoError(t, err)
	require.False(t, holds)
	require.NoError(t, n.Verify(ctx))
	require.Equal(t, 9, n.Entries())

	require.NoError(t, n.Apply(ctx, Delta{Drop: prefixes("0.0.0.0/0", "10.0.0.0/8", "10.213.0.0/24")}))
	requireDropped(t, outside, attacker4, addr)
	require.NoError(t, n.Apply(ctx, Delta{Drop: prefixes(attacker4, "192.0.2.1", "198.51.100.0/24")}))
	requireServed(t, outside, attacker4, addr)
	require.NoError(t, n.Verify(ctx))
}

func TestNftablesChangesTerms(t *testing.T) {
	server, _ := link(t)
	n := newNft(t, server, true)
	ctx := context.Background()
	left := func() string { return server.program(t, "", "nft", "list", "set", "inet", "shivxtest", "block4_32") }
	put := func(term time.Duration) {
		t.Helper()
		require.NoError(t, n.Apply(ctx, Delta{Put: []shivx.Isolation{block("192.0.2.7", time.Minute), block("192.0.2.7", term)}}))
	}
	put(10 * time.Minute)
	require.Contains(t, left(), "expires 9m59s")
	put(3 * time.Hour)
	require.Contains(t, left(), "expires 2h59m59s")
	put(time.Minute)
	require.Contains(t, left(), "expires 59s")
	put(0)
	require.NotContains(t, left(), "expires")
	require.NoError(t, n.Verify(ctx))
	put(-time.Minute) // over already
	require.NotContains(t, left(), "192.0.2.7")
	require.NoError(t, n.Verify(ctx))
}

func TestNftablesIsMadeLazilyAndRemoved(t *testing.T) {
	server, _ := link(t)
	ctx := context.Background()
	tables := func() string { return server.program(t, "", "nft", "list", "tables") }
	n := newNft(t, server, true)
	require.NoError(t, n.Replace(ctx, State{Allow: prefixes("192.0.2.1")}))
	require.NoError(t, n.Apply(ctx, Delta{Drop: prefixes("192.0.2.7")}))
	require.NoError(t, n.Verify(ctx))
	require.Empty(t, tables())
	require.NoError(t, n.Apply(ctx, Delta{Put: []shivx.Isolation{block("192.0.2.7", 0)}}))
	require.Contains(t, tables(), "inet shivxtest")

	// A later run finds the table, and makes its own state of it.
	later := newNft(t, server, true)
	require.NoError(t, later.Replace(ctx, State{Isolations: []shivx.Isolation{block("192.0.2.8", 0)}}))
	list := server.program(t, "", "nft", "list", "table", "inet", "shivxtest")
	require.Contains(t, list, "192.0.2.8")
	require.NotContains(t, list, "192.0.2.7")
	require.NoError(t, later.Replace(ctx, State{}), "nothing to enforce any more")
	require.Empty(t, tables())
	require.NoError(t, later.Remove(ctx), "what is not there is no error")

	eager := newNft(t, server, false)
	require.NoError(t, eager.Replace(ctx, State{}))
	require.Contains(t, tables(), "inet shivxtest")
}

func TestNftablesFindsDamageAndRepairsIt(t *testing.T) {
	server, outside := link(t)
	n := newNft(t, server, true)
	ctx := context.Background()
	addr := server.echo(t, server4)
	s := State{Isolations: []shivx.Isolation{block(attacker4, time.Hour), block("192.0.2.0/24", 0)}}
	for name, script := range map[string]string{
		"flush ruleset":   "flush ruleset",
		"flush table":     "flush table inet shivxtest",
		"delete element":  "delete element inet shivxtest block4_32 { " + attacker4 + " }",
		"foreign element": "add element inet shivxtest block4_32 { 198.51.100.9 }",
		"foreign allow":   "add element inet shivxtest allow4_8 { 10.0.0.0 }",
		"foreign rule":    "insert rule inet shivxtest block accept",
		"dormant":         "add table inet shivxtest { flags dormant; }",
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, n.Replace(ctx, s))
			require.NoError(t, n.Verify(ctx))
			server.program(t, "table ip other { }\n", "nft", "-f", "-")
			require.NoError(t, n.Verify(ctx), "what others do to their own tables is no damage")
			server.program(t, script, "nft", "-f", "-")
			err := n.Verify(ctx)
			require.ErrorContains(t, err, "somebody else")
			require.NotEmpty(t, shivx.HintOf(err), "it says what to do")
			require.NoError(t, n.Replace(ctx, s))
			require.NoError(t, n.Verify(ctx))
			requireDropped(t, outside, attacker4, addr)
		})
	}
	require.NoError(t, n.Replace(ctx, s))
	require.NoError(t, n.Verify(ctx))
	require.NoError(t, n.Apply(ctx, put("192.0.2.9")))
	require.NotZero(t, n.verified, "changes of our own need no comparison")
	require.NoError(t, n.Verify(ctx))
	server.program(t, "delete element inet shivxtest block4_32 { 192.0.2.9 }", "nft", "-f", "-")
	require.NoError(t, n.Apply(ctx, put("192.0.2.10")))
	require.ErrorContains(t, n.Verify(ctx), "1 sources are missing", "found although we have changed something since")

	server.program(t, "flush ruleset", "nft", "-f", "-")
	_, err := n.Holds(ctx, prefixes(attacker4)[0])
	require.ErrorContains(t, err, "gone")
	require.Error(t, n.Apply(ctx, Delta{Put: []shivx.Isolation{block("192.0.2.9", 0)}}))
}
