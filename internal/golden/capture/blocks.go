package capture

import (
	"sync"
	"sync/atomic"

	"github.com/shivx/shivx/internal/golden/format"
)

// blocks passes blocks of large files to workers that have nothing else to do. The hash of a whole
// file cannot be split up, but its blocks' hashes, and what the sink does with them, need not wait
// for it: so one large file keeps two cores busy.
type blocks struct {
	jobs chan *block
	// free are buffers; a nil one is made when it is taken.
	free chan *block
	// readers are the workers that may still offer a block; over is closed when there are none.
	readers atomic.Int32
	over    chan struct{}
}

// block is a piece of a file in memory.
type block struct {
	buf  []byte
	data []byte
	// sum is where its hash goes.
	sum *format.Hash
	// users are those that still read it.
	users atomic.Int32
	done  *sync.WaitGroup
}

func newBlocks(workers int) *blocks {
	n := 2*workers + 1
	b := &blocks{jobs: make(chan *block), free: make(chan *block, n), over: make(chan struct{})}
	b.readers.Store(int32(workers))
	for range n {
		b.free <- nil
	}
	return b
}

// leave is called by each worker when there are no more files.
func (b *blocks) leave() {
	if b.readers.Add(-1) == 0 {
		close(b.over)
	}
}

// take returns a buffer. There is always one: each reader holds one, and each worker at a job one.
func (b *blocks) take() *block {
	k := <-b.free
	if k == nil {
		k = &block{buf: make([]byte, format.BlockSize)}
	}
	k.users.Store(1)
	return k
}

// drop gives a buffer back after its last user.
func (b *blocks) drop(k *block) {
	if k.users.Add(-1) == 0 {
		b.free <- k
	}
}

// offer passes a block to a worker that waits; false: none does.
func (b *blocks) offer(k *block) bool {
	select {
	case b.jobs <- k:
		return true
	default:
		return false
	}
}

// block hashes and stores a block.
func (w *worker) block(k *block) {
	*k.sum = format.Sum(k.data)
	if w.ctx.Err() == nil {
		w.stop(w.lane.Put(w.ctx, *k.sum, k.data))
	}
	done := k.done
	w.blocks.drop(k)
	done.Done()
}
