package store

import (
	"context"
	"fmt"
	"time"
)

// watch is what one who waits has seen of the locks of others.
type watch struct {
	h    *hostLocks
	seen map[string]sighting
}

type sighting struct {
	number int
	since  time.Time
}

// look returns the locks that are in the way, after it has removed those that are stale, and whether
// the own lock is still there.
func (w *watch) look(ctx context.Context, own *lease) (others []hostLock, mine bool, err error) {
	locks, names := make(map[string]hostLock), make(map[string][]string)
	for info, err := range w.h.b.List(ctx, locksDir) {
		if err != nil {
			return nil, false, err
		}
		if n, ok := parseHostLock(info.Name); ok {
			locks[n.id] = n // the last number stands last
			names[n.id] = append(names[n.id], info.Name)
		}
	}
	for id, n := range locks {
		if id == own.id {
			mine = true
			continue
		}
		if own.mode == Shared && !n.exclusive() {
			continue
		}
		others = append(others, n)
		why := w.stale(ctx, n)
		if why == "" {
			continue
		}
		// It stays in the way until the next look: its holder may have renewed it just now.
		w.h.opts.Log.Warn("a lock of the store is removed", "lock", n.name(), "why", why)
		if err := w.h.b.Remove(ctx, names[id]...); err != nil {
			return nil, false, err
		}
	}
	return others, mine, nil
}

// stale says why a lock holds no more, or "".
func (w *watch) stale(ctx context.Context, n hostLock) string {
	before, known := w.seen[n.id]
	if known && before.number == n.number {
		if age := time.Since(before.since); age > w.h.opts.Stale {
			return fmt.Sprintf("it was not renewed for %v", age.Round(time.Second))
		}
		return ""
	}
	w.seen[n.id] = sighting{number: n.number, since: time.Now()}
	if known {
		return ""
	}
	if r, err := readLock(ctx, w.h.b, n.name()); err == nil && r.dead(w.h.record(Shared)) {
		return fmt.Sprintf("process %d of this host has ended", r.PID)
	}
	return ""
}
