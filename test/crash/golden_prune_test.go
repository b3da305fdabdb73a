package crash_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shelf is a store in which a prune has much to do, and what is to stay.
type shelf struct {
	copy      string
	all, keep []string
	tree      picture
	packs     int64
}

// shelve makes a store of goldens that share a part of what they hold.
func (s *ordeal) shelve(t *testing.T) *shelf {
	t.Helper()
	s.forget(t)
	s.conf = "keep.yaml"
	for range 7 {
		s.edit(t)
		s.edit(t)
		s.edit(t)
		s.must(t, backup()...)
	}
	f := &shelf{copy: filepath.Join(t.TempDir(), "store"), all: s.goldens(t), tree: s.picture(t)}
	f.keep = f.all[len(f.all)-2:]
	require.NoError(t, os.CopyFS(f.copy, os.DirFS(s.path("store/golden"))))
	s.conf = "prune.yaml"
	s.must(t, prune()...)
	require.Equal(t, f.keep, s.goldens(t))
	f.packs = s.packs(t)
	return f
}

// packs is how much the packs of the store take, in bytes.
func (s *ordeal) packs(t *testing.T) (n int64) {
	t.Helper()
	paths, err := filepath.Glob(s.path("store/golden/packs/*/*.pack"))
	require.NoError(t, err)
	for _, p := range paths {
		info, err := os.Stat(p)
		require.NoError(t, err)
		n += info.Size()
	}
	return n
}

// unshelve puts the store back as it was before the prune.
func (s *ordeal) unshelve(t *testing.T, f *shelf) {
	t.Helper()
	require.NoError(t, os.RemoveAll(s.path("store/golden")))
	require.NoError(t, os.CopyFS(s.path("store/golden"), os.DirFS(f.copy)))
}

// killPrunes kills prunes: what stays has lost nothing, and another prune ends the work.
func (s *ordeal) killPrunes(t *testing.T, points int) {
	f := s.shelve(t)
	whole := took(5, func() { s.unshelve(t, f); s.must(t, prune()...) })
	for i, moment := range spread(s.rnd, points, 1000) {
		s.unshelve(t, f)
		after := time.Duration(moment) * whole / 1000
		cut := s.killed(t, after, prune()...)
		s.point(t, i, fmt.Sprintf("killed after %v of %v: %v", after.Round(time.Millisecond), whole.Round(time.Millisecond), cut), s.thinned(t, f))
		s.finishPrune(t, f, i%5 == 0)
	}
}

// thinned says what a prune has left: all, what is to stay alone, or something between. All goldens verify.
func (s *ordeal) thinned(t *testing.T, f *shelf) string {
	t.Helper()
	s.sound(t)
	now := s.goldens(t)
	require.Subset(t, f.all, now)
	require.Subset(t, now, f.keep)
	switch {
	case len(now) == len(f.all):
		return "old"
	case len(now) == len(f.keep) && s.packs(t) <= f.packs*11/10:
		return "new"
	}
	return "between"
}

func (s *ordeal) finishPrune(t *testing.T, f *shelf, look bool) {
	t.Helper()
	s.must(t, prune()...)
	require.Equal(t, "new", s.thinned(t, f), "the goldens, and no data that none of them needs")
	s.tidy(t)
	if look {
		s.holds(t, "latest", f.tree)
	}
}

// fillPrunes fills the disk while a prune writes anew what is needed of sparse packs; goldens go all the same.
func (s *ordeal) fillPrunes(t *testing.T, points int) {
	f := s.shelve(t)
	s.unshelve(t, f)
	n := s.needs(func() { s.must(t, prune()...) })
	for i, h := range s.shortages(points, "store") {
		s.unshelve(t, f)
		what, said := s.short(t, h, n, prune()...)
		t.Log(said)
		h.disk.clear(t)
		s.point(t, i, what, s.thinned(t, f))
		s.finishPrune(t, f, i%5 == 0)
	}
}
