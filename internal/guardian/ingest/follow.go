package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/shivx/shivx"
)

const (
	// A look at the clock suffices where the kernel tells of changes, as it does not on network disks.
	pollWatched   = time.Second
	pollUnwatched = 250 * time.Millisecond
	// drainFor is how long a rotated file must have been quiet until nobody is taken to write to it.
	drainFor = 10 * time.Second
	// clockStep is how far the times of files may be behind the clock.
	clockStep = 10 * time.Millisecond
	// blocksPerRound of one file; then the others and the path are looked at again.
	blocksPerRound = 64
)

// follower reads one log over its rotations.
type follower struct {
	out   *outlet
	path  string
	watch *watcher
	wake  chan struct{}
	poll  time.Duration
	drain time.Duration

	// at is where reading goes on; it is used once.
	at Position
	// files are those that may still grow, oldest first; the last is the one at path, or was.
	files []*tail
	// opened is set once the log is known: all that appears then is new.
	opened bool
	// before tells of the newest file that was read and may be in files no more.
	before mark
	// told are the files that are known to be lost.
	told []identity
	// turn is the file whose lines the parser had last, and due how long from now a file is to be settled;
	// 0: none is.
	turn *tail
	due  time.Duration
	buf  []byte
}

func newFollower(out *outlet, w *watcher, at Position) *follower {
	f := &follower{
		out: out, path: out.log.File, watch: w, wake: make(chan struct{}, 1), poll: pollWatched, drain: drainFor,
		at: at, buf: make([]byte, tailSize+blockSize),
	}
	if w == nil {
		f.poll = pollUnwatched
	}
	out.waits = f.measure
	return f
}

func (f *follower) run(ctx context.Context) {
	defer func() {
		for _, t := range f.files {
			t.close()
		}
	}()
	tick := time.NewTicker(f.poll)
	defer tick.Stop()
	f.watchFolders()
	if f.at != (Position{}) {
		f.resume()
	} else if err := f.first(ctx); err != nil && ctx.Err() != nil {
		return // any other error is told by the first round, which tries again
	}
	for {
		more := f.round(ctx)
		f.out.listen()
		if more {
			if ctx.Err() != nil {
				return
			}
			continue
		}
		var settle <-chan time.Time
		if f.due > 0 {
			settle = time.After(f.due)
		}
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-settle:
		case <-tick.C:
			f.watchFolders()
		}
	}
}

// watchFolders wakes on new files where the path, and what it links to, stand. Folders may come later
// or be made anew.
func (f *follower) watchFolders() {
	for _, p := range placesOf(f.path) {
		if _, err := f.watch.add(p.folder, folderChanges, f.wake); err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.out.o.Logger.Debug("a folder is not watched; it is looked at each second", "folder", p.folder, "error", err)
		}
	}
}

// first opens a log that is new. It says so at once: a position is saved before the first line.
func (f *follower) first(ctx context.Context) error {
	t, err := openTail(f.path)
	if err == nil && !f.out.log.FromStart {
		if err = t.seekEnd(); err != nil {
			t.close()
		}
	}
	if err == nil {
		f.push(t)
	}
	f.opened = err == nil || errors.Is(err, fs.ErrNotExist)
	f.before = mark{modified: time.Now().Add(-clockStep).UnixNano()}
	switch {
	case !f.opened:
		return err
	case !f.out.send(ctx, f.position(), 0):
		return ctx.Err()
	}
	return nil
}

// push takes t as the newest file.
func (f *follower) push(t *tail) {
	f.watchFile(t)
	f.files = append(f.files, t)
}

func (f *follower) watchFile(t *tail) {
	wd, err := f.watch.add(fmt.Sprintf("/proc/self/fd/%d", t.fd), fileChanges, f.wake)
	if err != nil {
		f.out.o.Logger.Warn("a log is not watched; it is looked at each second", "file", f.path, "error", err,
			"hint", "raise fs.inotify.max_user_watches")
	}
	t.wd, t.grown = wd, f.out.o.Now()
}

// remove closes the file numbered i.
func (f *follower) remove(i int) {
	t := f.files[i]
	f.watch.drop(t.wd, f.wake)
	t.close()
	f.files = slices.Delete(f.files, i, i+1)
	if f.turn == t {
		f.turn = nil
	}
}

// round looks for a rotation and reads what there is. It returns true when there may be more.
func (f *follower) round(ctx context.Context) bool {
	err := f.look(ctx)
	more := false
	f.due = 0
	for _, t := range slices.Clone(f.files) {
		left, readErr := f.read(ctx, t)
		if ctx.Err() != nil {
			return false
		}
		switch {
		case errors.Is(readErr, errTruncated):
			f.truncated(t)
			left, readErr = true, nil
		case readErr == nil && !left:
			f.settle(t)
		}
		more = more || left
		if err == nil || errors.Is(err, fs.ErrNotExist) && readErr != nil {
			err = readErr
		}
	}
	f.out.state(err, errors.Is(err, fs.ErrNotExist))
	f.retire(ctx)
	if len(f.out.events) > 0 && !f.out.send(ctx, f.position(), 0) {
		return false
	}
	f.measure()
	return more
}

// position after all that was read. New files of which nothing was read are found again by their place
// after the others.
func (f *follower) position() Position {
	var chain *Position
	var newest Position
	for _, t := range f.files {
		p := t.position()
		p.Held = f.heldOf(t)
		p.Older, chain = chain, p
		if t.off > 0 || newest == (Position{}) {
			newest = *p
		}
	}
	if newest == (Position{}) {
		newest.Modified = f.before.modified
	}
	newest.Opened = true
	return newest
}

// retire lets go of rotated files that nobody writes to any more.
func (f *follower) retire(ctx context.Context) {
	now := f.out.o.Now()
	for len(f.files) > 1 {
		t := f.files[0]
		// A later file must have been read from: until then this one tells where reading goes on.
		if !slices.ContainsFunc(f.files[1:], func(t *tail) bool { return t.off > 0 }) {
			return
		}
		if left, err := t.look(now); err == nil && (left > int64(t.half) || now.Sub(t.grown) < f.drain) {
			return
		}
		if t.half > 0 {
			f.out.cut++
		}
		f.settleNow(t)
		f.remove(0)
		if !f.out.send(ctx, f.position(), 0) {
			return
		}
	}
}

// measure puts the lag into the status.
func (f *follower) measure() {
	var lag int64
	for _, t := range f.files {
		if left, err := t.look(f.out.o.Now()); err == nil {
			lag += left
		}
	}
	f.out.status.set(func(s *LogStatus) { s.Lag = lag })
}

// look takes over the file at path when it is another one.
func (f *follower) look(ctx context.Context) error {
	info, err := os.Stat(f.path)
	if err != nil {
		return shivx.Hint(err, "check the path; the file is read as soon as it is there")
	}
	for _, t := range slices.Clone(f.files) {
		if t.off == 0 {
			f.insertMissed(t)
		}
	}
	if i := slices.IndexFunc(f.files, func(t *tail) bool { return t.id == identify(info) }); i >= 0 {
		// It may have been renamed back: then it is the newest again.
		t := f.files[i]
		f.files = append(slices.Delete(f.files, i, i+1), t)
		return nil
	}
	t, err := openTail(f.path)
	if err != nil {
		return err
	}
	if !f.opened {
		t.close()
		return f.first(ctx)
	}
	if f.holds(t.id) { // renamed back since Stat: the next look puts it in its place
		t.close()
		return nil
	}
	f.push(t)
	f.insertMissed(t)
	return nil
}

// insertMissed puts before t, the newest file, those that were written between the one before it and t.
// As long as nothing of t was read that is looked at again: it may be truncated meanwhile, and a copy
// have what stood in it. It returns true when there are any.
func (f *follower) insertMissed(t *tail) bool {
	i := slices.Index(f.files, t)
	if i < 0 {
		return false
	}
	missed := f.between(f.files[:i], t)
	for _, m := range missed {
		f.watchFile(m)
	}
	f.files = slices.Insert(f.files, i, missed...)
	return len(missed) > 0
}
