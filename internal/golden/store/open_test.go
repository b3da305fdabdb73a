package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// openError opens the folder and returns why that fails.
func openError(t *testing.T, dir string, o Options) error {
	f, err := OpenFolder(dir)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	_, err = Open(t.Context(), f, o)
	require.Error(t, err)
	require.NotEmpty(t, shivx.HintOf(err), err)
	return err
}

func TestOpenWhatIsNoStore(t *testing.T) {
	require.ErrorIs(t, openError(t, t.TempDir(), options()), fs.ErrNotExist)
	_, err := OpenFolder(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotEmpty(t, shivx.HintOf(err))
}

func TestOpenLaterVersion(t *testing.T) {
	_, dir := newStore(t, options())
	path := filepath.Join(dir, identityName)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for now, want := range map[string]error{
		strings.Replace(string(text), `"format":1`, `"format":2,"sharded":true`, 1): format.ErrVersion,
		strings.Replace(string(text), `"format":1`, `"format":0`, 1):                format.ErrDamaged,
		strings.Replace(string(text), `"created":"2`, `"created":"3`, 1):            format.ErrDamaged,
		string(text) + " ": format.ErrDamaged,
	} {
		require.NotEqual(t, string(text), now)
		require.NoError(t, os.WriteFile(path, []byte(now), 0o600))
		require.ErrorIs(t, openError(t, dir, options()), want)
	}
}

func TestOpenEncrypted(t *testing.T) {
	o := sealedOptions(t)
	s, dir := newStore(t, o)
	tr := tree{"/tree/secret": []byte(strings.Repeat("nobody may read this\n", 100))}
	g := mustBackup(t, s, tr)
	wrong := sealedOptions(t)
	require.ErrorIs(t, openError(t, dir, wrong), ErrIdentity)
	t.Run("without an identity", func(t *testing.T) {
		s := openStore(t, dir, options())
		require.True(t, s.Encrypted())
		g, err := s.Find(t.Context(), "latest")
		require.NoError(t, err)
		require.NoError(t, g.Check(t.Context(), nil, nil))
		_, err = s.Begin(t.Context())
		require.ErrorIs(t, err, ErrIdentity)
		_, err = g.Block(t.Context(), nil, format.Hash{})
		require.ErrorIs(t, err, ErrIdentity)
		_, err = read(t.Context(), g)
		require.ErrorIs(t, err, ErrIdentity)
		require.ErrorIs(t, g.Check(t.Context(), []format.Hash{{}}, nil), ErrIdentity)
	})
	t.Run("nothing in clear", func(t *testing.T) {
		h := format.Sum(tr["/tree/secret"])
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			require.NotContains(t, string(text), "nobody may")
			require.NotContains(t, string(text), string(h[:]))
			require.NotContains(t, string(text), h.String())
			info, err2 := d.Info()
			require.NoError(t, err2)
			require.Zero(t, info.Mode()&0o077, path)
			return err
		}))
	})
	t.Run("key taken away", func(t *testing.T) {
		require.NoError(t, os.Rename(filepath.Join(dir, keyName), filepath.Join(dir, "away")))
		f, err := OpenFolder(dir)
		require.NoError(t, err)
		defer func() { _ = f.Close() }()
		_, err = Open(t.Context(), f, o)
		require.ErrorIs(t, err, format.ErrDamaged)
	})
	require.Equal(t, "web", g.Header().Set)
}

// An attacker who can write to the store must not get the next backup in clear.
func TestOpenEncryptionTakenAway(t *testing.T) {
	_, dir := newStore(t, options())
	o := sealedOptions(t)
	require.ErrorContains(t, openError(t, dir, o), "not encrypted")
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	f, err := MakeFolder(filepath.Join(dir, "a", "b"))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	i := testIdentity(t)
	o := options()
	o.Recipients = []age.Recipient{i.Recipient()}
	// What a Create that was killed has left does not hinder the next.
	require.NoError(t, put(t.Context(), f, keyName, []byte("old")))
	s, err := Create(t.Context(), f, o)
	require.NoError(t, err)
	require.Len(t, s.ID(), 26)
	require.NoError(t, s.Close())
	_, err = Create(t.Context(), f, o)
	require.ErrorContains(t, err, "nothing is yet")
	require.NotEmpty(t, shivx.HintOf(err))
	_, err = MakeFolder("/proc/none")
	require.NotEmpty(t, shivx.HintOf(err))
}

func TestBeginNeedsASigningKey(t *testing.T) {
	_, dir := newStore(t, options())
	_, err := openStore(t, dir, Options{}).Begin(t.Context())
	require.ErrorContains(t, err, "no key to sign")
	require.NotEmpty(t, shivx.HintOf(err))
}
