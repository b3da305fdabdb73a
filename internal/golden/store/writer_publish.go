package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx/internal/golden/format"
)

// publishEvery is how often finished packs get their names while a backup runs, so that the next one
// has what a killed one stored; publishMost bounds how many have none, as each is an open file: lanes wait
// then. To a backend that uploads they go at once, and uploadsAhead times as many as it takes may wait.
const (
	publishEvery = 30 * time.Second
	publishMost  = 256
	uploadsAhead = 4
)

// pace says when packs end and when they get their names.
type pace struct {
	publishEvery time.Duration
	publishMost  int
	packSize     int64
}

// full says whether a pack of that size, with an index of that length yet to be written, has to end.
func (p pace) full(size int64, index int) bool {
	return size+int64(index) >= p.packSize || index >= format.PackIndex
}

// paceOf is the pace of a backend.
func paceOf(b Backend) pace {
	p := pace{publishEvery: publishEvery, publishMost: publishMost, packSize: format.PackSize}
	if n := uploads(b); n > 1 {
		p.publishEvery, p.publishMost = 0, uploadsAhead*n
	}
	return p
}

func uploads(b Backend) int {
	if u, ok := b.(Uploader); ok {
		return u.Uploads()
	}
	return 1
}

// finished takes a lane's pack and returns the number of its next, when there is room for that.
func (w *Writer) finished(ctx context.Context, f finished) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packs[f.pack].name = f.name
	w.waiting = append(w.waiting, f)
	w.nameless++
	w.beginPublishing()
	defer context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.room.Broadcast()
	})()
	for w.nameless >= max(1, w.s.pace.publishMost) && w.err == nil && ctx.Err() == nil {
		w.room.Wait()
	}
	return w.newPack()
}

// beginPublishing names what waits, in the background, when it is time; the caller holds mu.
func (w *Writer) beginPublishing() {
	due := time.Since(w.published) >= w.s.pace.publishEvery || 2*len(w.waiting) >= w.s.pace.publishMost
	if w.busy || len(w.waiting) == 0 || w.err != nil || w.ended || !due {
		return
	}
	w.busy = true
	some := w.waiting
	w.waiting = nil
	w.publishing.Go(func() {
		_ = w.fail(w.publish(w.ctx, some))
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy, w.published = false, time.Now()
		w.nameless -= len(some)
		w.beginPublishing()
		w.room.Broadcast()
	})
}

// publish makes packs durable and then gives them their names.
func (w *Writer) publish(ctx context.Context, packs []finished) error {
	if len(packs) == 0 {
		return nil
	}
	err := w.s.backend.Sync(ctx)
	group, some := errgroup.WithContext(ctx)
	group.SetLimit(uploads(w.s.backend))
	for _, f := range packs {
		group.Go(func() error {
			failed := cmp.Or(err, some.Err())
			if failed == nil {
				failed = w.publishPack(some, f)
			}
			if failed != nil {
				failed = errors.Join(failed, f.file.Discard())
			}
			return failed
		})
	}
	return group.Wait()
}

// publishPack names a pack. One of that name is there where another writer stored the same, and
// where its index was damaged so that this one stored its blocks anew: then it is replaced.
func (w *Writer) publishPack(ctx context.Context, f finished) error {
	name := packName(f.name)
	err := f.file.Publish(ctx, name)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	damages, err := w.s.checkPack(ctx, f.name, nil, nil, func(int64) {})
	if err != nil {
		return err
	}
	for _, d := range damages {
		if !d.Proven() {
			return fmt.Errorf("look into %s, which is there already: %w", name, d.Err)
		}
	}
	if len(damages) == 0 {
		return f.file.Discard()
	}
	w.s.log.Warn("a damaged pack is replaced", "pack", name)
	defer w.s.files.forget([]format.Hash{f.name})
	return f.file.Replace(ctx, name)
}
