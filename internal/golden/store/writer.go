package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// publishEvery is how often finished packs get their names while a backup runs, so that the next one
// has what a killed one stored; publishMost bounds how many wait, as each is an open file.
const (
	publishEvery = 30 * time.Second
	publishMost  = 256
)

// pace says when packs end and when they get their names.
type pace struct {
	publishEvery time.Duration
	packSize     int64
}

// Writer makes one golden. Its methods, Entry excepted, may be called by many goroutines at once.
type Writer struct {
	s       *Store
	id      string
	begun   time.Time
	release func() error
	entries *segmentWriter

	stored atomic.Int64

	mu    sync.Mutex
	index index
	packs []packState
	lanes []*Lane
	// waiting are finished packs without a name.
	waiting   []finished
	published time.Time
	// err is the first error: what was claimed may then be missing.
	err        error
	ended      bool
	publishing sync.WaitGroup
	busy       bool
}

// packState is a pack as the writer knows it.
type packState struct {
	name format.Hash
	// used says that the golden needs a block of it.
	used bool
}

type finished struct {
	file File
	name format.Hash
	pack int
}

// Begin locks the store against pruning and loads the index of all its blocks. A pack whose index is
// damaged is left out, so that its blocks are stored anew.
func (s *Store) Begin(ctx context.Context) (*Writer, error) {
	if s.locked {
		return nil, errLocked()
	}
	if s.sign == nil {
		return nil, shivx.Hint(errors.New("there is no key to sign a golden with"), "give the store a signing key")
	}
	release, err := s.Lock(ctx, Shared)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	w := &Writer{s: s, id: newID(now), begun: now, published: now, release: release}
	if w.entries, err = newSegmentWriter(s, w.id); err == nil {
		err = w.load(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return w, nil
}

func (w *Writer) load(ctx context.Context) error {
	var names []format.Hash
	for info, err := range w.s.backend.List(ctx, packsDir) {
		if err != nil {
			return fmt.Errorf("list the packs: %w", err)
		}
		if h, ok := parsePackName(info.Name); ok {
			names = append(names, h)
		}
	}
	for _, h := range names {
		w.packs = append(w.packs, packState{name: h})
	}
	return w.s.loadIndex(ctx, &w.index, names, func(h format.Hash, err error) error {
		if !errors.Is(err, format.ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		w.s.log.Warn("a pack is damaged, its blocks are stored anew", "pack", packName(h), "error", err)
		return nil
	})
}

// Stored returns how many bytes of blocks were added to the store, as they are stored.
func (w *Writer) Stored() int64 { return w.stored.Load() }

// ID returns what the golden will be called.
func (w *Writer) ID() string { return w.id }

// Use says whether the store has the block already, or a lane stores it; then the golden needs it.
func (w *Writer) Use(h format.Hash) bool {
	id := w.s.blockID(h)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.use(&id)
}

func (w *Writer) use(id *format.Hash) bool {
	r := w.index.find(id)
	if r == nil {
		return false
	}
	w.packs[r.packNumber()].used = true
	return true
}

// claim says that the caller is to store the block, in its pack.
func (w *Writer) claim(id *format.Hash, pack int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || w.use(id) {
		return false
	}
	w.index.add(&record{id: *id, pack: uint32(pack) << 1})
	w.packs[pack].used = true
	return true
}

// Lane begins a lane. It is to be closed before Commit.
func (w *Writer) Lane() *Lane {
	l := &Lane{w: w, buf: make([]byte, 0, flushSize+format.BlockSize+format.BlockSize/8)}
	enc, err := newEncoder(1)
	_ = w.fail(err)
	l.encoder = enc
	w.mu.Lock()
	defer w.mu.Unlock()
	l.pack = w.newPack()
	w.lanes = append(w.lanes, l)
	return l
}

func (w *Writer) newPack() int {
	w.packs = append(w.packs, packState{})
	return len(w.packs) - 1
}

func (w *Writer) leave(l *Lane) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lanes = slices.DeleteFunc(w.lanes, func(o *Lane) bool { return o == l })
}

// finished takes a lane's pack and returns the number of its next.
func (w *Writer) finished(ctx context.Context, f finished) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packs[f.pack].name = f.name
	w.waiting = append(w.waiting, f)
	if !w.busy && (time.Since(w.published) >= w.s.pace.publishEvery || len(w.waiting) >= publishMost) {
		w.busy = true
		some := w.waiting
		w.waiting = nil
		w.publishing.Go(func() {
			err := w.publish(ctx, some)
			w.mu.Lock()
			w.busy, w.published = false, time.Now()
			w.mu.Unlock()
			_ = w.fail(err)
		})
	}
	return w.newPack()
}

// fail keeps the first error, and returns err.
func (w *Writer) fail(err error) error {
	if err == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	return err
}

func (w *Writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Entry adds an entry, after the one before it in the order of format.ComparePaths. It is not kept.
func (w *Writer) Entry(e *format.Entry) error { return w.fail(w.entries.add(e)) }

// Abort ends the writer. After Commit it does nothing. Packs that have names stay, for the next
// backup.
func (w *Writer) Abort() {
	w.mu.Lock()
	ended := w.ended
	w.ended = true
	w.mu.Unlock()
	if ended {
		return
	}
	w.publishing.Wait()
	for _, l := range w.lanes {
		w.logged(l.discard())
	}
	for _, f := range w.waiting {
		w.logged(f.file.Discard())
	}
	w.logged(w.entries.close())
	w.logged(w.release())
}

func (w *Writer) logged(err error) {
	if err != nil {
		w.s.log.Warn("an unfinished backup is not cleared away", "error", err)
	}
}
