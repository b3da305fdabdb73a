package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// plant puts a pack into the store that fits its name and says of another content that it were data.
func plant(t testing.TB, s *Store, data, other []byte) format.Hash {
	t.Helper()
	enc, err := newEncoder(1)
	require.NoError(t, err)
	stored := enc.EncodeAll(other, nil)
	index := format.AppendPackBlock(nil, &format.PackBlock{ID: format.Sum(data), Sum: format.Sum(stored),
		Stored: uint32(len(stored)), Plain: uint32(len(data)), Codec: format.CodecZstd})
	pack := append(append([]byte(format.PackMagic), stored...), index...)
	name := format.PackName(index)
	require.NoError(t, publish(t.Context(), s.backend, packName(name), format.AppendPackTrailer(pack, 1)))
	return name
}

// Whoever can write to the store does not choose what the next golden holds.
func TestPlantedPackIsNotLeanedOn(t *testing.T) {
	for _, first := range []bool{true, false} { // the block is stored already, or it is not
		s, _ := newStore(t, options())
		data := bytes.Repeat([]byte("root:x:0:0\n"), 100)
		other := bytes.Repeat([]byte("evil:x:0:0\n"), 100)
		tr := tree{"/tree/passwd": data, "/tree/more": content(1, 1000)}
		if first {
			mustBackup(t, s, tr)
		}
		planted := plant(t, s, data, other)
		g := mustBackup(t, s, tr)
		require.NotContains(t, g.Header().Packs, planted)
		requireTree(t, tr, g)
		r := scrubbed(t, s, ScrubOptions{})
		require.Equal(t, map[ProblemKind]int{ProblemOrphan: 1, ProblemDamaged: 1}, kinds(r))
	}
}

// What a killed backup has left is taken up, once it was seen that it is what it says.
func TestLeftPacksAreTakenUp(t *testing.T) {
	for name, o := range map[string]Options{"plain": options(), "encrypted": sealedOptions(t)} {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t, o)
			tr := tree{"/tree/a": content(1, 500_000), "/tree/b": content(3, 500_000)}
			g := mustBackup(t, s, tr)
			require.NoError(t, os.Remove(filepath.Join(dir, g.name)))
			before := namesOf(t, s.backend, packsDir)
			w, err := s.Begin(t.Context())
			require.NoError(t, err)
			defer w.Abort()
			l := w.Lane()
			for _, p := range []string{"/tree/a", "/tree/b"} {
				require.True(t, w.Use(format.Sum(tr[p])))
				require.NoError(t, l.Put(t.Context(), format.Sum(tr[p]), tr[p]))
				require.NoError(t, w.Entry(entryOf(p, tr[p])))
			}
			require.NoError(t, l.Close())
			require.Zero(t, w.Stored())
			again, err := w.Commit(t.Context(), testHeader("web"))
			require.NoError(t, err)
			require.Equal(t, before, namesOf(t, s.backend, packsDir))
			requireTree(t, tr, again)
		})
	}
}

// A block of a signed golden that does not decompress to what its id says, as after a fault of the memory, is found
// by a scrub, and by a prune before it removes other goldens.
func TestScrubFindsABlockThatIsAnother(t *testing.T) {
	s, _ := newStore(t, options())
	data := bytes.Repeat([]byte("a line of a file\n"), 100)
	good := mustBackup(t, s, tree{"/tree/z": content(1, 100)})
	planted := plant(t, s, data, bytes.ToUpper(data))
	w, err := s.Begin(t.Context())
	require.NoError(t, err)
	w.packs = append(w.packs, packState{name: planted, used: true})
	require.NoError(t, w.Entry(entryOf("/tree/a", data)))
	g, err := w.Commit(t.Context(), testHeader("web"))
	require.NoError(t, err)

	require.NoError(t, g.Check(t.Context(), nil, nil), "which compares what is stored")
	_, err = g.Block(t.Context(), nil, format.Sum(data))
	require.ErrorIs(t, err, format.ErrDamaged, "which restores nothing else")
	r := scrubbed(t, s, ScrubOptions{})
	require.Equal(t, map[ProblemKind]int{ProblemDamaged: 1}, kinds(r))
	require.Equal(t, []string{"/tree/a"}, r.Problems[0].Goldens[0].Files)
	p, err := s.PlanPrune(t.Context(), PruneOptions{Policy: keepLast(1)})
	require.NoError(t, err)
	require.Len(t, p.Goldens, 2)
	require.Equal(t, good.Header().ID, p.Goldens[1].ID)
	require.True(t, p.Goldens[1].Keep, "the last that is known to be good")
}

// Somebody who can write to the store puts a key there that he knows, for the same recipient.
func TestReplacedKeyIsFound(t *testing.T) {
	o := sealedOptions(t)
	s, dir := newStore(t, o)
	mustBackup(t, s, tree{"/tree/a": content(1, 100)})
	sealed, err := newKey(o.Recipients)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, keyName), sealed, 0o600))
	again := openStore(t, dir, o)
	require.NotEqual(t, s.KeyCheck(), again.KeyCheck())
	_, err = again.Begin(t.Context())
	require.ErrorIs(t, err, ErrKeyReplaced)
	require.Contains(t, shivx.HintOf(err), "copy of the store")

	// The lock is free again, and goldens of those that nobody trusts say nothing.
	release, err := s.Lock(t.Context(), Exclusive)
	require.NoError(t, err)
	require.NoError(t, release())
	o.Key = testKey(2)
	w, err := openStore(t, dir, o).Begin(t.Context())
	require.NoError(t, err)
	w.Abort()
	require.Empty(t, openStore(t, dir, Options{Key: testKey(1)}).KeyCheck(), "without an identity")
}
