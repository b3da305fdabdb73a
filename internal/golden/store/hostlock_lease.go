package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// hostLock is the name of a lock.
type hostLock struct {
	id     string
	mode   string
	number int
}

func (n hostLock) name() string {
	return fmt.Sprintf("%s%s-%s-%06d.json", locksDir, n.id, n.mode, n.number)
}

func (n hostLock) exclusive() bool { return n.mode == "x" }

func parseHostLock(name string) (hostLock, bool) {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(name, locksDir), ".json"), "-")
	if len(parts) != 3 {
		return hostLock{}, false
	}
	number, err := strconv.Atoi(parts[2])
	n := hostLock{id: parts[0], mode: parts[1], number: number}
	return n, err == nil && n.name() == name
}

// lease is a lock of this process.
type lease struct {
	h    *hostLocks
	id   string
	mode Mode
	// ctx ends, with the reason, when the lock is lost.
	ctx    context.Context //nolint:containedctx // it stands for the lock's life, not for a call
	cancel context.CancelCauseFunc
	// stopped is closed to end the renewal, done when it has ended.
	stopped, done chan struct{}

	// mu guards the rest, which one goroutine alone changes.
	mu sync.Mutex
	// number is that of the newest object, known that of the newest of which it is certain that it was written; 0:
	// there was none yet. The answer to others may have been lost.
	number, known int
	// renewed is when the last renewal was begun that succeeded.
	renewed moment
}

func newLease(ctx context.Context, h *hostLocks, mode Mode) *lease {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	return &lease{h: h, id: ulid.Make().String(), mode: mode, ctx: ctx, cancel: cancel, stopped: make(chan struct{}), done: make(chan struct{})}
}

func (l *lease) lockName(number int) hostLock {
	if l.mode == Exclusive {
		return hostLock{id: l.id, mode: "x", number: number}
	}
	return hostLock{id: l.id, mode: "s", number: number}
}

// moment is a time by two clocks that nobody can set; the second goes on while the machine sleeps.
type moment struct {
	running time.Time
	boot    time.Duration
}

func now() moment {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		ts = unix.Timespec{}
	}
	return moment{running: time.Now(), boot: time.Duration(ts.Nano())}
}

func (m moment) age() time.Duration {
	n := now()
	return max(n.running.Sub(m.running), n.boot-m.boot)
}

// trust is how long a lock holds after its last renewal.
func (l *lease) trust() time.Duration { return l.h.opts.Stale * 3 / 4 }

// check is an error when the lock is lost.
func (l *lease) check() error {
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx)
	}
	l.mu.Lock()
	age := l.renewed.age()
	l.mu.Unlock()
	if age >= l.trust() {
		return l.lose(fmt.Sprintf("it was not renewed for %v", age.Round(time.Second)))
	}
	return nil
}

// lose ends the trust in the lock, and returns why.
func (l *lease) lose(why string) error {
	err := shivx.Hint(fmt.Errorf("%w: %s", ErrLockLost, why), "check the network and the store, then run the same command again")
	l.h.opts.Log.ErrorContext(l.ctx, "the lock of the store is lost", "why", why)
	l.cancel(err)
	return context.Cause(l.ctx)
}

// put writes the lock under its next number, which is used up also by an attempt that fails: it may have been
// written.
func (l *lease) put(ctx context.Context) error {
	data, err := json.Marshal(l.h.record(l.mode))
	if err != nil {
		return err
	}
	begun := now()
	// b.Sync is not asked for: a lock need not outlive this machine.
	f, err := l.h.b.Create(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = f.Discard() }()
	if _, err := f.Write(append(data, '\n')); err != nil {
		return err
	}
	l.mu.Lock()
	l.number++
	number := l.number
	l.mu.Unlock()
	if err := f.Publish(ctx, l.lockName(number).name()); err != nil {
		return err
	}
	l.mu.Lock()
	l.known, l.renewed = number, begun
	l.mu.Unlock()
	return nil
}

// there sees whether the newest lock of which that is certain is in the store, or one after it.
func (l *lease) there(ctx context.Context) error {
	l.mu.Lock()
	known := l.lockName(l.known).name()
	l.mu.Unlock()
	for info, err := range l.h.b.List(ctx, locksDir+l.id) {
		if err != nil {
			return err
		}
		if info.Name >= known {
			return nil
		}
	}
	return l.lose("somebody has removed it")
}

// renew writes the lock anew, and sees whether somebody has taken it for stale.
func (l *lease) renew(ctx context.Context) error {
	known := l.lockName(l.known).name()
	if err := l.put(ctx); err != nil {
		return err
	}
	there := false
	old, now := []string{}, l.lockName(l.known).name()
	for info, err := range l.h.b.List(ctx, locksDir+l.id) {
		if err != nil {
			return err
		}
		there = there || info.Name == known
		if info.Name < now {
			old = append(old, info.Name)
		}
	}
	if !there {
		return l.lose("another host has taken it for stale")
	}
	return l.h.b.Remove(ctx, old...)
}

// renewWaiting keeps the lock of one who waits for others to end.
func (l *lease) renewWaiting(ctx context.Context) error {
	if l.renewed.age() < l.h.opts.Renew {
		return nil
	}
	return l.renew(ctx)
}

// renewAll renews the lock until it is released or lost.
func (l *lease) renewAll(ctx context.Context) {
	defer close(l.done)
	next := time.NewTimer(l.h.opts.Renew)
	defer next.Stop()
	end := time.NewTimer(l.trust())
	defer end.Stop()
	for {
		select {
		case <-l.stopped:
			return
		case <-l.ctx.Done():
			return
		case <-end.C:
			if l.check() != nil {
				return
			}
			end.Reset(l.trust() - l.renewed.age())
		case <-next.C:
			l.renewOnce(ctx)
			next.Reset(l.h.opts.Renew)
		}
	}
}

// renewOnce gives up when the lock would be lost, or is released.
func (l *lease) renewOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, max(0, l.trust()-l.renewed.age()))
	defer cancel()
	go func() {
		select {
		case <-l.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := l.renew(ctx); err != nil && ctx.Err() == nil {
		l.h.opts.Log.Warn("the lock of the store was not renewed", "err", err)
	}
}

// release ends the lock.
func (l *lease) release() error {
	l.h.mu.Lock()
	_, held := l.h.leases[l]
	delete(l.h.leases, l)
	l.h.mu.Unlock()
	if !held {
		return nil
	}
	close(l.stopped)
	<-l.done
	lost := context.Cause(l.ctx)
	l.withdraw(l.ctx)
	return lost
}

// withdraw removes the lock, also when the caller's time is over. What cannot be removed is stale
// some time later.
func (l *lease) withdraw(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	names := []string{}
	for info, err := range l.h.b.List(ctx, locksDir+l.id) {
		if err != nil {
			break
		}
		names = append(names, info.Name)
	}
	if err := l.h.b.Remove(ctx, names...); err != nil {
		l.h.opts.Log.Warn("the lock of the store was not removed; it is stale after some time", "err", err)
	}
}
