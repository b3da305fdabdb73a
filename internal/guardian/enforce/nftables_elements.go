package enforce

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"github.com/shivx/shivx"
)

// perMessage is how many elements one message has: the list's length is a 16-bit number of bytes, and
// an IPv6 element with its timeout takes 44.
const perMessage = 1000

// purpose of a set.
type purpose string

// The purposes, as they stand in the sets' names.
const (
	allowed purpose = "allow"
	blocked purpose = "block"
)

// setKey names a set: that of one purpose, one family and one length of prefix.
type setKey struct {
	purpose purpose
	v4      bool
	bits    int
}

func (k setKey) name() string {
	family := 6
	if k.v4 {
		family = 4
	}
	return fmt.Sprintf("%s%d_%d", k.purpose, family, k.bits)
}

// element is one source to keep out.
type element struct {
	prefix netip.Prefix
	// until in milliseconds since 1970; 0: it has no end.
	until int64
	// left of the term; 0: it has no end.
	left time.Duration
}

// elements returns what of the isolations is in force at now, each source once, the last one said.
func (n *Nftables) elements(all []shivx.Isolation, now time.Time) []element {
	out := make([]element, 0, len(all))
	var at map[netip.Prefix]int
	if len(all) > 1 {
		at = make(map[netip.Prefix]int, len(all))
	}
	for i := range all {
		p, err := shivx.ParseSource(all[i].Source)
		if err != nil {
			continue
		}
		e := element{prefix: p}
		if !all[i].Until.IsZero() {
			e.until = all[i].Until.UnixMilli()
			e.left = max(all[i].Until.Sub(now), time.Millisecond)
		}
		if !all[i].InForce(now) {
			e.left = -1
		}
		if j, twice := at[p]; twice {
			out[j] = e
			continue
		}
		if at != nil {
			at[p] = len(out)
		}
		out = append(out, e)
	}
	return slices.DeleteFunc(out, func(e element) bool { return e.left < 0 })
}

// put adds sources to the transaction. With renew a source that is there already gets its new term:
// it is added, so that there is one to delete, deleted and added, which nobody sees from outside the
// transaction.
func (n *Nftables) put(conn *nftables.Conn, puts []element, renew bool) error {
	for key, group := range bySet(puts, func(e element) netip.Prefix { return e.prefix }) {
		set, err := n.set(conn, key)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(group, perMessage) {
			timed, bare := make([]nftables.SetElement, len(part)), make([]nftables.SetElement, len(part))
			for i, e := range part {
				bare[i] = nftables.SetElement{Key: e.prefix.Addr().AsSlice()}
				timed[i] = nftables.SetElement{Key: bare[i].Key, Timeout: e.left}
			}
			if renew {
				if err := readd(conn, set, bare); err != nil {
					return err
				}
			}
			if err := conn.SetAddElements(set, timed); err != nil {
				return err
			}
		}
	}
	return nil
}

// drop removes sources whose sets exist; one that has ended by itself is no error.
func (n *Nftables) drop(conn *nftables.Conn, drops []netip.Prefix) error {
	for key, group := range bySet(drops, func(p netip.Prefix) netip.Prefix { return p }) {
		for part := range slices.Chunk(group, perMessage) {
			bare := make([]nftables.SetElement, len(part))
			for i, p := range part {
				bare[i] = nftables.SetElement{Key: p.Addr().AsSlice()}
			}
			if err := readd(conn, n.sets[key], bare); err != nil {
				return err
			}
		}
	}
	return nil
}

// readd deletes elements that may or may not be there: to delete one that is not is an error that
// would undo the whole transaction, to add one that is there is none.
func readd(conn *nftables.Conn, set *nftables.Set, bare []nftables.SetElement) error {
	if err := conn.SetAddElements(set, bare); err != nil {
		return err
	}
	return conn.SetDeleteElements(set, bare)
}

func bySet[T any](all []T, prefix func(T) netip.Prefix) map[setKey][]T {
	groups := map[setKey][]T{}
	for _, e := range all {
		p := prefix(e)
		k := setKey{blocked, p.Addr().Is4(), p.Bits()}
		groups[k] = append(groups[k], e)
	}
	return groups
}

// set returns the set of a key; one that is new is added to the transaction, with the rule that asks it.
func (n *Nftables) set(conn *nftables.Conn, key setKey) (*nftables.Set, error) {
	if s, ok := n.sets[key]; ok {
		return s, nil
	}
	s := &nftables.Set{
		Table: n.table, Name: key.name(), ID: uint32(len(n.sets) + 1),
		KeyType: nftables.TypeIP6Addr, KeyByteOrder: binaryutil.BigEndian, HasTimeout: key.purpose == blocked,
	}
	if key.v4 {
		s.KeyType = nftables.TypeIPAddr
	}
	if err := conn.AddSet(s, nil); err != nil {
		return nil, err
	}
	n.sets[key] = s
	if key.purpose == blocked {
		n.addRules(conn, n.blockChain(), [][]rule{{from(key), drops()}})
	}
	return s, nil
}

// buildAllow adds the allow list, and the rules that let it pass the chain.
func (n *Nftables) buildAllow(conn *nftables.Conn, chain *nftables.Chain) error {
	list := slices.Clone(n.allow)
	for i := range list {
		list[i] = list[i].Masked()
	}
	slices.SortFunc(list, comparePrefix)
	for _, p := range slices.Compact(list) {
		key := setKey{allowed, p.Addr().Is4(), p.Bits()}
		_, there := n.sets[key]
		set, err := n.set(conn, key)
		if err != nil {
			return err
		}
		if !there {
			n.addRules(conn, chain, [][]rule{{from(key), accepts()}})
		}
		if err := conn.SetAddElements(set, []nftables.SetElement{{Key: p.Addr().AsSlice()}}); err != nil {
			return err
		}
	}
	return nil
}
