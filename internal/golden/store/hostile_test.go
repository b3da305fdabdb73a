package store

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// allocated is how much f allocates in all, in bytes.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// sparse makes a file of any length that ends as told.
func sparse(t testing.TB, path string, size int64, end []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(size))
	_, err = f.WriteAt(end, size-int64(len(end)))
	require.NoError(t, err)
}

// Who can write to a store, and signs nothing, can hinder a host, but not stop it for lack of memory or time.
func TestHostileStoreCostsLittle(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	g := st.backup(t, "etc", fileSet(1, 3, 1000))
	const big = 1 << 40
	name := packName(format.Sum([]byte("none")))
	sparse(t, filepath.Join(dir, name), big, format.AppendPackTrailer(nil, 1<<31))

	h := planParity(packName(g.Header().Packs[0]), 3000, ParityOptions{Data: 2, Parity: 1})
	h.rows, h.chunk, h.sums = 1<<23, 1<<20, nil
	head := h.bytes()
	sidecar := filepath.Join(dir, parityName(packName(g.Header().Packs[0])))
	sparse(t, sidecar, big, h.trailer())
	f, err := os.OpenFile(sidecar, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(head)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	for i := range 2 { // headers without an end
		sparse(t, filepath.Join(dir, goldenName("etc", fmt.Sprintf("20200101-00000%d-aaaaaa", i))), big, nil)
	}
	begun := time.Now()
	used := allocated(func() {
		all, err := st.List(t.Context(), "")
		require.NoError(t, err)
		require.Len(t, all, 3)
		again := st.backup(t, "etc", fileSet(1, 3, 1000))
		require.NoError(t, again.Check(t.Context(), nil, nil))
		r := scrubbed(t, st.Store, ScrubOptions{For: time.Nanosecond})
		require.NotEmpty(t, r.Problems)
		damages, err := st.checkSidecar(t.Context(), packName(g.Header().Packs[0]), func(int64) {})
		require.NoError(t, err)
		require.NotEmpty(t, damages)
		damages, err = st.checkObject(t.Context(), name, func(int64) {})
		require.NoError(t, err)
		require.NotEmpty(t, damages)
	})
	require.Less(t, used, uint64(2<<30), "two long lines, each read some times, one at a time")
	require.Less(t, time.Since(begun), time.Minute)
}

// Of a golden that somebody unknown has signed little is read.
func TestUntrustedGoldenOfAnyLength(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	st.backup(t, "etc", fileSet(1, 3, 1000))
	h := format.Header{Format: 1, Store: st.ID(), ID: "20200101-000000-aaaaaa", Set: "etc", Host: "h", Kind: format.KindBackup, Created: time.Unix(1e9, 0),
		Roots: []string{"/etc"}, Entries: 1, Files: 1, Segments: []format.Segment{{Stored: 1 << 28, Plain: 1 << 28, Sum: format.Hash{1}}}}
	write := func() string {
		line, err := format.AppendHeader(nil, &h)
		require.NoError(t, err)
		sig, err := format.Sign(line, testKey(9))
		require.NoError(t, err)
		path := filepath.Join(dir, goldenName(h.Set, h.ID))
		require.NoError(t, os.WriteFile(path, append(line, sig...), 0o600))
		require.NoError(t, os.Truncate(path, int64(len(line)+len(sig))+1<<28))
		return path
	}
	path := write()
	used := allocated(func() {
		r := scrubbed(t, st.Store, ScrubOptions{})
		require.Equal(t, 1, kinds(r)[ProblemUntrusted])
	})
	require.Less(t, used, uint64(100<<20), "its list is read by pieces")
	require.NoError(t, os.Remove(path))

	for i := range 70_000 {
		sum := format.Hash{31: 1}
		binary.BigEndian.PutUint32(sum[:], uint32(i))
		h.Packs = append(h.Packs, sum)
	}
	write()
	all, err := st.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.ErrorIs(t, all[1].Err, ErrUntrusted)
	require.Empty(t, all[1].Header.ID)
	r := scrubbed(t, st.Store, ScrubOptions{})
	require.NotEmpty(t, r.Problems)
	pruned, err := st.Prune(t.Context(), PruneOptions{ClockIsRight: true})
	require.NoError(t, err)
	require.NotEmpty(t, pruned.Plan.Blocked, "what packs it needs is not known")
}
