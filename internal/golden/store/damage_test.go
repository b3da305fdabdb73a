package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// find opens the store as a verification does, and checks all its goldens.
func find(ctx context.Context, dir string, o Options) error {
	f, err := OpenFolder(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	o.Recipients = nil
	s, err := Open(ctx, f, o)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	all, err := s.List(ctx, "")
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("no golden")
	}
	for _, i := range all {
		if i.Err != nil {
			return i.Err
		}
		g, err := s.Open(ctx, i)
		if err == nil {
			err = g.Check(ctx, nil, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// storeFiles are the files of a store that mean something, and their content.
func storeFiles(t testing.TB, dir string) map[string][]byte {
	all := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockName {
			return err
		}
		all[path], err = os.ReadFile(path)
		return err
	}))
	return all
}

// TestDamageIsFound changes one bit of a thousand bytes, one after another, over all files of a
// store. Every one is found. What is not covered: the lock, whose content means nothing; what is in
// tmp; packs that no golden needs; and owner and mode of the files.
func TestDamageIsFound(t *testing.T) {
	for name, o := range map[string]Options{"plain": options(), "encrypted": sealedOptions(t)} {
		t.Run(name, func(t *testing.T) { damageIsFound(t, o) })
	}
}

func damageIsFound(t *testing.T, o Options) {
	places := 500
	if raced() {
		places = 100 // what is found does not depend on it
	}
	r := rand.New(rand.NewPCG(7, 8))
	s, dir := newStore(t, o)
	tr := tree{}
	for i := range 40 {
		tr["/tree/"+string(rune('a'+i))] = content(r.Uint64N(1000), 500+r.IntN(3000))
	}
	mustBackup(t, s, tr)
	require.NoError(t, find(t.Context(), dir, o))
	files := storeFiles(t, dir)
	paths := make([]string, 0, len(files))
	for p := range files {
		paths = append(paths, p)
	}
	for i := range places {
		// As many in the small files as in the packs; some at random, all of the shortest.
		path := paths[i%len(paths)]
		data := bytes.Clone(files[path])
		at := r.IntN(len(data))
		if filepath.Base(path) == identityName {
			at = i / len(paths) % len(data)
		}
		data[at] ^= 1 << r.IntN(8)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		err := find(t.Context(), dir, o)
		require.Error(t, err, "byte %d of %s", at, path)
		known := errors.Is(err, format.ErrDamaged) || errors.Is(err, format.ErrVersion) ||
			errors.Is(err, ErrIdentity) && filepath.Base(path) == keyName
		require.True(t, known, "byte %d of %s: %v", at, path, err)
		require.NoError(t, os.WriteFile(path, files[path], 0o600))
	}
	for path, data := range files {
		for _, cut := range []int{0, 1, len(data) / 2, len(data) - 1} {
			require.NoError(t, os.WriteFile(path, data[:cut], 0o600))
			require.Error(t, find(t.Context(), dir, o), "%s cut at %d", path, cut)
		}
		require.NoError(t, os.WriteFile(path, append(bytes.Clone(data), 0), 0o600))
		require.Error(t, find(t.Context(), dir, o), "%s with a byte more", path)
		require.NoError(t, os.Remove(path))
		require.Error(t, find(t.Context(), dir, o), "%s removed", path)
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
	require.NoError(t, find(t.Context(), dir, o))
}

// A pack whose index is damaged is not relied on: its blocks are stored anew, and the pack is whole
// again.
func TestBackupMendsAPackWithoutIndex(t *testing.T) {
	s, dir := newStore(t, options())
	tr := someTree(rand.New(rand.NewPCG(9, 9)), 50)
	g, err := backup(t.Context(), s, tr, testHeader("web"), 1)
	require.NoError(t, err)
	path := filepath.Join(dir, packName(g.Header().Packs[0]))
	info, err := os.Stat(path)
	require.NoError(t, err)
	damage(t, path, info.Size()-1)
	require.ErrorIs(t, g.Check(t.Context(), nil, nil), format.ErrDamaged)
	again, err := backup(t.Context(), s, tr, testHeader("web"), 1)
	require.NoError(t, err)
	requireTree(t, tr, again)
	g, err = s.Find(t.Context(), g.Header().ID)
	require.NoError(t, err)
	requireTree(t, tr, g)
}
