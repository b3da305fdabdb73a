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
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
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
	if err := f.h.call(ctx); err != nil {
		return err
	}
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	if _, there := f.h.objects[name]; there && !strings.HasPrefix(name, goldensDir) {
		return fs.ErrExist
	}
	f.h.objects[name] = bytes.Clone(f.Bytes())
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
func hosts(n int, slow time.Duration) (raw []*host, locked []*HostLocked) {
	m := &memory{objects: make(map[string][]byte), slow: slow}
	for i := range n {
		h := &host{memory: m}
		raw = append(raw, h)
		l := WithHostLocks(h, LockOptions{Host: string(rune('a' + i)), Purpose: "a test"})
		locked = append(locked, l)
	}
	return raw, locked
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestHostLockExcludes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, h := hosts(3, 50*time.Millisecond)
		shared, err := h[0].Lock(t.Context(), Shared)
		require.NoError(t, err)
		again, err := h[1].Lock(t.Context(), Shared)
		require.NoError(t, err)
		_, err = h[2].Lock(within(t, 3*time.Minute), Exclusive)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "host a, process")
		require.ErrorContains(t, err, "host b, process")
		require.ErrorContains(t, err, "(a test)")
		require.Contains(t, shivx.HintOf(err), "wait for it to end")

		require.NoError(t, shared())
		require.NoError(t, again())
		require.NoError(t, again(), "twice is once")
		only, err := h[2].Lock(t.Context(), Exclusive)
		require.NoError(t, err)
		for _, mode := range []Mode{Shared, Exclusive} {
			_, err = h[0].Lock(within(t, time.Minute), mode)
			require.ErrorContains(t, err, "host c")
		}
		require.NoError(t, only())
		require.Empty(t, raw[0].names(), "nothing is left")
	})
}

// A holder that renews its lock keeps it for hours, whatever the time in it says.
func TestHostLockIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, h := hosts(2, time.Second)
		release, err := h[0].Lock(t.Context(), Exclusive)
		require.NoError(t, err)
		_, err = h[1].Lock(within(t, 6*time.Hour), Exclusive)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, h[0].Remove(t.Context(), "packs/x"), "it is still held")
		require.LessOrEqual(t, len(raw[0].names()), 2)
		require.NoError(t, release())
	})
}

// A host that is cut off loses its lock before another takes it, and does nothing from then on.
func TestHostLockIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, h := hosts(2, 0)
		ctx := t.Context()
		release, err := h[0].Lock(ctx, Exclusive)
		require.NoError(t, err)
		f, err := h[0].Create(ctx)
		require.NoError(t, err)
		raw[0].cut.Store(true)
		begun := time.Now()
		lost := make(chan time.Duration, 1)
		go func() {
			for h[0].locks.held("packs/x") == nil {
				time.Sleep(time.Second)
			}
			lost <- time.Since(begun)
		}()
		take, err := h[1].Lock(ctx, Exclusive)
		require.NoError(t, err)
		taken := time.Since(begun)
		require.Less(t, <-lost, taken-time.Minute, "there is time between the two")
		require.InDelta(t, 10*time.Minute, taken, float64(2*time.Minute))

		raw[0].cut.Store(false)
		require.ErrorIs(t, h[0].Remove(ctx, "packs/x"), ErrLockLost)
		err = f.Publish(ctx, "goldens/etc/x.golden")
		require.ErrorIs(t, err, ErrLockLost)
		require.Contains(t, shivx.HintOf(err), "run the same command again")
		require.ErrorIs(t, release(), ErrLockLost)
		require.NoError(t, h[1].Remove(ctx, "packs/x"))
		require.NoError(t, take())
		require.Empty(t, raw[0].names())
		again, err := h[0].Lock(ctx, Exclusive)
		require.NoError(t, err, "afterwards it can be had again")
		require.NoError(t, again())
	})
}

// A short failure of the network costs nothing.
func TestHostLockSurvivesAShortCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, h := hosts(2, 0)
		release, err := h[0].Lock(t.Context(), Shared)
		require.NoError(t, err)
		raw[0].cut.Store(true)
		time.Sleep(5 * time.Minute)
		raw[0].cut.Store(false)
		_, err = h[1].Lock(within(t, time.Hour), Exclusive)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, h[0].locks.held("packs/x"))
		require.NoError(t, release())
	})
}

// One who comes back while another waits for his lock to be stale has lost nothing, or knows it.
func TestHostLockTakenWhileAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, h := hosts(2, 0)
		release, err := h[0].Lock(t.Context(), Exclusive)
		require.NoError(t, err)
		// Somebody has removed it by hand.
		for _, name := range raw[0].names() {
			require.NoError(t, raw[1].Remove(t.Context(), name))
		}
		time.Sleep(2 * time.Minute)
		require.ErrorIs(t, h[0].Remove(t.Context(), "packs/x"), ErrLockLost)
		require.ErrorIs(t, release(), ErrLockLost)
		require.Empty(t, raw[0].names())
	})
}

// However many hosts want it at once, an exclusive lock is never held beside another.
func TestHostLockUnderContention(t *testing.T) {
	for seed := range 20 {
		synctest.Test(t, func(t *testing.T) {
			raw, h := hosts(6, time.Duration(1+seed*30)*time.Millisecond)
			var readers, writers, had atomic.Int64
			var all sync.WaitGroup
			for i := range h {
				all.Go(func() {
					for round := range 5 {
						mode := Shared
						if (i+round)%3 == 0 {
							mode = Exclusive
						}
						release, err := h[i].Lock(t.Context(), mode)
						if err != nil {
							t.Error(err)
							return
						}
						count := &readers
						if mode == Exclusive {
							count = &writers
						}
						count.Add(1)
						for range 5 {
							time.Sleep(time.Duration(rand.IntN(2000)) * time.Millisecond)
							if w := writers.Load(); w > 1 || w == 1 && readers.Load() > 0 {
								t.Error("two hold what one may have")
							}
						}
						count.Add(-1)
						had.Add(1)
						if err := release(); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			require.EqualValues(t, 30, had.Load())
			require.Empty(t, raw[0].names())
		})
	}
}

// The lock of a process of this machine that has ended is taken over at once.
func TestHostLockOfADeadProcess(t *testing.T) {
	raw, h := hosts(1, 0)
	child := exec.Command("true")
	require.NoError(t, child.Run())
	dead := newLease(t.Context(), newHostLocks(raw[0], LockOptions{Host: "gone"}), Exclusive)
	require.NoError(t, dead.put(t.Context()))
	name := dead.lockName(1).name()
	record, err := readLock(t.Context(), raw[0], name)
	require.NoError(t, err)
	require.False(t, record.dead(h[0].locks.record(Shared)), "this process lives")

	record.PID = child.Process.Pid
	require.True(t, record.dead(h[0].locks.record(Shared)))
	elsewhere := record
	elsewhere.Kernel = "another"
	require.False(t, elsewhere.dead(h[0].locks.record(Shared)), "of other machines nothing is known")

	raw[0].objects[name] = bytes.ReplaceAll(raw[0].objects[name], []byte(`"started":"`), []byte(`"started":"9`))
	release, err := h[0].Lock(within(t, 10*time.Second), Exclusive)
	require.NoError(t, err, "the number belongs to another process now")
	require.NoError(t, release())
}

func TestHostLockedFolderIsAStore(t *testing.T) {
	dir := t.TempDir()
	b := WithHostLocks(labFolder(t, dir), LockOptions{})
	st := newLab(t, b)
	_, _ = daily(t, st, 3)
	r, err := st.Prune(t.Context(), PruneOptions{Policy: keepLast(1), Repack: 1})
	require.NoError(t, err)
	require.Equal(t, 2, r.Goldens)
	require.Equal(t, 1, requireAllGood(t, st.Store))
	require.Empty(t, scrubbed(t, st.Store, ScrubOptions{}).Problems)
	require.Empty(t, namesOf(t, b, locksDir))

	other := WithHostLocks(labFolder(t, dir), LockOptions{Host: "other"})
	release, err := b.locks.Lock(t.Context(), Shared)
	require.NoError(t, err)
	_, err = other.Lock(within(t, 100*time.Millisecond), Exclusive)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotContains(t, namesOf(t, b, ""), locksDir)
	require.Len(t, namesOf(t, b, locksDir), 1)
	require.NoError(t, release())
}
