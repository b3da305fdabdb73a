package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
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

	mu     sync.Mutex
	leases map[*lease]struct{}
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

// HostLocked is a backend with locks between hosts, for a folder on a network file system.
type HostLocked struct {
	Backend
	locks *hostLocks
}

var _ Locker = (*HostLocked)(nil)

// WithHostLocks adds locks between hosts to a backend; its own locks, if it has any, hold as well.
func WithHostLocks(b Backend, o LockOptions) *HostLocked {
	return &HostLocked{Backend: b, locks: newHostLocks(b, o)}
}

// String is the backend's.
func (h *HostLocked) String() string { return place(h.Backend) }

// Lock takes the lock of the backend first, then that between hosts.
func (h *HostLocked) Lock(ctx context.Context, mode Mode) (func() error, error) {
	inner, err := lock(ctx, h.Backend, mode)
	if err != nil {
		return nil, err
	}
	outer, err := h.locks.Lock(ctx, mode)
	if err != nil {
		return nil, errors.Join(err, inner())
	}
	return func() error { return errors.Join(outer(), inner()) }, nil
}

// Remove removes nothing once the lock is lost.
func (h *HostLocked) Remove(ctx context.Context, names ...string) error {
	if err := h.locks.held(names...); err != nil {
		return err
	}
	return h.Backend.Remove(ctx, names...)
}

// List leaves locks out, unless it is them that are asked for.
func (h *HostLocked) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		for info, err := range h.Backend.List(ctx, prefix) {
			if err == nil && hidden(info.Name, prefix) {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// hidden says whether a name is that of a lock, which only those see who look for locks.
func hidden(name, prefix string) bool {
	return strings.HasPrefix(name, locksDir) && !strings.HasPrefix(prefix, locksDir)
}

// Create begins a file that does not become a golden once the lock is lost.
func (h *HostLocked) Create(ctx context.Context) (File, error) {
	f, err := h.Backend.Create(ctx)
	if err != nil {
		return nil, err
	}
	return &hostLockedFile{File: f, locks: h.locks}, nil
}

type hostLockedFile struct {
	File
	locks *hostLocks
}

func (f *hostLockedFile) Publish(ctx context.Context, name string) error {
	if strings.HasPrefix(name, goldensDir) {
		fenced, cancel, err := f.locks.fence(ctx)
		if err != nil {
			return err
		}
		defer cancel()
		ctx = fenced
	}
	return f.File.Publish(ctx, name)
}

// held is an error when a lock of this process is lost, unless it is locks that are meant.
func (h *hostLocks) held(names ...string) error {
	if !slices.ContainsFunc(names, func(n string) bool { return !strings.HasPrefix(n, locksDir) }) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.leases {
		if err := l.check(); err != nil {
			return err
		}
	}
	return nil
}

// fence returns a context that ends when a lock of this process is lost.
func (h *hostLocks) fence(ctx context.Context) (context.Context, func(), error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stops := []func() bool{}
	for l := range h.leases {
		if err := l.check(); err != nil {
			cancel(err)
			return nil, nil, err
		}
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
