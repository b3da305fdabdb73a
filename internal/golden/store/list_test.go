package store

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

func TestListAndFind(t *testing.T) {
	s, dir := newStore(t, options())
	_, err := s.Find(t.Context(), "latest")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotEmpty(t, shivx.HintOf(err))
	var ids []string
	for i, h := range []format.Header{testHeader("web"), testHeader("db"), testHeader("web"), testHeader("web-2")} {
		h.Name = []string{"", "before the upgrade", "twice", "twice"}[i]
		g, err := backup(t.Context(), s, tree{"/tree/a": content(uint64(i), 100)}, h, 1)
		require.NoError(t, err)
		ids = append(ids, g.Header().ID)
	}
	all, err := s.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, 4)
	for i, info := range all {
		require.Equal(t, ids[3-i], info.ID, "newest first")
		require.NoError(t, info.Err)
		require.Equal(t, int64(1), info.Header.Files)
		require.Equal(t, testKey(1).Public(), info.Signer)
	}
	web, err := s.List(t.Context(), "web")
	require.NoError(t, err)
	require.Len(t, web, 2)
	for ref, want := range map[string]string{
		"latest": ids[3], "web/latest": ids[2], "db/latest": ids[1], "before the upgrade": ids[1], ids[0]: ids[0],
		ids[2][:len(ids[2])-1]: ids[2], "web/" + ids[2]: ids[2], "web/twice": ids[2],
	} {
		g, err := s.Find(t.Context(), ref)
		require.NoError(t, err, ref)
		require.Equal(t, want, g.Header().ID, ref)
	}
	for _, ref := range []string{"", "none", "web/" + ids[1], "x/latest", "twice", ids[0][:4], "../web/latest", "web/", "/latest"} {
		_, err := s.Find(t.Context(), ref)
		require.Error(t, err, ref)
	}
	_, err = s.Find(t.Context(), "twice")
	require.Contains(t, shivx.HintOf(err), ids[3])
	// A stranger's files hinder nobody.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "goldens/README"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "packs/x.pack"), nil, 0o600))
	all, err = s.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, 4)
	mustBackup(t, s, tree{})
}

func TestDamagedAndUntrustedAreListed(t *testing.T) {
	s, dir := newStore(t, options())
	mine := mustBackup(t, s, tree{"/tree/a": []byte("a")})
	o := Options{Key: testKey(2)}
	theirs := mustBackup(t, openStore(t, dir, o), tree{"/tree/b": []byte("b")})
	all, err := s.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.ErrorIs(t, all[0].Err, ErrUntrusted)
	require.Equal(t, theirs.Header().ID, all[0].Header.ID)
	require.NoError(t, all[1].Err)
	_, err = s.Find(t.Context(), "latest")
	require.ErrorIs(t, err, ErrUntrusted)
	require.Contains(t, shivx.HintOf(err), mine.Header().ID, "the newest that can be used")
	_, err = s.Find(t.Context(), theirs.Header().ID)
	require.Contains(t, shivx.HintOf(err), "--trust")
	both := options()
	both.Trusted = []ed25519.PublicKey{theirs.Signer()}
	_, err = openStore(t, dir, both).Find(t.Context(), "latest")
	require.NoError(t, err)

	path := filepath.Join(dir, goldenName("web", theirs.Header().ID))
	damage(t, path, 50)
	all, err = s.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, 2)
	for _, i := range all {
		require.Equal(t, i.ID == theirs.Header().ID, errors.Is(i.Err, format.ErrDamaged))
	}
	// A golden under another's name, and one of another store, are none.
	require.NoError(t, os.Rename(filepath.Join(dir, goldenName("web", mine.Header().ID)), path))
	all, err = s.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.ErrorIs(t, all[0].Err, format.ErrDamaged)
	other, otherDir := newStore(t, options())
	require.NoError(t, os.MkdirAll(filepath.Join(otherDir, "goldens/web"), 0o700))
	require.NoError(t, os.Rename(path, filepath.Join(otherDir, goldenName("web", mine.Header().ID))))
	_, err = other.Find(t.Context(), "latest")
	require.ErrorContains(t, err, "of the store "+s.ID())
}
