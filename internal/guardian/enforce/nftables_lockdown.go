package enforce

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// lockedID is the number of the lockdown's set within a transaction, larger than that of any other.
const lockedID = 1 << 16

// lockedSet has the families of addresses that a lockdown refuses. The kernel ends its elements by itself
// when the lockdown has an end, also when there is no agent any more. Then the chains, which stay until
// the agent removes them, refuse nothing.
func (n *Nftables) lockedSet() *nftables.Set {
	return &nftables.Set{
		Table: n.table, Name: "locked", ID: lockedID,
		KeyType: nftables.TypeNFProto, KeyByteOrder: binaryutil.NativeEndian, HasTimeout: true,
	}
}

// families are those of the table.
func families() []byte { return []byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} }

func familyOf(p netip.Prefix) byte {
	if p.Addr().Is4() {
		return unix.NFPROTO_IPV4
	}
	return unix.NFPROTO_IPV6
}

// whileLocked matches all packets until the lockdown has ended.
func (n *Nftables) whileLocked() rule {
	return rule{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: n.lockedSet().Name},
	}
}

// lockdownChains are the chains of a lockdown: what comes in, and what this host and those behind it
// send. Connection tracking is on only while they are there.
//
// What comes in is dropped unless it is from the allow list, answers a connection that was begun from
// this side (so that the agent's own to Temporal, DNS and the like go on), is an ICMP error about a
// connection, or is needed to keep the link's addresses.
//
// If the kernel did not track connections before the lockdown, it takes the next packet of an old TCP
// connection for its beginning: one that a stranger had begun would be ours, if that packet is. So what
// goes out in the middle of a connection that is not known is answered with a reset: the stranger's
// connection ends, and programs of this host connect anew. An old flow of UDP cannot be told apart:
// it ends when this side has sent nothing for as long as the kernel remembers (30 s, or 120 s).
func (n *Nftables) lockdownChains() []*nftables.Chain {
	return []*nftables.Chain{
		n.base("lockdown", nftables.ChainHookPrerouting, lockdownPriority),
		n.base("lockdown_out", nftables.ChainHookOutput, lockdownPriority),
		n.base("lockdown_forward", nftables.ChainHookForward, lockdownPriority),
	}
}

// addLockdown adds the chains and their set to the transaction.
func (n *Nftables) addLockdown(conn *nftables.Conn, l Lockdown) error {
	if err := conn.AddSet(n.lockedSet(), lockedElements(l)); err != nil {
		return err
	}
	chains := n.lockdownChains()
	for _, c := range chains {
		conn.AddChain(c)
	}
	n.addRules(conn, chains[0], wayIn())
	n.addRules(conn, chains[0], [][]rule{
		{replies(), accepts()},
		{protocol(unix.IPPROTO_ICMP), state(expr.CtStateBitRELATED), accepts()},
		{protocol(unix.IPPROTO_ICMPV6), state(expr.CtStateBitRELATED), accepts()},
		{protocol(unix.IPPROTO_UDP), ports(67, 68), accepts()},
		{protocol(unix.IPPROTO_UDP), ports(547, 546), accepts()},
	})
	n.addRules(conn, chains[1], [][]rule{{loopbackDevice(expr.MetaKeyOIFTYPE), accepts()}})
	for _, key := range n.allowKeys() {
		n.addRules(conn, chains[0], [][]rule{{from(key), accepts()}})
		for _, out := range chains[1:] {
			n.addRules(conn, out, [][]rule{{to(key), accepts()}})
		}
	}
	n.addRules(conn, chains[0], [][]rule{{n.whileLocked(), drops()}})
	for _, out := range chains[1:] {
		n.addRules(conn, out, [][]rule{{n.whileLocked(), protocol(unix.IPPROTO_TCP), state(expr.CtStateBitNEW), midstream(), resets()}})
	}
	return nil
}

// lockedElements end with the lockdown, by the kernel's clock.
func lockedElements(l Lockdown) []nftables.SetElement {
	var left time.Duration // none: they stay
	if !l.Until.IsZero() {
		left = max(time.Until(l.Until), time.Millisecond)
	}
	var all []nftables.SetElement
	for _, f := range families() {
		all = append(all, nftables.SetElement{Key: []byte{f}, Timeout: left})
	}
	return all
}

// changeLockdown begins or ends the lockdown in the transaction, or changes its end.
func (n *Nftables) changeLockdown(conn *nftables.Conn, next Lockdown) error {
	set := n.lockedSet()
	switch {
	case next.On && !n.lockdown.On:
		return n.addLockdown(conn, next)
	case next.On:
		if err := readd(conn, set, lockedElements(Lockdown{On: true})); err != nil {
			return err
		}
		return conn.SetAddElements(set, lockedElements(next))
	}
	for _, c := range n.lockdownChains() {
		conn.FlushChain(c)
		conn.DelChain(c)
	}
	conn.DelSet(set)
	return nil
}

// refuses asks the kernel whether the lockdown refuses a family.
func (n *Nftables) refuses(ctx context.Context, family byte) (bool, error) {
	return n.hasElement(ctx, n.lockedSet().Name, []byte{family})
}

// lockdownHolds says when a lockdown refuses less than it should; one that has ended by itself, or is
// about to, is right.
func (n *Nftables) lockdownHolds(ctx context.Context) error {
	if !n.lockdown.InForce(time.Now().Add(lag)) {
		return nil
	}
	for _, f := range families() {
		there, err := n.refuses(ctx, f)
		if err != nil {
			return err
		}
		if !there {
			return n.damaged("the lockdown has been ended")
		}
	}
	return nil
}

// allowKeys returns the sets of the allow list in a fixed order.
func (n *Nftables) allowKeys() []setKey {
	var keys []setKey
	for k := range n.sets {
		if k.purpose == allowed {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b setKey) int { return int(n.sets[a].ID) - int(n.sets[b].ID) })
	return keys
}
