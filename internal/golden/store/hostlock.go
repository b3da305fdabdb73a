package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shivx/shivx"
)

// Locks between hosts are objects below locks/, named <ulid>-<mode>-<number>.json. Who wants the
// store puts its lock first and looks for others afterwards: of two who meet, at least one sees the
// other and gives way. A holder renews its lock all the time, which gives it a higher number.
//
// No clock is compared with that of another host. A lock is stale when somebody has watched it for
// LockOptions.Stale, by a clock of his own that nobody can set, and its number has stayed the same. A
// holder that could not renew its lock for three quarters of that time takes it for lost, and neither
// publishes a golden nor removes anything from then on.

const locksDir = "locks/"

// LockOptions say how a store is locked between hosts.
type LockOptions struct {
	// Host is shown to those who wait; empty: this host's name.
	Host string
	// Purpose is shown as well, such as "backup of etc".
	Purpose string
	// Renew is how often a lock is renewed, and Stale after how long without that it holds no more.
	// Zero: one minute, and ten.
	Renew, Stale time.Duration
	// Log gets a word on locks that are stale or lost. Nil: nobody does.
	Log *slog.Logger
}

// ErrLockLost says that this process could not renew its lock, and others may be at work.
var ErrLockLost = errors.New("the lock of the store is lost")

// hostLocks are the locks that this process has, or waits for.
type hostLocks struct {
	b    Backend
	opts LockOptions

	// denied says whether an error means that nothing can be written; nil: none does.
	denied func(error) bool

	mu     sync.Mutex
	leases map[*lease]struct{}
	// unlocked are those who read without a lock, as none could be written.
	unlocked int
}

func newHostLocks(b Backend, o LockOptions) *hostLocks {
	if o.Renew == 0 {
		o.Renew = time.Minute
	}
	if o.Stale == 0 {
		o.Stale = 10 * time.Minute
	}
	if o.Host == "" {
		o.Host, _ = os.Hostname()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &hostLocks{b: b, opts: o, leases: make(map[*lease]struct{})}
}

// hidden says whether a name is that of a lock, which only those see who look for locks.
func hidden(name, prefix string) bool {
	return strings.HasPrefix(name, locksDir) && !strings.HasPrefix(prefix, locksDir)
}

// locksOnly says whether all names are those of locks, which are written and removed without having one.
func locksOnly(names []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return !strings.HasPrefix(n, locksDir) })
}

// held is an error when a lock of this process is lost, unless it is locks that are meant.
func (h *hostLocks) held(names ...string) error {
	if locksOnly(names) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.check()
}

// check is held for all locks; the caller holds mu.
func (h *hostLocks) check() error {
	if h.unlocked > 0 {
		return shivx.Hint(fmt.Errorf("%w: none could be written, so that nothing but reading is safe", ErrLockLost),
			"make the store writable, and make room in it, then run the same command again")
	}
	for l := range h.leases {
		if err := l.check(); err != nil {
			return err
		}
	}
	return nil
}

// there sees whether the locks of this process are still in the store: one that others took for that of a
// dead process is lost before its time.
func (h *hostLocks) there(ctx context.Context) error {
	h.mu.Lock()
	leases := slices.Collect(maps.Keys(h.leases))
	h.mu.Unlock()
	for _, l := range leases {
		if err := l.there(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fence returns a context that ends when a lock of this process is lost.
func (h *hostLocks) fence(ctx context.Context) (context.Context, func(), error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.check(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stops := []func() bool{}
	for l := range h.leases {
		stops = append(stops, context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) }))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}, nil
}

// Lock waits for the lock; release ends it, and is an error when it was lost meanwhile.
func (h *hostLocks) Lock(ctx context.Context, mode Mode) (release func() error, err error) {
	l := newLease(ctx, h, mode)
	w := &watch{h: h, seen: make(map[string]sighting)}
	for {
		has, err := w.try(ctx, l)
		if has {
			h.start(ctx, l)
			return l.release, nil
		}
		l.withdraw(ctx)
		if err != nil && h.denied != nil && h.denied(err) {
			return h.unwritable(ctx, mode, err)
		}
		if err == nil {
			err = h.pause(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil, w.refused(ctx, l)
		case err != nil:
			return nil, fmt.Errorf("lock the store: %w", err)
		}
	}
}

// unwritable is the lock of a store in which no lock can be written: who only reads does without one, and
// while he does this process publishes no golden and removes nothing.
func (h *hostLocks) unwritable(ctx context.Context, mode Mode, err error) (func() error, error) {
	if mode == Exclusive {
		err = fmt.Errorf("lock the store: %w", err)
		return nil, shivx.Hint(err, "a prune and a repair need a lock of their own, which is an object of some hundred bytes: "+
			"let this host's key write and remove, or enlarge the room for as long as the prune takes, then run the same command again")
	}
	h.opts.Log.WarnContext(ctx, "the store cannot be written and is read without a lock: nobody must prune it meanwhile", "err", err)
	h.mu.Lock()
	h.unlocked++
	h.mu.Unlock()
	return sync.OnceValue(func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.unlocked--
		return nil
	}), nil
}

// try puts the lock and looks for others. While only shared ones are in the way of an exclusive one, it
// stays, so that no new ones come past it. Otherwise the caller is to withdraw it.
func (w *watch) try(ctx context.Context, l *lease) (has bool, err error) {
	if err := l.put(ctx); err != nil {
		return false, err
	}
	for {
		others, mine, err := w.look(ctx, l)
		if err != nil || !mine {
			return false, err
		}
		if len(others) == 0 {
			return true, nil
		}
		if l.mode == Shared || slices.ContainsFunc(others, hostLock.exclusive) {
			return false, nil
		}
		if err := w.h.pause(ctx); err != nil {
			return false, err
		}
		if err := l.renewWaiting(ctx); err != nil {
			return false, err
		}
	}
}

func (h *hostLocks) start(ctx context.Context, l *lease) {
	h.mu.Lock()
	h.leases[l] = struct{}{}
	h.mu.Unlock()
	go l.renewAll(context.WithoutCancel(ctx))
}

// pause is a random time, so that two who give way do not meet again and again.
func (h *hostLocks) pause(ctx context.Context) error {
	most := min(max(h.opts.Renew/30, 20*time.Millisecond), 2*time.Second)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(most/2 + rand.N(most/2)):
		return nil
	}
}
