package capture

import (
	"crypto/ed25519"
	"iter"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

// stored is a sink that stores.
type stored struct{ *store.Writer }

func (s stored) Lane() Lane { return s.Writer.Lane() }

// Three goldens of one tree in a real store, each made with the entries of the one before.
func TestIntoAStore(t *testing.T) {
	dir := tree(t)
	hardlink(t, dir+"/big", dir+"/00/big")
	sparse(t, dir+"/sparse", 8<<20, extentsOf(0, 4096, 4<<20, 2<<20)...)
	require.NoError(t, os.Symlink("\xff", dir+"/\xff"))
	backend, err := store.MakeFolder(t.TempDir() + "/store")
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Close() })
	s, err := store.Create(t.Context(), backend, store.Options{Key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })

	take := func(previous *store.Golden) (*store.Golden, Result) {
		w, err := s.Begin(t.Context())
		require.NoError(t, err)
		o := Options{Roots: []string{dir}, now: later}
		if previous != nil {
			o.Previous = iter.Seq2[*format.Entry, error](previous.Entries(t.Context()))
		}
		r, err := Run(t.Context(), stored{w}, o)
		require.NoError(t, err)
		require.NoError(t, r.PreviousErr)
		g, err := w.Commit(t.Context(), format.Header{
			Set: "set", Host: "host", Kind: format.KindBackup, Roots: r.Roots, Entries: r.Entries, Files: r.Files, Bytes: r.Bytes,
		})
		require.NoError(t, err)
		require.NoError(t, g.Check(t.Context(), nil, nil))
		return g, r
	}
	first, r := take(nil)
	require.Positive(t, r.Read)
	second, r := take(first)
	require.Zero(t, r.Read)
	write(t, dir+"/00/0/f", "changed")
	third, r := take(second)
	require.EqualValues(t, len("changed"), r.Read)

	want := newMemory()
	capture(t, want, Options{Roots: []string{dir}, now: later})
	i := 0
	for e, err := range third.Entries(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, want.entries[i], clone(e))
		for b := range e.BlockCount() {
			plain, err := third.Block(t.Context(), nil, e.Block(b))
			require.NoError(t, err)
			require.Equal(t, e.Block(b), format.Sum(plain))
		}
		i++
	}
	require.Len(t, want.entries, i)
}
