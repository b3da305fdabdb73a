package enforce

import (
	"net"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The priorities of the chains. Isolated sources are dropped after defragmentation (-400) and before
// raw (-300) and connection tracking (-200), which a lockdown needs.
const (
	blockPriority    = nftables.ChainPriority(-310)
	lockdownPriority = nftables.ChainPriority(-190)
)

// rule is a part of a rule.
type rule = []expr.Any

func (n *Nftables) base(name string, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	policy := nftables.ChainPolicyAccept
	return &nftables.Chain{
		Name: name, Table: n.table, Type: nftables.ChainTypeFilter,
		Hooknum: hook, Priority: &priority, Policy: &policy,
	}
}

func (n *Nftables) blockChain() *nftables.Chain {
	return n.base("block", nftables.ChainHookPrerouting, blockPriority)
}

func (n *Nftables) addRules(conn *nftables.Conn, chain *nftables.Chain, rules [][]rule) {
	for _, parts := range rules {
		conn.AddRule(&nftables.Rule{Table: n.table, Chain: chain, Exprs: slices.Concat(parts...)})
	}
}

// wayIn passes what is never refused: the loopback, and neighbour and listener discovery of IPv6
// (types 130 to 136), without which a host loses its link when a neighbour, or fe80::/64, is isolated. The
// kernel takes those from the link alone.
func wayIn() [][]rule {
	discovery := rule{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: []byte{130}, ToData: []byte{136}},
	}
	return [][]rule{
		{loopbackDevice(expr.MetaKeyIIFTYPE), accepts()},
		{protocol(unix.IPPROTO_ICMPV6), discovery, accepts()},
	}
}

func loopbackDevice(key expr.MetaKey) rule {
	return rule{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint16(unix.ARPHRD_LOOPBACK)},
	}
}

func protocol(number byte) rule {
	return rule{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{number}},
	}
}

func ports(source, destination uint16) rule {
	both := slices.Concat(binaryutil.BigEndian.PutUint16(source), binaryutil.BigEndian.PutUint16(destination))
	return rule{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: both},
	}
}

// replies matches packets against the direction in which their connection was begun.
func replies() rule {
	return slices.Concat(rule{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{1}},
	}, state(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED))
}

// state matches connections in any of the states.
func state(bits uint32) rule {
	return rule{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// midstream matches TCP packets that begin no connection: of SYN, ACK, FIN and RST not SYN alone.
func midstream() rule {
	return rule{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0x17}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0x02}},
	}
}

// from matches the packets whose source is in the set of key.
func from(key setKey) rule { return address(key, 12, 8) }

// to matches the packets whose destination is in the set of key.
func to(key setKey) rule { return address(key, 16, 24) }

// address looks the address at an offset of the header up, cut to the length of the set's prefixes.
func address(key setKey, offset4, offset6 uint32) rule {
	family, offset, size := byte(unix.NFPROTO_IPV6), offset6, 16
	if key.v4 {
		family, offset, size = unix.NFPROTO_IPV4, offset4, 4
	}
	r := rule{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(size)},
	}
	if key.bits < size*8 {
		r = append(r, &expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: uint32(size),
			Mask: net.CIDRMask(key.bits, size*8), Xor: make([]byte, size),
		})
	}
	return append(r, &expr.Lookup{SourceRegister: 1, SetName: key.name()})
}

func accepts() rule { return rule{&expr.Verdict{Kind: expr.VerdictAccept}} }

// drops counts, so that an operator sees that it bites.
func drops() rule { return rule{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}} }

func resets() rule { return rule{&expr.Counter{}, &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}} }
