package store

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"math/rand/v2"

	"github.com/shivx/shivx/internal/golden/format"
)

// index finds blocks by their ids. For each it needs 48 bytes and 6 to 11 for the table: a map of
// slices would need four times as much, and the garbage collector would walk it.
type index struct {
	// chunks are full but for the last, so that a growing index is never copied.
	chunks [][]record
	count  int
	// table holds the number of a record and one, where the hash of its id says or after it.
	table []uint32
	// copies says that of a block in several packs each is kept, not the first alone.
	copies bool
	// seed keeps who chooses the content of files from choosing where it stands in the table.
	seed uint64
}

const chunkSize = 4096

// record says where a block is.
type record struct {
	id            format.Hash
	offset        uint32 // in the pack
	stored, plain uint32
	// pack is the number of the pack, twice, and one where the block is compressed.
	pack uint32
}

func newRecord(at int64, b *format.PackBlock, pack int) record {
	return record{id: b.ID, offset: uint32(at), stored: b.Stored, plain: b.Plain, pack: uint32(pack)<<1 | uint32(b.Codec)}
}

func (r *record) packNumber() int     { return int(r.pack >> 1) }
func (r *record) codec() format.Codec { return format.Codec(r.pack & 1) }

// find returns the record of the id, the first that was added, or nil.
func (x *index) find(id *format.Hash) *record {
	r, _ := x.findFrom(id, -1)
	return r
}

// all yields the records of the id, in the order in which they were added.
func (x *index) all(id *format.Hash) iter.Seq[*record] {
	return func(yield func(*record) bool) {
		for r, i := x.findFrom(id, -1); r != nil && yield(r); {
			r, i = x.findFrom(id, i)
		}
	}
}

// findFrom looks behind a place of the table, or from the id's own if that is -1.
func (x *index) findFrom(id *format.Hash, after int) (*record, int) {
	if len(x.table) == 0 {
		return nil, 0
	}
	i := after + 1
	if after < 0 {
		i = x.home(id)
	}
	for ; ; i++ {
		if i >= len(x.table) {
			i = 0
		}
		n := x.table[i]
		if n == 0 {
			return nil, 0
		}
		if r := x.at(int(n - 1)); r.id == *id {
			return r, i
		}
	}
}

// add adds a record, behind others of its id.
func (x *index) add(r *record) {
	if 4*(x.count+1) > 3*len(x.table) {
		x.grow()
	}
	if x.count%chunkSize == 0 {
		x.chunks = append(x.chunks, make([]record, 0, chunkSize))
	}
	last := &x.chunks[len(x.chunks)-1]
	*last = append(*last, *r)
	x.count++
	x.place(&r.id, uint32(x.count))
}

func (x *index) at(i int) *record { return &x.chunks[i/chunkSize][i%chunkSize] }

func (x *index) home(id *format.Hash) int {
	const odd = 0x9E3779B97F4A7C15
	high, _ := bits.Mul64((binary.LittleEndian.Uint64(id[:8])^x.seed)*odd, uint64(len(x.table)))
	return int(high)
}

func (x *index) place(id *format.Hash, n uint32) {
	i := x.home(id)
	for x.table[i] != 0 {
		if i++; i == len(x.table) {
			i = 0
		}
	}
	x.table[i] = n
}

func (x *index) grow() {
	if x.seed == 0 {
		x.seed = rand.Uint64()
	}
	x.table = make([]uint32, max(1024, 2*len(x.table)))
	for i := range x.count {
		x.place(&x.at(i).id, uint32(i+1))
	}
}
