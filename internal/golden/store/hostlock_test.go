package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

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

// The answer to a renewal is lost, now and then: the lock holds on, and leaves nothing behind.
func TestHostLockWhoseAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, h := hosts(2, 0)
		release, err := h[0].Lock(t.Context(), Exclusive)
		require.NoError(t, err)
		for range 5 {
			raw[0].deaf.Store(true)
			time.Sleep(3*time.Minute + 7*time.Second) // between two renewals
			require.False(t, raw[0].deaf.Load(), "a renewal had no answer")
			require.NoError(t, h[0].locks.held("packs/x"))
			require.Len(t, raw[0].names(), 1)
		}
		_, err = h[1].Lock(within(t, time.Hour), Shared)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, release())
		require.Empty(t, raw[0].names())
	})
}

// A lock that somebody has removed is found before a golden is published, not only when it is renewed.
func TestHostLockIsLookedForBeforeItIsReliedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, h := hosts(2, 0)
		release, err := h[0].Lock(t.Context(), Shared)
		require.NoError(t, err)
		require.NoError(t, h[0].locks.there(t.Context()))
		for _, name := range raw[0].names() {
			require.NoError(t, raw[1].Remove(t.Context(), name))
		}
		require.ErrorIs(t, h[0].locks.there(t.Context()), ErrLockLost)
		require.ErrorIs(t, h[0].Remove(t.Context(), "packs/x"), ErrLockLost)
		require.ErrorIs(t, release(), ErrLockLost)
	})
}

// Where no lock can be written, who reads goes on without, and neither publishes a golden nor removes anything.
func TestHostLockThatCannotBeWritten(t *testing.T) {
	raw, h := hosts(1, 0)
	h[0].locks.denied = func(err error) bool { return errors.Is(err, errCut) }
	raw[0].readOnly.Store(true)
	release, err := h[0].Lock(t.Context(), Shared)
	require.NoError(t, err)
	_, _, err = h[0].locks.fence(t.Context())
	require.ErrorIs(t, err, ErrLockLost)
	require.ErrorIs(t, h[0].Remove(t.Context(), "packs/x"), ErrLockLost)
	_, err = h[0].Lock(t.Context(), Exclusive)
	require.ErrorIs(t, err, errCut)
	require.Contains(t, shivx.HintOf(err), "lock of their own")
	require.NoError(t, release())
	require.NoError(t, release(), "twice is once")
	raw[0].readOnly.Store(false)
	require.NoError(t, h[0].Remove(t.Context(), "packs/x"))
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
	require.False(t, record.deadBy(h[0].locks.record(Shared), func(int) (string, error) { return "", fs.ErrNotExist }),
		"where the processes of others are hidden nothing is known")
	elsewhere := record
	elsewhere.Kernel = "another"
	require.False(t, elsewhere.dead(h[0].locks.record(Shared)), "of other machines nothing is known")

	raw[0].objects[name] = bytes.ReplaceAll(raw[0].objects[name], []byte(`"started":"`), []byte(`"started":"9`))
	release, err := h[0].Lock(within(t, 10*time.Second), Exclusive)
	require.NoError(t, err, "the number belongs to another process now")
	require.NoError(t, release())
}

func TestStoreWithHostLocks(t *testing.T) {
	dir := t.TempDir()
	b := withHostLocks(labFolder(t, dir), LockOptions{})
	st := newLab(t, b)
	_, _ = daily(t, st, 3)
	r, err := st.Prune(t.Context(), PruneOptions{Policy: keepLast(1), Repack: 1})
	require.NoError(t, err)
	require.Equal(t, 2, r.Goldens)
	require.Equal(t, 1, requireAllGood(t, st.Store))
	require.Empty(t, scrubbed(t, st.Store, ScrubOptions{}).Problems)
	require.Empty(t, namesOf(t, b, locksDir))

	other := withHostLocks(labFolder(t, dir), LockOptions{Host: "other"})
	release, err := b.locks.Lock(t.Context(), Shared)
	require.NoError(t, err)
	_, err = other.Lock(within(t, 100*time.Millisecond), Exclusive)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotContains(t, namesOf(t, b, ""), locksDir)
	require.Len(t, namesOf(t, b, locksDir), 1)
	require.NoError(t, release())
}
