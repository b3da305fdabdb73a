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

// Writer makes one golden. Its methods, Entry excepted, may be called by many goroutines at once.
type Writer struct {
	s *Store
	// ctx is that of Begin, for what has none of its own.
	ctx     context.Context //nolint:containedctx // see above
	id      string
	begun   time.Time
	release func() error
	entries *segmentWriter

	stored atomic.Int64

	mu    sync.Mutex
	index index
	packs []packState
	lanes []*Lane
	// waiting are finished packs without a name; nameless counts also those that get theirs just now. Lanes wait
	// for room when there are too many.
	waiting   []finished
	nameless  int
	room      sync.Cond
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
	// foreign says that no trusted golden names it, so that its index alone says what its blocks are: each is read
	// before it is relied on, and counted to the pack of the number vouched from then on; 0: there is none yet.
	foreign bool
	vouched int
	// doubted says that one of them was not what the index says.
	doubted bool
}

type finished struct {
	file File
	name format.Hash
	pack int
}

// Begin locks the store against pruning and loads the index of all its blocks. A pack whose index is
// damaged is left out, so that its blocks are stored anew. ctx is also that of reads that Use needs. The error is
// ErrKeyReplaced when the store's key is not that of the goldens.
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
	w := &Writer{s: s, ctx: ctx, id: newID(now), begun: now, published: now, release: release}
	w.room.L = &w.mu
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
	vouched, err := w.s.vouched(ctx, names)
	if err != nil {
		return err
	}
	bad := func(h format.Hash, err error) error {
		if !errors.Is(err, format.ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		w.s.log.Warn("a pack is damaged, its blocks are stored anew", "pack", packName(h), "error", err)
		return nil
	}
	// Those of trusted goldens first: of a block that others claim to have, theirs is taken.
	for _, foreign := range []bool{false, true} {
		var some []format.Hash
		first := len(w.packs)
		for _, h := range names {
			if vouched[h] != foreign {
				some = append(some, h)
				w.packs = append(w.packs, packState{name: h, foreign: foreign})
			}
		}
		if err := w.s.loadIndex(ctx, &w.index, first, some, bad); err != nil {
			return err
		}
	}
	return nil
}

// Stored returns how many bytes of blocks were added to the store, as they are stored.
func (w *Writer) Stored() int64 { return w.stored.Load() }

// ID returns what the golden will be called.
func (w *Writer) ID() string { return w.id }

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

// fail keeps the first error, and returns err.
func (w *Writer) fail(err error) error {
	if err == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		w.room.Broadcast()
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
