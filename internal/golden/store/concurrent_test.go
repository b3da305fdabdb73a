package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

func TestTwoWriters(t *testing.T) {
	s, dir := newStore(t, options())
	other := openStore(t, dir, options())
	common := someTree(rand.New(rand.NewPCG(1, 1)), 100)
	stores, trees := []*Store{s, s, other}, make([]tree, 3)
	goldens, errs := make([]*Golden, 3), make([]error, 3)
	var all sync.WaitGroup
	for i := range trees {
		trees[i] = maps.Clone(common)
		maps.Copy(trees[i], someTree(rand.New(rand.NewPCG(uint64(i), 5)), 50))
		all.Go(func() {
			goldens[i], errs[i] = backup(t.Context(), stores[i], trees[i], testHeader(fmt.Sprintf("set-%d", i)), 2)
		})
	}
	all.Wait()
	for i, g := range goldens {
		require.NoError(t, errs[i])
		requireTree(t, trees[i], g)
	}
}

// Two that store just the same make packs of the same names.
func TestTwoWritersOfTheSame(t *testing.T) {
	s, _ := newStore(t, options())
	var writers [2]*Writer
	tr := tree{"/tree/a": content(1, 5000), "/tree/b": content(2, 5000)}
	for i := range writers {
		w, err := s.Begin(t.Context())
		require.NoError(t, err)
		l := w.Lane()
		for _, p := range []string{"/tree/a", "/tree/b"} {
			require.NoError(t, putFile(t.Context(), w, l, tr[p]))
			require.NoError(t, w.Entry(entryOf(p, tr[p])))
		}
		require.NoError(t, l.Close())
		writers[i] = w
	}
	for _, w := range writers {
		g, err := w.Commit(t.Context(), testHeader("web"))
		require.NoError(t, err)
		require.Len(t, g.Header().Packs, 1)
		requireTree(t, tr, g)
	}
}

func TestReadWhileWriting(t *testing.T) {
	s, _ := newStore(t, options())
	tr := someTree(rand.New(rand.NewPCG(2, 2)), 100)
	g := mustBackup(t, s, tr)
	done := make(chan error, 1)
	go func() {
		var err error
		for i := range 5 {
			_, e := backup(t.Context(), s, someTree(rand.New(rand.NewPCG(uint64(i), 9)), 50), testHeader("other"), 2)
			err = errors.Join(err, e)
		}
		done <- err
	}()
	for range 5 {
		requireTree(t, tr, g)
		_, err := s.List(t.Context(), "")
		require.NoError(t, err)
	}
	require.NoError(t, <-done)
	// A range may end early, and begin again.
	for e, err := range g.Entries(t.Context()) {
		require.NoError(t, err)
		require.NotEmpty(t, e.Path)
		break
	}
	requireTree(t, tr, g)
}

// Blocks are read by many at once, from more packs than stay open.
func TestManyReaders(t *testing.T) {
	s, _ := newStore(t, sealedOptions(t))
	tr := tree{}
	var g *Golden
	for i := range filesMost + 10 {
		tr[fmt.Sprintf("/tree/%03d", i)] = content(uint64(i), 3000)
		g = mustBackup(t, s, tr)
	}
	require.Len(t, g.Header().Packs, filesMost+10)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if got, err := read(t.Context(), g); err != nil || len(got) != len(tr) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, len(s.files.byName), filesMost)
}

func TestWhatIsWrong(t *testing.T) {
	s, _ := newStore(t, options())
	w, err := s.Begin(t.Context())
	require.NoError(t, err)
	defer w.Abort()
	l := w.Lane()
	require.Error(t, l.Put(t.Context(), format.Hash{}, nil))
	require.Error(t, l.Put(t.Context(), format.Hash{}, make([]byte, format.BlockSize+1)))
	_, err = w.Commit(t.Context(), testHeader("web"))
	require.ErrorContains(t, err, "not closed")
	require.ErrorIs(t, l.Put(t.Context(), format.Hash{}, []byte("a")), errLaneClosed)
	_, err = w.Commit(t.Context(), testHeader("web"))
	require.ErrorContains(t, err, "has ended")

	w, err = s.Begin(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.Entry(entryOf("/tree/b", nil)))
	require.ErrorContains(t, w.Entry(entryOf("/tree/a", nil)), "comes after")
	_, err = w.Commit(t.Context(), testHeader("web"))
	require.ErrorContains(t, err, "comes after", "an entry is lost")

	w, err = s.Begin(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l = w.Lane()
	require.ErrorIs(t, l.Put(ctx, format.Hash{}, []byte("a")), context.Canceled)
	require.NoError(t, l.Close())
	_, err = w.Commit(t.Context(), testHeader("web"))
	require.ErrorIs(t, err, context.Canceled)
	all, err := s.List(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, all)
}
