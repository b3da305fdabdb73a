package detect

import (
	"math/bits"
	"net/netip"
	"unsafe"
)

// kind says what a key names.
type kind uint8

const (
	source4  kind = iota + 1 // an IPv4 address
	source6                  // an IPv6 /64
	network4                 // an IPv4 /24
	network6                 // an IPv6 /48
)

func (k kind) network() bool { return k == network4 || k == network6 }

// entry is what is known of a source or a network: 96 bytes, without pointers. What only some of them
// need is in blocks.
type entry struct {
	key   uint64 // the IPv4 address, or the upper half of the IPv6 address
	last  int64  // the entry's own clock: its newest event, ns
	first int64  // ns
	asked uint32 // requests in the minute up to last

	points, missed, hits uint32 // the scanner's score, see scan.go

	// The first blocks of the entry's chains.
	ring, records, names, paths, marks uint32

	next, prev uint32 // in its list

	nrecords, npaths uint16
	few              [8]uint16 // requests, while there is no ring; see rate.go
	nfew             uint8
	kind             kind
	list             rank
	streak           uint8 // of events far behind last
	flags            uint8
	probes           uint8  // up to badTries, see network.go
	failed           uint16 // failures in the records
}

const (
	// flagAgain: it was seen again since it came to its place in the list.
	flagAgain = 1 << iota
	// flagHeld: it was pinned when it was saved, and nobody has pinned it since it was loaded.
	flagHeld
)

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
	entrySize = int(unsafe.Sizeof(entry{}))
)

// table finds entries by their keys. The index is at most three quarters full; it doubles as entries come,
// as a host that nobody attacks shall not pay for one under attack. A slot has its hash, so that nothing is
// ever hashed anew; entries come in chunks as they are needed.
type table struct {
	index  []uint64 // hash in the upper half, number of the entry in the lower; 0: free
	mask   uint32
	seed   [2]uint64
	chunks []*[chunkSize]entry
	made   uint32 // entries ever made, numbered from 1
	free   uint32 // first of the given back
	used   int
	limit  int
}

// firstIndex is how many slots the index of an empty table has.
const firstIndex = 1 << 12

func newTable(limit int, seed uint64) table {
	size := min(1<<bits.Len(uint(limit*4/3)), firstIndex)
	return table{
		index: make([]uint64, size), mask: uint32(size - 1), limit: limit,
		seed: [2]uint64{mix(seed, hashA), mix(seed, hashB) | 1},
	}
}

func (t *table) at(i uint32) *entry { return &t.chunks[i>>chunkBits][i&(chunkSize-1)] }

func (t *table) hash(key uint64, k kind) uint32 {
	h := mix(key^t.seed[0], t.seed[1]+uint64(k)<<1)
	return uint32(mix(h, hashC) >> 16)
}

// find returns the number of an entry, 0 if there is none.
func (t *table) find(key uint64, k kind) uint32 {
	h := t.hash(key, k)
	for p := h & t.mask; ; p = (p + 1) & t.mask {
		slot := t.index[p]
		if slot == 0 {
			return 0
		}
		if uint32(slot>>32) == h {
			if e := t.at(uint32(slot)); e.key == key && e.kind == k {
				return uint32(slot)
			}
		}
	}
}

// add makes an entry for a key that has none; the table must not be full.
func (t *table) add(key uint64, k kind) uint32 {
	i := t.free
	if i != 0 {
		t.free = t.at(i).next
	} else {
		t.made++
		i = t.made
		if int(i>>chunkBits) == len(t.chunks) {
			t.chunks = append(t.chunks, new([chunkSize]entry))
		}
	}
	*t.at(i) = entry{key: key, kind: k}
	if t.used >= len(t.index)/4*3 {
		t.widen()
	}
	t.place(uint64(t.hash(key, k))<<32 | uint64(i))
	t.used++
	return i
}

// place puts a slot where find looks for it.
func (t *table) place(slot uint64) {
	p := uint32(slot>>32) & t.mask
	for t.index[p] != 0 {
		p = (p + 1) & t.mask
	}
	t.index[p] = slot
}

// widen doubles the index, which takes some 10 ns for each slot.
func (t *table) widen() {
	old := t.index
	t.index = make([]uint64, 2*len(old))
	t.mask = uint32(len(t.index) - 1)
	for _, slot := range old {
		if slot != 0 {
			t.place(slot)
		}
	}
}

// remove gives an entry back. What follows in the index moves up, so that no search ends too early.
func (t *table) remove(i uint32) {
	e := t.at(i)
	p := t.hash(e.key, e.kind) & t.mask
	for uint32(t.index[p]) != i {
		p = (p + 1) & t.mask
	}
	for q := p; ; {
		q = (q + 1) & t.mask
		slot := t.index[q]
		if slot == 0 {
			break
		}
		if home := uint32(slot>>32) & t.mask; (q-home)&t.mask >= (q-p)&t.mask {
			t.index[p], p = slot, q
		}
	}
	t.index[p] = 0
	e.next, t.free = t.free, i
	e.kind = 0
	t.used--
}

func (t *table) bytes() int64 {
	return int64(len(t.index))*8 + int64(len(t.chunks))*int64(chunkSize*entrySize)
}

// keyOf returns how the source of an address is found.
func keyOf(a netip.Addr) (uint64, kind) {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		return uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3]), source4
	}
	b := a.As16()
	return upper(b[:]), source6
}

// keyOfPrefix returns how a source or network is found; false for one that is not counted.
func keyOfPrefix(p netip.Prefix) (uint64, kind, bool) {
	if !p.IsValid() {
		return 0, 0, false
	}
	key, k := keyOf(p.Addr())
	switch {
	case k == source4 && p.Bits() == 32, k == source6 && p.Bits() == 64:
		return key, k, true
	case k == source4 && p.Bits() == 24:
		return key &^ 0xff, network4, true
	case k == source6 && p.Bits() == 48:
		return key &^ 0xffff, network6, true
	default:
		return 0, 0, false
	}
}

// networkOf returns the network of a source, and the source's number in it.
func networkOf(key uint64, k kind) (network uint64, nk kind, member uint32) {
	if k == source4 {
		return key &^ 0xff, network4, uint32(key & 0xff)
	}
	return key &^ 0xffff, network6, uint32(key & 0xffff)
}

// prefix is the inverse of keyOf and keyOfPrefix.
func (e *entry) prefix() netip.Prefix {
	var b [16]byte
	switch e.kind {
	case source4, network4:
		a := netip.AddrFrom4([4]byte{byte(e.key >> 24), byte(e.key >> 16), byte(e.key >> 8), byte(e.key)})
		if e.kind == source4 {
			return netip.PrefixFrom(a, 32)
		}
		return netip.PrefixFrom(a, 24)
	default:
		for i := range 8 {
			b[i] = byte(e.key >> (56 - 8*i))
		}
		if e.kind == source6 {
			return netip.PrefixFrom(netip.AddrFrom16(b), 64)
		}
		return netip.PrefixFrom(netip.AddrFrom16(b), 48)
	}
}
