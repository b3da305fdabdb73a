package capture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// tree makes some hundred files in folders, and two large ones.
func tree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 400 {
		write(t, fmt.Sprintf("%s/%02d/%d/f", dir, i%40, i), fmt.Sprint("file ", i))
	}
	write(t, dir+"/big", noise(1, 3*format.BlockSize))
	write(t, dir+"/zbig", noise(2, 3*format.BlockSize))
	return dir
}

func TestFailuresEndTheCaptureAndLeaveNothingOpen(t *testing.T) {
	dir := tree(t)
	full := errors.New("disk full")
	for _, c := range []struct {
		name string
		run  func(m *memory) (Result, error)
		want error
	}{
		{"put", func(m *memory) (Result, error) {
			m.putErr = full
			return Run(t.Context(), m, Options{Roots: []string{dir}})
		}, full},
		{"entry", func(m *memory) (Result, error) {
			m.entryErr = full
			return Run(t.Context(), m, Options{Roots: []string{dir}})
		}, full},
		{"close", func(m *memory) (Result, error) {
			m.closeErr = full
			return Run(t.Context(), m, Options{Roots: []string{dir}})
		}, full},
		{"canceled before", func(m *memory) (Result, error) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return Run(ctx, m, Options{Roots: []string{dir}})
		}, context.Canceled},
		{"canceled under way", func(m *memory) (Result, error) {
			ctx, cancel := context.WithCancel(t.Context())
			return Run(ctx, m, Options{Roots: []string{dir}, trace: at("opened", dir+"/20/20/f", 1, cancel)})
		}, context.Canceled},
		{"canceled in a large file", func(m *memory) (Result, error) {
			ctx, cancel := context.WithCancel(t.Context())
			return Run(ctx, m, Options{Roots: []string{dir}, trace: at("opened", dir+"/big", 1, cancel)})
		}, context.Canceled},
		{"missing overlay", func(m *memory) (Result, error) {
			return Run(t.Context(), m, Options{Roots: []string{dir}, Overlays: map[string]string{dir + "/30/o": dir + "/none"}})
		}, fs.ErrNotExist},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, routines := openFiles(t), runtime.NumGoroutine()
			m := newMemory()
			_, err := c.run(m)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, files, openFiles(t))
			// Those that have done their work may not be gone yet.
			for range 100_000 {
				if runtime.NumGoroutine() > routines {
					runtime.Gosched()
				}
			}
			require.LessOrEqual(t, runtime.NumGoroutine(), routines)
			require.Equal(t, m.lanes, m.closed)
		})
	}
}

func TestDamagedPreviousIsDoneWithout(t *testing.T) {
	dir := tree(t)
	first := newMemory()
	capture(t, first, Options{Roots: []string{dir}, now: later})
	damaged := errors.New("segment 1: damaged")
	half := iter.Seq2[*format.Entry, error](func(yield func(*format.Entry, error) bool) {
		for i := range first.entries[:len(first.entries)/2] {
			if !yield(&first.entries[i], nil) {
				return
			}
		}
		yield(nil, damaged)
	})
	m := first.after()
	r, err := Run(t.Context(), m, Options{Roots: []string{dir}, Previous: half, now: later})
	require.NoError(t, err)
	require.ErrorIs(t, r.PreviousErr, damaged)
	require.Positive(t, r.Unchanged)
	require.Positive(t, r.Read)
	checkGolden(t, m, r)
	require.Equal(t, first.entries, m.entries)
}

// Entries of a golden of other roots, before, between and after ours, and more of them than are read
// ahead.
func TestPreviousOfOtherRoots(t *testing.T) {
	dir := tree(t)
	first := newMemory()
	capture(t, first, Options{Roots: []string{dir}, now: later})
	o := Options{Roots: []string{dir + "/05", dir + "/10/10", dir + "/zbig"}, Previous: first.all()}
	m := first.after()
	r := capture(t, m, o)
	require.Zero(t, r.Read)
	require.EqualValues(t, 12, r.Unchanged)
	o = Options{Roots: []string{dir}, Previous: m.all(), now: later}
	all := m.after()
	r = capture(t, all, o)
	require.EqualValues(t, 12, r.Unchanged)
	require.Equal(t, first.entries, all.entries)
}

func TestProgress(t *testing.T) {
	dir := tree(t)
	var told []Progress
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{dir}, Progress: func(p Progress) { told = append(told, p) }, trace: at("opened", dir+"/big", 1, func() { time.Sleep(2 * reportEvery) })})
	require.GreaterOrEqual(t, len(told), 2)
	for i, p := range told[1:] {
		require.GreaterOrEqual(t, p.Entries, told[i].Entries)
		require.GreaterOrEqual(t, p.Read, told[i].Read)
	}
	require.Equal(t, Progress{Entries: r.Entries, Files: r.Files, Bytes: r.Bytes, Read: r.Read}, told[len(told)-1])
}

// The blocks of one large file are passed to the workers that have nothing else to do.
func TestLargeFileOnAllWorkers(t *testing.T) {
	content := noise(5, 40*format.BlockSize+1)
	path := write(t, t.TempDir()+"/f", content)
	for _, workers := range []int{1, 2, 5} {
		m := newMemory()
		capture(t, m, Options{Roots: []string{path}, Workers: workers})
		require.Equal(t, format.Sum([]byte(content)), format.Sum(m.content(t, m.entry(t, path))))
	}
}
