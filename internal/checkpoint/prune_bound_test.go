package checkpoint

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

func TestDataIsNotWrittenAnewAfterEachCheckpoint(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	state := config.State{Paths: []string{dir}}
	prune := func(wait time.Duration) {
		write(t, dir+"/a", fmt.Sprint(rand.Uint64()))
		take(t, s, fmt.Sprint(rand.Uint64()), state)
		limited, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		_, _ = s.Prune(limited, "redis", KindHealthy, 1)
	}
	prune(time.Minute)
	require.True(t, s.repackDue(), "nothing was to be removed")
	_, _, release, err := s.use(ctx, take(t, s, "used", state).ID)
	require.NoError(t, err)
	prune(time.Minute)
	require.True(t, s.repackDue(), "the store was in use")
	release()
	prune(0)
	require.True(t, s.repackDue(), "it was cut off")
	prune(time.Minute)
	require.False(t, s.repackDue())
	s.repacked = s.repacked.Add(-repackEvery)
	require.True(t, s.repackDue())
}

// TestALargeStoreIsPrunedInTheEnd, though the first bounds do not do for a look at it.
func TestALargeStoreIsPrunedInTheEnd(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	state := config.State{Paths: []string{dir}}
	for i := range 3 {
		for n := range 20 {
			if i == 0 || n > 1 { // the first two files are all that is needed of the first checkpoint
				random(t, fmt.Sprintf("%s/%d", dir, n), 20_000+100*i+n)
			}
		}
		take(t, s, fmt.Sprint(i), state)
	}
	before := packs(t, s)
	const first = time.Microsecond
	s.removing, s.repacking = bound{first: first}, bound{first: first}
	tries := 0
	for ; s.repackDue(); tries++ {
		require.Less(t, tries, 100)
		_, _, err := s.MakeRoom(ctx, "redis", KindFault, 2)
		require.NoError(t, err)
	}
	require.Greater(t, tries, 2)
	require.Greater(t, s.removing.most(), first, "the next one needs as much")
	all, err := s.List(ctx, "redis")
	require.NoError(t, err)
	require.Len(t, all, 2)
	for _, c := range all {
		require.NoError(t, s.Verify(ctx, c))
	}
	// The last one may have been stopped when only the old packs were left to remove.
	s.removing.first, s.repacking.first = time.Minute, time.Minute
	_, _, err = s.MakeRoom(ctx, "redis", KindFault, 2)
	require.NoError(t, err)
	require.Less(t, packs(t, s), before-300_000)
	require.Equal(t, time.Minute, s.removing.most())
	require.Equal(t, 2*time.Minute, s.widen(&s.removing))
	s.widen(&s.removing)
	require.Equal(t, mostBound, s.widen(&s.removing))
}
