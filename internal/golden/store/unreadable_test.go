package store

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// flaky is a backend of which some object cannot be read at some places, as long as it is on.
type flaky struct {
	failing
	on bool
}

func (f *flaky) Open(ctx context.Context, name string) (Object, error) {
	if f.on {
		return f.failing.Open(ctx, name)
	}
	return f.Backend.Open(ctx, name)
}

func flakyLab(t testing.TB, dir string) (*lab, *flaky) {
	t.Helper()
	f := &flaky{failing: failing{Backend: labFolder(t, dir)}}
	return newLab(t, f), f
}

// What cannot be read just now is not given up: neither the weekly repair nor one by hand changes anything.
func TestWhatCannotBeReadIsNotGivenUp(t *testing.T) {
	dir := t.TempDir()
	st, f := flakyLab(t, dir)
	g := st.backup(t, "etc", fileSet(1, 30, 10_000))
	pack := packName(g.Header().Packs[0])
	before := storeFiles(t, dir)
	for _, o := range []ScrubOptions{{}, {Repair: true}, {Repair: true, Salvage: true}} {
		f.name, f.from, f.to, f.on = pack, 50_000, 50_001, true
		r := scrubbed(t, st.Store, o)
		require.Equal(t, map[ProblemKind]int{ProblemUnreadable: 1}, kinds(r))
		require.True(t, r.Damaged())
		require.False(t, r.Problems[0].Repaired)
		require.False(t, r.Problems[0].Salvaged)
		require.ErrorIs(t, r.Problems[0].Damages[0].Err, errDisk)
		require.Equal(t, before, storeFiles(t, dir))
		err := g.Check(t.Context(), nil, nil)
		require.ErrorContains(t, err, "nothing can be read at 1 places")
		require.NotErrorIs(t, err, format.ErrDamaged)
	}
	// The same beside damage: of such a pack nothing is given up either.
	f.on = false
	spoil(t, filepath.Join(dir, pack), 100, 1)
	before = storeFiles(t, dir)
	f.on = true
	r := scrubbed(t, st.Store, ScrubOptions{Repair: true, Salvage: true})
	require.False(t, r.Problems[0].Salvaged)
	require.Equal(t, before, storeFiles(t, dir))
	f.on = false
	r = scrubbed(t, st.Store, ScrubOptions{Repair: true, Salvage: true})
	require.True(t, r.Problems[0].Salvaged)
}

// A fault that is over when the repair looks again was none.
func TestFaultThatIsOverIsRepaired(t *testing.T) {
	st, f := flakyLab(t, t.TempDir())
	g := st.backup(t, "etc", fileSet(1, 3, 10_000))
	f.name, f.from, f.to, f.on = packName(g.Header().Packs[0]), 0, 100, true
	o := ScrubOptions{Repair: true, Salvage: true}
	o.Progress = func(ScrubProgress) { f.on = false }
	r := scrubbed(t, st.Store, o)
	require.Len(t, r.Problems, 1)
	require.True(t, r.Problems[0].Repaired)
	require.False(t, r.Damaged())
}

// The salvage of a damaged block takes a copy from another pack where there is one.
func TestSalvageTakesAnotherCopy(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	ctx := t.Context()
	data := noise(1, 1000)
	var writers []*Writer
	for range 2 { // both begin before the other has anything
		w, err := st.Begin(ctx)
		require.NoError(t, err)
		writers = append(writers, w)
	}
	var goldens []*Golden
	for _, w := range writers {
		l := w.Lane()
		require.NoError(t, l.Put(ctx, format.Sum(data), data))
		require.NoError(t, l.Put(ctx, format.Sum([]byte(w.ID())), []byte(w.ID())))
		require.NoError(t, l.Close())
		require.NoError(t, w.Entry(entryOf("/tree/a", data)))
		g, err := w.Commit(ctx, testHeader("web"))
		require.NoError(t, err)
		goldens = append(goldens, g)
	}
	spoil(t, filepath.Join(dir, packName(goldens[0].Header().Packs[0])), 20, 1)
	r := scrubbed(t, st.Store, ScrubOptions{Repair: true, Salvage: true})
	require.True(t, r.Problems[0].Salvaged)
	require.Equal(t, 2, requireAllGood(t, st.Store))
	require.Empty(t, scrubbed(t, st.Store, ScrubOptions{}).Problems)
}

// A pack that another writer has stored already is not replaced because it cannot be read just now.
func TestPackThatCannotBeReadIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	st, f := flakyLab(t, dir)
	tr := tree{"/tree/a": content(1, 5000), "/tree/b": content(2, 5000)}
	w, err := st.Begin(t.Context())
	require.NoError(t, err)
	defer w.Abort()
	g, err := backup(t.Context(), st.Store, tr, testHeader("web"), 1)
	require.NoError(t, err)
	pack := packName(g.Header().Packs[0])
	before, err := os.ReadFile(filepath.Join(dir, pack))
	require.NoError(t, err)

	l := w.Lane()
	for _, p := range []string{"/tree/a", "/tree/b"} {
		require.NoError(t, putFile(t.Context(), w, l, tr[p]))
		require.NoError(t, w.Entry(entryOf(p, tr[p])))
	}
	require.NoError(t, l.Close())
	f.name, f.from, f.to, f.on = pack, 0, 1<<30, true
	_, err = w.Commit(t.Context(), testHeader("web"))
	require.ErrorIs(t, err, errDisk)
	after, err := os.ReadFile(filepath.Join(dir, pack))
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))
	f.on = false
	requireTree(t, tr, g)
}

// One pack without its index is damage of its blocks alone, and a block that lies in another as well is whole.
func TestOnePackWithoutIndexIsNotAll(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	st.backup(t, "etc", fileSet(1, 3, 1000))
	both := fileSet(1, 3, 1000)
	for name, data := range fileSet(2, 3, 1000) {
		both[name+"x"] = data
	}
	g := st.backup(t, "etc", both)
	require.Len(t, g.Header().Packs, 2)
	first, err := st.packIndex(t.Context(), g.Header().Packs[0])
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, packName(g.Header().Packs[0]))))
	lost := map[format.Hash]bool{}
	for _, b := range first.blocks {
		lost[b.ID] = true
	}
	require.Len(t, lost, 3)
	for name, data := range both {
		id := format.Sum(data)
		got, err := g.Block(t.Context(), nil, id)
		checked := g.Check(t.Context(), []format.Hash{id}, nil)
		if lost[id] {
			require.ErrorIs(t, err, format.ErrDamaged)
			require.ErrorContains(t, err, "that can be read: read the index of packs/", "the reason is told")
			require.ErrorIs(t, checked, format.ErrDamaged)
			continue
		}
		require.NoError(t, err, name)
		require.NoError(t, checked, name)
		require.Equal(t, data, got)
	}
	require.ErrorContains(t, g.Check(t.Context(), nil, nil), "missing")
}

// Of two copies of a block, each in a pack of the golden, one may be damaged.
func TestOtherCopyOfABlockIsTaken(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	ctx := t.Context()
	data := noise(1, 1000)
	w, err := st.Begin(ctx)
	require.NoError(t, err)
	st.backup(t, "etc", map[string][]byte{"/etc/a": data, "/etc/b": noise(2, 1000)})
	l := w.Lane()
	for _, d := range [][]byte{data, noise(3, 1000)} {
		require.NoError(t, l.Put(ctx, format.Sum(d), d))
	}
	require.NoError(t, l.Close())
	other, err := st.Begin(ctx) // knows one of the packs only
	require.NoError(t, err)
	require.True(t, other.Use(format.Sum(noise(2, 1000))))
	for name := range namesOfPacks(t, st.Store) {
		w.packs = append(w.packs, packState{name: name, used: true})
	}
	other.Abort()
	require.NoError(t, w.Entry(entryOf("/tree/a", data)))
	g, err := w.Commit(ctx, testHeader("web"))
	require.NoError(t, err)
	require.Len(t, g.Header().Packs, 2)
	for _, p := range g.Header().Packs {
		path := filepath.Join(dir, packName(p))
		spoil(t, path, 20, 1)
		got, err := g.Block(ctx, nil, format.Sum(data))
		require.NoError(t, err)
		require.Equal(t, data, got)
		require.NoError(t, g.Check(ctx, []format.Hash{format.Sum(data)}, nil))
		require.ErrorIs(t, g.Check(ctx, nil, nil), format.ErrDamaged)
		spoil(t, path, 20, 1)
	}
}

func namesOfPacks(t testing.TB, s *Store) map[format.Hash]bool {
	t.Helper()
	all := map[format.Hash]bool{}
	for _, name := range namesOf(t, s.backend, packsDir) {
		h, ok := parsePackName(name)
		require.True(t, ok)
		all[h] = true
	}
	return all
}
