package detect

import "unsafe"

// block holds a part of what only some entries need: a piece of a ring of seconds, records of failures,
// the name of an account, hashes of paths, marks of thresholds passed.
type block struct {
	next  uint32
	words [blockWords]uint32
}

const (
	blockWords = 15
	blockSize  = int(unsafe.Sizeof(block{}))
)

// blocks hands them out, never more than limit at once.
type blocks struct {
	chunks []*[chunkSize]block
	made   uint32 // numbered from 1
	free   uint32
	used   int
	limit  int
}

func (b *blocks) at(i uint32) *block { return &b.chunks[i>>chunkBits][i&(chunkSize-1)] }

// full says that one has to be given back before the next can be taken.
func (b *blocks) full() bool { return b.used >= b.limit }

// take returns an empty block; there must be one.
func (b *blocks) take() uint32 {
	i := b.free
	if i != 0 {
		b.free = b.at(i).next
	} else {
		b.made++
		i = b.made
		if int(i>>chunkBits) == len(b.chunks) {
			b.chunks = append(b.chunks, new([chunkSize]block))
		}
	}
	*b.at(i) = block{}
	b.used++
	return i
}

// give takes a whole chain back and returns the end of a chain.
func (b *blocks) give(i uint32) uint32 {
	for i != 0 {
		at := b.at(i)
		next := at.next
		at.next, b.free = b.free, i
		b.used--
		i = next
	}
	return 0
}

func (b *blocks) bytes() int64 { return int64(len(b.chunks)) * int64(chunkSize*blockSize) }
