package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// sluggish is a backend that names nothing before it is let go on.
type sluggish struct {
	Backend
	goOn chan struct{}
	fail error
	// waiting are as many as want to name a file just now, most is how many there were.
	waiting, most atomic.Int64
}

type sluggishFile struct {
	File
	s *sluggish
}

func (s *sluggish) Create(ctx context.Context) (File, error) {
	f, err := s.Backend.Create(ctx)
	return &sluggishFile{File: f, s: s}, err
}

func (f *sluggishFile) Publish(ctx context.Context, name string) error {
	n := f.s.waiting.Add(1)
	defer f.s.waiting.Add(-1)
	for most := f.s.most.Load(); n > most && !f.s.most.CompareAndSwap(most, n); most = f.s.most.Load() {
	}
	select {
	case <-f.s.goOn:
	case <-ctx.Done():
		return ctx.Err()
	}
	return errors.Join(f.s.fail, f.File.Publish(ctx, name))
}

// A backend that is slower than the lanes makes them wait, before they fill a disk or have too many files open.
func TestLanesWaitForASlowBackend(t *testing.T) {
	_, dir := newStore(t, options())
	s := openStore(t, dir, options())
	slow := &sluggish{Backend: s.backend, goOn: make(chan struct{})}
	s.backend = slow
	s.pace = pace{publishMost: 4, packSize: 1000, publishEvery: publishEvery}
	w, err := s.Begin(t.Context())
	require.NoError(t, err)
	const packs = 20
	done, ended := make(chan error, 2), make(chan struct{})
	var lanes sync.WaitGroup
	for lane := range 2 {
		l := w.Lane()
		lanes.Go(func() {
			var err error
			for i := range packs {
				data := noise(uint64(lane*packs+i), 1000)
				err = errors.Join(err, l.Put(t.Context(), format.Sum(data), data))
			}
			done <- errors.Join(err, l.Close())
		})
	}
	go func() {
		lanes.Wait()
		close(ended)
	}()
	most := 0
	for working := true; working; {
		select {
		case slow.goOn <- struct{}{}:
		case <-ended: // the rest is named by Commit
			working = false
		}
		w.mu.Lock()
		most = max(most, w.nameless)
		w.mu.Unlock()
	}
	require.LessOrEqual(t, most, 4+1, "and one that the other lane has just finished")
	close(slow.goOn)
	require.NoError(t, errors.Join(<-done, <-done))
	g, err := w.Commit(t.Context(), testHeader("web"))
	require.NoError(t, err)
	require.Len(t, g.Header().Packs, 2*packs)
	require.NoError(t, g.Check(t.Context(), nil, nil))
}

// A failure, and the end of the caller's time, end the waiting.
func TestLanesDoNotWaitForever(t *testing.T) {
	for name, fail := range map[string]error{"failure": errDisk, "end": nil} {
		t.Run(name, func(t *testing.T) {
			_, dir := newStore(t, options())
			s := openStore(t, dir, options())
			slow := &sluggish{Backend: s.backend, goOn: make(chan struct{}), fail: fail}
			s.backend = slow
			s.pace = pace{publishMost: 2, packSize: 1000, publishEvery: publishEvery}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w, err := s.Begin(ctx)
			require.NoError(t, err)
			defer w.Abort()
			l := w.Lane()
			go func() {
				if fail == nil {
					cancel()
					return
				}
				slow.goOn <- struct{}{}
			}()
			for i := 0; err == nil; i++ {
				data := noise(uint64(i), 1000)
				err = l.Put(ctx, format.Sum(data), data)
			}
			if fail == nil {
				require.ErrorIs(t, err, context.Canceled)
			} else {
				require.ErrorIs(t, err, fail)
			}
			_ = l.Close()
			_, err = w.Commit(t.Context(), testHeader("web"))
			require.Error(t, err)
		})
	}
}

// distant is a sluggish backend that uploads.
type distant struct{ *sluggish }

func (distant) Uploads() int { return 3 }

// To a distant backend several packs are on their way at once, and the first as soon as it is complete.
func TestSeveralPacksAreUploadedAtOnce(t *testing.T) {
	_, dir := newStore(t, options())
	s := openStore(t, dir, options())
	slow := &sluggish{Backend: s.backend, goOn: make(chan struct{})}
	s.backend = distant{slow}
	s.pace = paceOf(s.backend)
	require.Equal(t, 3*uploadsAhead, s.pace.publishMost)
	s.pace.packSize = 1000
	w, err := s.Begin(t.Context())
	require.NoError(t, err)
	l := w.Lane()
	put := func(i uint64) {
		data := noise(i, 1000)
		require.NoError(t, l.Put(t.Context(), format.Sum(data), data))
	}
	put(0)
	require.Eventually(t, func() bool { return slow.waiting.Load() == 1 }, 10*time.Second, time.Millisecond, "it waits for no others")
	for i := range uint64(9) {
		put(i + 1)
	}
	slow.goOn <- struct{}{}
	require.Eventually(t, func() bool { return slow.waiting.Load() == 3 }, 10*time.Second, time.Millisecond)
	close(slow.goOn)
	require.NoError(t, l.Close())
	g, err := w.Commit(t.Context(), testHeader("web"))
	require.NoError(t, err)
	require.Len(t, g.Header().Packs, 10)
	require.LessOrEqual(t, slow.most.Load(), int64(3))
}

// A pack of blocks that are next to nothing ends before its index is more than who reads it should have in memory.
func TestPacksOfTinyBlocksAreShort(t *testing.T) {
	s, _ := newStore(t, options())
	w, err := s.Begin(t.Context())
	require.NoError(t, err)
	l := w.Lane()
	blocks := format.PackIndex/format.PackRecord + 10
	for i := range blocks {
		data := fmt.Append(nil, i)
		require.NoError(t, l.Put(t.Context(), format.Sum(data), data))
	}
	require.NoError(t, l.Close())
	g, err := w.Commit(t.Context(), testHeader("web"))
	require.NoError(t, err)
	require.Len(t, g.Header().Packs, 2)
	require.NoError(t, g.Check(t.Context(), nil, nil))
}
