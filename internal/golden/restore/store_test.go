package restore

import (
	"context"
	"crypto/ed25519"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/capture"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

type laned struct{ *store.Writer }

func (l laned) Lane() capture.Lane { return l.Writer.Lane() }

// stow captures roots into a real store.
func stow(t testing.TB, dir string, roots ...string) *store.Golden {
	ctx := context.Background()
	backend, err := store.MakeFolder(dir)
	require.NoError(t, err)
	s, err := store.Create(ctx, backend, store.Options{Key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))})
	require.NoError(t, err)
	w, err := s.Begin(ctx)
	require.NoError(t, err)
	r, err := capture.Run(ctx, laned{w}, capture.Options{Roots: roots})
	require.NoError(t, err)
	g, err := w.Commit(ctx, format.Header{
		Set: "set", Host: "host", Kind: format.KindBackup, Roots: r.Roots, Missing: r.Missing,
		Entries: r.Entries, Files: r.Files, Bytes: r.Bytes,
	})
	require.NoError(t, err)
	return g
}

var _ Golden = (*store.Golden)(nil)

// The whole way: captured, stored, damaged, restored; then the store itself is damaged.
func TestFromARealStore(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	dir := t.TempDir()
	tree := dir + "/live/tree"
	grow(t, r, tree, 3)
	g := stow(t, dir+"/store", tree, dir+"/live/absent")
	want := picture(t, tree)
	for _, inPlace := range []bool{true, false} {
		spoil(t, r, tree)
		write(t, dir+"/live/absent", "x")
		restoreAll(t, g, Options{Journal: dir + "/journal", InPlace: inPlace})
		same(t, want, picture(t, tree))
		require.NoFileExists(t, dir+"/live/absent")
	}

	require.NoError(t, filepath.WalkDir(dir+"/store/packs", func(p string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(p)
		require.NoError(t, err)
		data[len(data)/2] ^= 1
		require.NoError(t, os.Chmod(p, 0o600))
		return os.WriteFile(p, data, 0o600)
	}))
	require.NoError(t, os.RemoveAll(tree))
	write(t, tree+"/rest", "of it")
	left := picture(t, tree)
	_, err := Stage(context.Background(), g, Options{Journal: dir + "/journal"})
	require.ErrorIs(t, err, format.ErrDamaged)
	same(t, left, picture(t, tree))
	leftovers(t, dir+"/journal", dir+"/live")
}
