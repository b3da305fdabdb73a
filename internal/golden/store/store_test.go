package store

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// testKey is a signing key made from a number.
func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, ed25519.SeedSize))
}

// testIdentity is a new identity.
func testIdentity(t testing.TB) *age.X25519Identity {
	i, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	return i
}

func options() Options { return Options{Key: testKey(1)} }

func sealedOptions(t testing.TB) Options {
	i := testIdentity(t)
	o := options()
	o.Recipients, o.Identities = []age.Recipient{i.Recipient()}, []age.Identity{i}
	return o
}

func newStore(t testing.TB, o Options) (*Store, string) {
	dir := t.TempDir() // what is measured is measured on a disk
	if _, test := t.(*testing.T); test {
		dir = memoryDir(t)
	}
	dir = filepath.Join(dir, "store")
	f, err := MakeFolder(dir)
	require.NoError(t, err)
	s, err := Create(context.Background(), f, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, f.Close())
	})
	return s, dir
}

func openStore(t testing.TB, dir string, o Options) *Store {
	f, err := OpenFolder(dir)
	require.NoError(t, err)
	o.Recipients = nil
	s, err := Open(context.Background(), f, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, f.Close())
	})
	return s
}

func mustBackup(t testing.TB, s *Store, tr tree) *Golden {
	g, err := backup(t.Context(), s, tr, testHeader("web"), 2)
	require.NoError(t, err)
	return g
}

func requireTree(t testing.TB, want tree, g *Golden) {
	t.Helper()
	require.NoError(t, g.Check(t.Context(), nil, nil))
	got, err := read(t.Context(), g)
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for p, data := range want {
		require.True(t, slices.Equal(data, got[p]), p)
	}
}

func TestRoundTrip(t *testing.T) {
	for name, o := range map[string]Options{"plain": options(), "encrypted": sealedOptions(t)} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			s, dir := newStore(t, o)
			first := someTree(r, 150)
			g := mustBackup(t, s, first)
			requireTree(t, first, g)
			second := maps.Clone(first)
			maps.Copy(second, someTree(r, 10))
			before := size(t, dir)
			g2 := mustBackup(t, s, second)
			require.Less(t, size(t, dir)-before, before/4, "what did not change is stored again")
			// Opened anew by somebody else.
			other := openStore(t, dir, o)
			for _, c := range []struct {
				id   string
				want tree
			}{{g.Header().ID, first}, {g2.Header().ID, second}, {"latest", second}, {"web/latest", second}} {
				g, err := other.Find(t.Context(), c.id)
				require.NoError(t, err)
				requireTree(t, c.want, g)
				require.Equal(t, int64(len(c.want)), g.Header().Files)
			}
			names, err := os.ReadDir(filepath.Join(dir, tmpName))
			require.NoError(t, err)
			require.Empty(t, names)
		})
	}
}

func size(t testing.TB, dir string) int64 {
	var n int64
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		n += info.Size()
		return err
	}))
	return n
}

func TestCheckNeed(t *testing.T) {
	tr := someTree(rand.New(rand.NewPCG(3, 4)), 100)
	for name, o := range map[string]Options{"plain": options(), "encrypted": sealedOptions(t)} {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t, o)
			g := mustBackup(t, s, tr)
			var need []format.Hash
			for _, data := range tr {
				for _, b := range blocksOf(data) {
					need = append(need, format.Sum(b))
				}
			}
			var read int64
			require.NoError(t, g.Check(t.Context(), need, func(n int64) { read += n }))
			require.Greater(t, read, size(t, dir)*8/10)
			require.NoError(t, g.Check(t.Context(), []format.Hash{}, nil))
			require.ErrorIs(t, g.Check(t.Context(), []format.Hash{{1}}, nil), format.ErrDamaged)
			// Damage of one block hinders only who needs it.
			pack := packName(largest(t, dir, g)) // a lane that was late has hardly any: then it would be the index
			damage(t, filepath.Join(dir, pack), 1000)
			bad := 0
			for _, h := range need {
				err := g.Check(t.Context(), []format.Hash{h}, nil)
				_, blockErr := g.Block(t.Context(), nil, h)
				if err == nil {
					require.NoError(t, blockErr)
					continue
				}
				require.ErrorIs(t, err, format.ErrDamaged)
				require.NotEmpty(t, shivx.HintOf(err))
				if blockErr != nil { // else it decompresses to the same: a match that is one bit farther away may be equal
					require.ErrorIs(t, blockErr, format.ErrDamaged)
				}
				bad++
			}
			require.Equal(t, 1, bad)
			found, ok := errors.AsType[*DamageError](g.Check(t.Context(), nil, nil))
			require.True(t, ok)
			require.Len(t, found.Damages, 1)
			require.Equal(t, pack, found.Damages[0].Name)
			require.LessOrEqual(t, found.Damages[0].Offset, int64(1000))
			require.Greater(t, found.Damages[0].Offset+found.Damages[0].Length, int64(1000))
		})
	}
}

// largest is the golden's largest pack.
func largest(t testing.TB, dir string, g *Golden) format.Hash {
	t.Helper()
	size := func(h format.Hash) int64 {
		info, err := os.Stat(filepath.Join(dir, packName(h)))
		require.NoError(t, err)
		return info.Size()
	}
	return slices.MaxFunc(g.Header().Packs, func(a, b format.Hash) int { return cmp.Compare(size(a), size(b)) })
}

// damage changes one byte.
func damage(t testing.TB, path string, at int64) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b, at)
	require.NoError(t, err)
}

func TestEveryDamagedBlockIsReported(t *testing.T) {
	s, dir := newStore(t, options())
	tr := tree{}
	for i := range 200 {
		tr[fmt.Sprintf("/tree/%03d", i)] = content(uint64(3*i+1), 20_000)
	}
	g := mustBackup(t, s, tr)
	want := 0
	for _, p := range g.Header().Packs {
		path := filepath.Join(dir, packName(p))
		index, err := s.packIndex(t.Context(), p)
		require.NoError(t, err)
		for at := range index.blocks {
			if at/20_000%3 == 0 {
				damage(t, path, at+17)
				want++
			}
		}
	}
	require.Positive(t, want)
	found, ok := errors.AsType[*DamageError](g.Check(t.Context(), nil, nil))
	require.True(t, ok)
	require.Len(t, found.Damages, want)
	require.Contains(t, found.Error(), fmt.Sprintf("and %d more", want-3))
	// One pack is cut, so that no block of it can be found.
	gone := filepath.Join(dir, packName(g.Header().Packs[0]))
	require.NoError(t, os.Truncate(gone, 5000))
	require.ErrorIs(t, g.Check(t.Context(), nil, nil), format.ErrDamaged)
	require.NoError(t, os.Remove(gone))
	require.ErrorContains(t, g.Check(t.Context(), nil, nil), "missing")
	_, err := openStore(t, dir, options()).Find(t.Context(), "latest")
	require.NoError(t, err, "a golden with a damaged pack is still one")
}
