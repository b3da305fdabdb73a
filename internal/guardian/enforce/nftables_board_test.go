package enforce

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

func TestNftablesWithoutTheRightSaysWhatToDo(t *testing.T) {
	server, _ := link(t)
	err := server.do(func() error { // on a thread of its own, which ends with it
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		lazy, err := NewNftables(NftablesOptions{Table: "shivxtest", Auto: true})
		if err != nil {
			return err
		}
		if err := lazy.Replace(context.Background(), State{}); err != nil {
			return fmt.Errorf("with nothing to enforce: %w", err)
		}
		later := lazy.Apply(context.Background(), put("192.0.2.1"))
		if !errors.Is(later, ErrNoNetAdmin) || shivx.HintOf(later) == "" {
			return fmt.Errorf("with something to enforce: %w", later)
		}
		_, err = NewNftables(NftablesOptions{Table: "shivxtest"})
		return err
	})
	require.ErrorIs(t, err, ErrNoNetAdmin)
	require.Contains(t, shivx.HintOf(err), "AmbientCapabilities=CAP_NET_ADMIN")
}

// TestNftablesOnABoard takes the way from a decision to the packet, over damage and a restart.
func TestNftablesOnABoard(t *testing.T) {
	server, outside := link(t)
	addr := server.echo(t, server4)
	state := NewSet(nil)
	state.Replace(State{Isolations: manySources(100_000)})
	board := func() (*rig, *Nftables) {
		n := newNft(t, server, true)
		r := newRig(t, state, n)
		return r, n
	}
	r, n := board()
	began := time.Now()
	require.NoError(t, r.Settled(t.Context()))
	took := time.Since(began)
	t.Logf("%d blocks restored in %s", n.Entries(), took)
	require.Less(t, took, 2*time.Second*slack)

	r.give(Delta{Put: []shivx.Isolation{block(attacker4, time.Hour)}})
	require.NoError(t, r.Settled(t.Context()))
	requireDropped(t, outside, attacker4, addr)
	require.Equal(t, map[string]bool{"nftables": true}, r.Holds(t.Context(), prefixes(attacker4)[0]))

	r.cancel()
	require.NoError(t, n.Close())
	requireDropped(t, outside, attacker4, addr) // nobody is there, the block is

	server.program(t, "flush ruleset", "nft", "-f", "-")
	requireServed(t, outside, attacker4, addr)
	r, n = board()
	defer r.cancel()
	require.NoError(t, r.Settled(t.Context()))
	requireDropped(t, outside, attacker4, addr)
	require.Equal(t, state.Len(), n.Entries())

	// A change to a table that somebody has removed fails, and everything is given anew at once.
	server.program(t, "flush ruleset", "nft", "-f", "-")
	r.give(Delta{Put: []shivx.Isolation{block("192.0.2.77", time.Hour)}})
	require.NoError(t, r.Settled(t.Context()))
	requireDropped(t, outside, attacker4, addr)
	require.Len(t, r.heard(), 2)
}
