package integrity

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// notice takes what the kernel tells of, if it is ours.
func (w *Watch) notice(path string, deep bool) {
	if path == "" || w.isOwn(path) || w.scope.covers(path) || len(w.scope.above(path)) > 0 {
		w.queue.put(path, deep)
	}
}

// isOwn says whether the path is the baseline's.
func (w *Watch) isOwn(path string) bool {
	return path == w.Dir || path == w.store.path(baselineName) || path == w.store.path(keyName)
}

// follow looks at what the kernel tells of.
func (w *Watch) follow(ctx context.Context) {
	var later <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-later:
		case <-w.queue.came:
			w.settle(ctx)
		}
		shallow, deep, lost, next := w.queue.get(time.Now())
		later = nil
		if !next.IsZero() {
			later = time.After(time.Until(next))
		}
		if lost {
			w.mu.Lock()
			w.watching.Overflows++
			w.mu.Unlock()
			w.Logger.Warn("more has changed than the kernel could tell; everything is verified")
			w.requestVerification()
		}
		w.changed(ctx, shallow, deep)
	}
}

// settle waits until nothing has come for a while.
func (w *Watch) settle(ctx context.Context) {
	end := time.Now().Add(patience)
	for time.Now().Before(end) {
		select {
		case <-ctx.Done():
			return
		case <-w.queue.came:
		case <-time.After(quiet):
			return
		}
	}
}

// changed looks at paths that have changed.
func (w *Watch) changed(ctx context.Context, shallow, deep []string) {
	b := &batch{reader: w.newReader(), swift: true}
	if slices.ContainsFunc(shallow, w.isOwn) || slices.ContainsFunc(deep, w.isOwn) {
		w.saving.Lock()
		if w.started {
			w.checkSeal(ctx, b)
		}
		w.saving.Unlock()
	}
	w.mu.Lock()
	ready := w.base.At != (time.Time{}) || len(w.base.entries) > 0
	w.mu.Unlock()
	if !ready {
		return // the first verification looks at everything
	}
	slices.Sort(shallow)
	for _, path := range shallow {
		root, ok := w.scope.owner(path)
		if !ok {
			deep = append(deep, w.scope.above(path)...)
			continue
		}
		begin := time.Now()
		s := b.reader.observe(path, root)
		w.look(ctx, b, s)
		w.queue.took(path, time.Since(begin))
		if w.isFolder(path) != (s.form == folderForm) {
			deep = append(deep, path)
		}
	}
	if starts := w.scope.starts(deep); len(starts) > 0 {
		w.watchAbove()
		if err := w.sweep(ctx, b, starts, true); err != nil && !errors.Is(err, context.Canceled) {
			w.Logger.Error("changed files could not be looked at", "error", err)
		}
	}
	w.finish(ctx, b)
	w.tellUnwatched(ctx)
}

// isFolder says whether the baseline has a folder there.
func (w *Watch) isFolder(path string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.base.find(path).form == folderForm
}

// watchAnew begins the watch of everything, which the walk over it goes on with.
func (w *Watch) watchAnew() {
	w.mu.Lock()
	n := w.notifier
	w.mu.Unlock()
	if n != nil {
		n.retry()
		w.watchAbove()
	}
}

// watchAbove has the folders watched that hold the roots, or where one is missing the nearest folder
// on the way to it; and the baseline's own.
func (w *Watch) watchAbove() {
	w.mu.Lock()
	n := w.notifier
	w.mu.Unlock()
	if n == nil {
		return
	}
	n.own(w.Dir)
	for _, root := range w.scope.roots {
		at := filepath.Dir(root)
		for at != "/" && unix.Access(at, unix.F_OK) != nil {
			at = filepath.Dir(at)
		}
		n.above(at)
	}
}

// tellUnwatched says so when the kernel does not take all watches.
func (w *Watch) tellUnwatched(ctx context.Context) {
	w.mu.Lock()
	n, before := w.notifier, w.watching
	if n == nil {
		w.mu.Unlock()
		return
	}
	var reason error
	w.watching.Watched, w.watching.Unwatched, reason = n.counts()
	w.watching.Error = ""
	if errors.Is(reason, unix.ENOSPC) {
		reason = fmt.Errorf("the limit fs.inotify.max_user_watches is reached: %w", reason)
	}
	if reason != nil {
		w.watching.Error = reason.Error()
	}
	now := w.watching
	w.mu.Unlock()
	if now.Unwatched > 0 && before.Unwatched == 0 {
		w.Logger.Warn("the kernel does not tell of all changes; those are found by verification",
			"unwatched", now.Unwatched, "every", w.Rules.Every, "error", reason, "hint", "raise fs.inotify.max_user_watches with sysctl")
		w.record(ctx, RecordUnwatched, now)
	}
}
