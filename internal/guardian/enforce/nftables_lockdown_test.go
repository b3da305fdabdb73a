package enforce

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Nobody is there to end the lockdown: the enforcer is closed as soon as it stands.
func TestNftablesLockdownEndsWithoutAnAgent(t *testing.T) {
	for _, c := range []struct{ name, server, stranger, friend string }{
		{"IPv4", server4, attacker4, bystander4}, {"IPv6", server6, attacker6, bystander6},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, outside := link(t)
			in, out := server.echo(t, c.server), outside.echo(t, c.stranger)
			n := newNft(t, server, true)
			until := time.Now().Add(3 * time.Second)
			require.NoError(t, n.Replace(t.Context(), State{Allow: prefixes(c.friend), Lockdown: Lockdown{On: true, Until: until}}))
			require.NoError(t, n.Close())

			requireDropped(t, outside, c.stranger, in)
			requireServed(t, outside, c.friend, in) // the allow list
			requireServed(t, server, c.server, out) // replies to what this host begins
			requireServed(t, server, c.server, in)  // the loopback
			requireDropped(t, outside, c.stranger, in)
			require.Less(t, time.Now(), until, "all that was within the lockdown")

			requireServed(t, outside, c.stranger, in) // the SYN is sent again until the kernel ends the lockdown
			require.Greater(t, time.Now(), until, "not before its end")
			requireServed(t, outside, c.friend, in)
			requireServed(t, server, c.server, out)
		})
	}
}

func TestNftablesLockdownStaysOnceConfirmed(t *testing.T) {
	server, outside := link(t)
	n := newNft(t, server, true)
	ctx := context.Background()
	in := server.echo(t, server4)
	until := time.Now().Add(time.Second)
	require.NoError(t, n.Apply(ctx, Delta{Lockdown: &Lockdown{On: true, Until: until}}))
	rules := n.rules
	require.NoError(t, n.Apply(ctx, Delta{Lockdown: &Lockdown{On: true}}))
	require.Equal(t, rules, n.rules, "no chain is made anew")
	for time.Now().Before(until.Add(time.Second)) {
		requireDropped(t, outside, attacker4, in)
	}
	require.NotContains(t, lockedList(t, server), "expires")
	require.NoError(t, n.Verify(ctx))

	// And the other way: what had no end gets one, which is then changed.
	for _, term := range []time.Duration{time.Hour, 3 * time.Hour, time.Minute} {
		require.NoError(t, n.Apply(ctx, Delta{Lockdown: &Lockdown{On: true, Until: time.Now().Add(term)}}))
		require.Contains(t, lockedList(t, server), "expires "+map[time.Duration]string{
			time.Hour: "59m59s", 3 * time.Hour: "2h59m59s", time.Minute: "59s"}[term])
	}
	requireDropped(t, outside, attacker4, in)
	require.NoError(t, n.Verify(ctx))
}

// The agent lives on: what has ended by itself is no damage, isolations hold, and it removes the chains.
func TestNftablesAgentFindsALockdownThatHasEnded(t *testing.T) {
	server, outside := link(t)
	n := newNft(t, server, true)
	ctx := context.Background()
	in := server.echo(t, server4)
	require.NoError(t, n.Apply(ctx, Delta{
		Put:      put(attacker4).Put,
		Lockdown: &Lockdown{On: true, Until: time.Now().Add(time.Second)},
	}))
	requireDropped(t, outside, bystander4, in)
	requireServed(t, outside, bystander4, in)
	requireDropped(t, outside, attacker4, in)
	for source, want := range map[string]bool{bystander4: false, attacker4: true} {
		holds, err := n.Holds(ctx, prefixes(source)[0])
		require.NoError(t, err)
		require.Equal(t, want, holds, source)
	}
	server.program(t, "table ip other { }\n", "nft", "-f", "-") // so that it does compare
	require.NoError(t, n.Verify(ctx))

	// Confirmed or begun anew when the kernel has ended it already.
	require.NoError(t, n.Apply(ctx, Delta{Lockdown: &Lockdown{On: true}}))
	requireDropped(t, outside, bystander4, in)
	require.NoError(t, n.Verify(ctx))
	server.program(t, "flush set inet shivxtest locked", "nft", "-f", "-")
	require.ErrorContains(t, n.Verify(ctx), "the lockdown has been ended")

	require.NoError(t, n.Apply(ctx, Delta{Lockdown: &Lockdown{}}))
	list := server.program(t, "", "nft", "list", "table", "inet", "shivxtest")
	require.NotContains(t, list, "lockdown")
	require.NotContains(t, list, "locked")
	requireServed(t, outside, bystander4, in)
	require.NoError(t, n.Verify(ctx))

	// One whose end is over when it comes to the kernel does not begin.
	over := Lockdown{On: true, Until: time.Now().Add(-time.Second)}
	require.NoError(t, n.Apply(ctx, Delta{Lockdown: &over}))
	requireServed(t, outside, bystander4, in)
	require.NoError(t, n.Replace(ctx, State{Lockdown: over}))
	require.NotContains(t, server.program(t, "", "nft", "list", "tables"), "shivxtest")
}

func lockedList(t *testing.T, server *namespace) string {
	t.Helper()
	return server.program(t, "", "nft", "list", "set", "inet", "shivxtest", "locked")
}
