package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A store in a bucket is backed up to, read, scrubbed, repaired and pruned like one in a folder, also
// through a network that fails now and then.
func TestS3StoreLivesThroughAll(t *testing.T) {
	s := startS3(t)
	p := newFaultyProxy(t, s.addr)
	o := s.options(t, p.addr)
	o.Stall = 500 * time.Millisecond
	b := openS3(t, o)
	p.faults(func(n int) (fault, int64) {
		if n%17 == 5 {
			return []fault{cut, stall, busy, deaf}[n/17%4], 3000
		}
		return fine, 0
	})
	st := newLab(t, b)
	_, _ = daily(t, st, 4)
	st.pace.packSize = 10 << 20 // more than one part, and little to send
	st.backup(t, "big", map[string][]byte{"/etc/0": noise(100, 9<<20), "/etc/1": noise(101, 9<<20)})
	result, err := st.Protect(t.Context(), ParityOptions{})
	require.NoError(t, err)
	require.Empty(t, result.Damaged)
	require.Empty(t, scrubbed(t, st.Store, ScrubOptions{}).Problems)

	bucket := filepath.Join(s.dir, "data", testBucket, "hosts", "a")
	for _, name := range namesOf(t, b, packsDir) {
		spoil(t, filepath.Join(bucket, name), 5000, 300)
	}
	r := scrubbed(t, st.Store, ScrubOptions{Repair: true})
	require.NotEmpty(t, r.Problems)
	require.False(t, r.Damaged(), "%+v", r.Problems)

	pruned, err := st.Prune(t.Context(), PruneOptions{Policy: keepLast(1), Repack: 0.9, Parity: &ParityOptions{}})
	require.NoError(t, err)
	require.Equal(t, 3, pruned.Goldens)
	require.Equal(t, 1, pruned.Written)
	require.Equal(t, 2, requireAllGood(t, st.Store))
	require.Empty(t, scrubbed(t, st.Store, ScrubOptions{}).Problems)
	require.Empty(t, namesOf(t, b, locksDir))
}
