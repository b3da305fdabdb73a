package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// memory is a backend that several hosts share. Each call takes a while.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	slow    time.Duration
}

// host is the backend as one host sees it. Nothing comes through while it is cut off.
type host struct {
	*memory
	cut atomic.Bool
	// deaf loses the answer to the next thing that is written.
	deaf atomic.Bool
	// readOnly lets nothing be written.
	readOnly atomic.Bool
}

var errCut = errors.New("network is unreachable")

func (h *host) call(ctx context.Context) error {
	if h.slow > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(h.slow)):
		}
	}
	if h.cut.Load() {
		return errCut
	}
	return ctx.Err()
}

// names are those of all objects.
func (m *memory) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.objects))
}

type memoryFile struct {
	bytes.Buffer
	h *host
}

func (h *host) Create(context.Context) (File, error) { return &memoryFile{h: h}, nil }
func (h *host) Sync(context.Context) error           { return nil }
func (f *memoryFile) Discard() error                 { return nil }

func (f *memoryFile) Publish(ctx context.Context, name string) error {
	return f.publish(ctx, name, strings.HasPrefix(name, goldensDir))
}

func (f *memoryFile) Replace(ctx context.Context, name string) error {
	return f.publish(ctx, name, true)
}

func (f *memoryFile) publish(ctx context.Context, name string, replace bool) error {
	if err := f.h.call(ctx); err != nil {
		return err
	}
	if f.h.readOnly.Load() {
		return errCut
	}
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	if _, there := f.h.objects[name]; there && !replace {
		return fs.ErrExist
	}
	f.h.objects[name] = bytes.Clone(f.Bytes())
	if f.h.deaf.CompareAndSwap(true, false) {
		return errCut
	}
	return nil
}

func (h *host) Open(ctx context.Context, name string) (Object, error) {
	if err := h.call(ctx); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	data, ok := h.objects[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return memoryObject{bytes.NewReader(data)}, nil
}

func (h *host) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		if err := h.call(ctx); err != nil {
			yield(ObjectInfo{}, err)
			return
		}
		h.mu.Lock()
		infos := []ObjectInfo{}
		for name, data := range maps.All(h.objects) {
			if strings.HasPrefix(name, prefix) {
				infos = append(infos, ObjectInfo{name, int64(len(data))})
			}
		}
		h.mu.Unlock()
		slices.SortFunc(infos, func(a, b ObjectInfo) int { return cmp.Compare(a.Name, b.Name) })
		for _, i := range infos {
			if !yield(i, nil) {
				return
			}
		}
	}
}

func (h *host) Remove(ctx context.Context, names ...string) error {
	if err := h.call(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range names {
		delete(h.objects, n)
	}
	return nil
}

// hosts are some that share a backend. Their processes cannot see each other.
func hosts(n int, slow time.Duration) (raw []*host, locked []*lockedHost) {
	m := &memory{objects: make(map[string][]byte), slow: slow}
	for i := range n {
		h := &host{memory: m}
		raw = append(raw, h)
		l := withHostLocks(h, LockOptions{Host: string(rune('a' + i)), Purpose: "a test"})
		locked = append(locked, l)
	}
	return raw, locked
}

// lockedHost adds locks between hosts to a backend, as S3 has them.
type lockedHost struct {
	Backend
	locks *hostLocks
}

var _ Locker = (*lockedHost)(nil)

// withHostLocks adds locks between hosts to a backend; its own locks, if it has any, hold as well.
func withHostLocks(b Backend, o LockOptions) *lockedHost {
	return &lockedHost{Backend: b, locks: newHostLocks(b, o)}
}

// String is the backend's.
func (h *lockedHost) String() string { return place(h.Backend) }

// Lock takes the lock of the backend first, then that between hosts.
func (h *lockedHost) Lock(ctx context.Context, mode Mode) (func() error, error) {
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
func (h *lockedHost) Remove(ctx context.Context, names ...string) error {
	if err := h.locks.held(names...); err != nil {
		return err
	}
	return h.Backend.Remove(ctx, names...)
}

// List leaves locks out, unless it is them that are asked for.
func (h *lockedHost) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
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

// Create begins a file that does not become a golden once the lock is lost.
func (h *lockedHost) Create(ctx context.Context) (File, error) {
	f, err := h.Backend.Create(ctx)
	if err != nil {
		return nil, err
	}
	return &lockedHostFile{File: f, locks: h.locks}, nil
}

type lockedHostFile struct {
	File
	locks *hostLocks
}

func (f *lockedHostFile) Publish(ctx context.Context, name string) error {
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
