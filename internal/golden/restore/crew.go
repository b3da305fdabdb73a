package restore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/shivx/shivx/internal/golden/format"
)

const (
	// A batch goes to a worker when it has this many files or bytes: fewer would cost more in
	// waking workers than it saves, more would leave a worker idle at the end.
	batchFiles = 64
	batchBytes = 1 << 20
	// partBlocks is how many blocks of a large file one worker takes.
	partBlocks = 8
	// waitingBatches per worker bound the memory and the open folders.
	waitingBatches = 2
)

// job is a file to be worked on, or a part of one.
type job struct {
	dir   *folder
	name  string
	entry format.Entry
	// large is set for a part: blocks from up to before to.
	large    *large
	from, to int
	top      bool
}

// what returns the entry to be worked on.
func (j *job) what() *format.Entry {
	if j.large != nil {
		return j.large.entry
	}
	return &j.entry
}

// large is a file that several workers share.
type large struct {
	entry *format.Entry
	// state describes the file before it was worked on, where that matters.
	state live
	fd    int
	left  atomic.Int32
	wrong atomic.Bool
}

// worker has what a worker reuses.
type worker struct {
	buf   []byte
	block []byte
	sums  sums
}

// crew hands files to workers in batches. One goroutine feeds it.
type crew struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	work    func(*worker, *job) error
	feed    chan []job
	free    chan []job
	filling []job
	weight  int64
	// open counts the batches handed out and not done.
	open, running sync.WaitGroup
}

func newCrew(ctx context.Context, workers int, work func(*worker, *job) error) *crew {
	c := &crew{work: work, feed: make(chan []job, waitingBatches*workers), free: make(chan []job, (waitingBatches+2)*workers)}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	for range workers {
		c.running.Go(c.run)
	}
	return c
}

func (c *crew) run() {
	w := &worker{buf: make([]byte, chunk), block: make([]byte, 0, format.BlockSize), sums: newSums()}
	for batch := range c.feed {
		for i := range batch {
			j := &batch[i]
			var err error
			if c.ctx.Err() == nil {
				err = c.work(w, j)
			} else if j.large != nil {
				err = j.large.drop()
			}
			if j.dir != nil {
				err = errors.Join(err, j.dir.release())
			}
			if err != nil {
				c.cancel(err)
			}
		}
		select {
		case c.free <- batch[:0]:
		default:
		}
		c.open.Done()
	}
}

// drop gives up one part of a file.
func (l *large) drop() error {
	if l.left.Add(-1) > 0 {
		return nil
	}
	return closeFD(l.fd)
}

// add takes a file; dir, which may be nil, is held until it is done.
func (c *crew) add(dir *folder, name string, it item) {
	j := c.next(dir)
	j.name, j.top, j.large = name, it.top, nil
	cloneEntry(&j.entry, it.Entry)
	c.weight += it.Stored()
	if len(c.filling) == batchFiles || c.weight >= batchBytes {
		c.flush()
	}
}

// addLarge takes a file in parts, each a batch.
func (c *crew) addLarge(dir *folder, name string, it item, l *large) {
	c.flush()
	blocks := it.BlockCount()
	l.left.Store(int32((blocks + partBlocks - 1) / partBlocks))
	l.entry = cloneEntry(&format.Entry{}, it.Entry)
	for from := 0; from < blocks; from += partBlocks {
		j := c.next(dir)
		j.name, j.top, j.large = name, it.top, l
		j.from, j.to = from, min(from+partBlocks, blocks)
		c.flush()
	}
}

// isLarge says whether an entry is worth being shared out.
func isLarge(it item) bool { return it.BlockCount() > 2*partBlocks }

func (c *crew) next(dir *folder) *job {
	if c.filling == nil {
		select {
		case c.filling = <-c.free:
		default:
			c.filling = make([]job, 0, batchFiles)
		}
	}
	if dir != nil {
		dir.hold()
	}
	c.filling = c.filling[:len(c.filling)+1]
	j := &c.filling[len(c.filling)-1]
	j.dir = dir
	return j
}

func (c *crew) flush() {
	if len(c.filling) == 0 {
		return
	}
	c.open.Add(1)
	c.feed <- c.filling
	c.filling, c.weight = nil, 0
}

// failed returns why the crew no longer works, or nil.
func (c *crew) failed() error { return context.Cause(c.ctx) }

// drain waits until all that was added is done.
func (c *crew) drain() error {
	c.flush()
	c.open.Wait()
	return c.failed()
}

// close ends the crew; it returns its first error.
func (c *crew) close() error {
	err := c.drain()
	close(c.feed)
	c.running.Wait()
	if err == nil {
		err = c.failed()
	}
	c.cancel(nil)
	return err
}
