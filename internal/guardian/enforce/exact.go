package enforce

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"

	"github.com/shivx/shivx"
)

// exact finds the isolation of a single source: an IPv4 address or an IPv6 /64, which nearly all
// isolations are. It is a hash table with open addresses: readers take no lock, and one that finds
// nothing, as for nearly every request, touches one line of the processor's cache (a trie touches
// one for each byte of the address). Writers come one at a time.
type exact struct {
	slots []slot
	shift uint
	// seeds are chosen anew for each table, so that nobody can choose sources that collide.
	seeds [2]uint64
	// used slots, those whose source was dropped included; at most half are.
	used, live int
}

// slot belongs to a key for ever once it has one; what is nil has been dropped.
type slot struct {
	key  atomic.Uint64
	what atomic.Pointer[shivx.Isolation]
}

// newExact has room for n sources before it is full.
func newExact(n int) *exact {
	size := bits.Len(uint(max(n, 32)*2 - 1))
	return &exact{
		slots: make([]slot, 1<<size), shift: uint(64 - size),
		seeds: [2]uint64{rand.Uint64(), rand.Uint64() | 1},
	}
}

// exactKey returns the key of a single source; 0: it is none, and kept among the networks. The IPv4
// addresses have the keys from 1 to 1<<32, which are those of IPv6 networks within ::/32: these are
// nobody's, and none.
func exactKey(p netip.Prefix) uint64 {
	switch a := p.Addr(); {
	case a.Is4() && p.Bits() == 32, !a.Is4() && p.Bits() == 64:
		return addrKey(a)
	}
	return 0
}

// addrKey returns the key of the source to which an address belongs.
func addrKey(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:])) + 1
	}
	b := a.As16()
	if key := binary.BigEndian.Uint64(b[:8]); key > 1<<32 {
		return key
	}
	return 0
}

func (e *exact) first(key uint64) int {
	high, low := bits.Mul64(key^e.seeds[0], e.seeds[1])
	return int((high ^ low) >> e.shift)
}

// get returns the isolation of a key, nil if there is none.
func (e *exact) get(key uint64) *shivx.Isolation {
	for at, mask := e.first(key), len(e.slots)-1; ; at = (at + 1) & mask {
		switch e.slots[at].key.Load() {
		case key:
			return e.slots[at].what.Load()
		case 0:
			return nil
		}
	}
}

// put returns the table in which the isolation is, a larger one when this is full.
func (e *exact) put(key uint64, i *shivx.Isolation) *exact {
	if e.used*2 >= len(e.slots) {
		larger := newExact(max(e.live, len(e.slots)/4) * 2)
		for key, kept := range e.all() {
			larger.put(key, kept)
		}
		e = larger
	}
	for at, mask := e.first(key), len(e.slots)-1; ; at = (at + 1) & mask {
		s := &e.slots[at]
		switch s.key.Load() {
		case key:
			if s.what.Swap(i) == nil {
				e.live++
			}
			return e
		case 0:
			s.what.Store(i) // before the key: who finds the key finds the isolation
			s.key.Store(key)
			e.used++
			e.live++
			return e
		}
	}
}

// drop forgets a key.
func (e *exact) drop(key uint64) {
	for at, mask := e.first(key), len(e.slots)-1; ; at = (at + 1) & mask {
		s := &e.slots[at]
		switch s.key.Load() {
		case key:
			if s.what.Swap(nil) != nil {
				e.live--
			}
			return
		case 0:
			return
		}
	}
}

// all walks what is there, in no order.
func (e *exact) all() iter.Seq2[uint64, *shivx.Isolation] {
	return func(yield func(uint64, *shivx.Isolation) bool) {
		for at := range e.slots {
			if i := e.slots[at].what.Load(); i != nil && !yield(e.slots[at].key.Load(), i) {
				return
			}
		}
	}
}
