package restore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// restoreAll stages, swaps and finishes.
func restoreAll(t testing.TB, g Golden, o Options) Changes {
	t.Helper()
	s, err := Stage(context.Background(), g, o)
	require.NoError(t, err)
	c, err := s.Swap(context.Background())
	require.NoError(t, err)
	require.NoError(t, s.Finish(context.Background(), false))
	return c
}

func TestRoundTripOfRandomTrees(t *testing.T) {
	for seed := range uint64(12) {
		for _, inPlace := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d in place %v", seed, inPlace), func(t *testing.T) { roundTrip(t, seed, inPlace) })
		}
	}
}

func roundTrip(t *testing.T, seed uint64, inPlace bool) {
	r := rand.New(rand.NewPCG(seed, 7))
	dir := t.TempDir()
	grow(t, r, dir+"/live/tree", 3)
	write(t, dir+"/live/single", "one file")
	require.NoError(t, os.Symlink("tree", dir+"/live/link"))
	roots := []string{dir + "/live/tree", dir + "/live/single", dir + "/live/link", dir + "/live/absent"}
	g := take(t, roots...)
	want := picture(t, roots...)

	spoil(t, r, dir+"/live/tree")
	write(t, dir+"/live/single", "another")
	require.NoError(t, os.Remove(dir+"/live/link"))
	write(t, dir+"/live/absent/new", "x")
	o := Options{Journal: dir + "/journal", InPlace: inPlace}
	planned, err := Plan(context.Background(), g, o)
	require.NoError(t, err)
	require.True(t, planned.Any())
	bad := picture(t, roots...)

	s, err := Stage(context.Background(), g, o)
	require.NoError(t, err)
	same(t, bad, picture(t, roots...))
	_, err = s.Swap(context.Background())
	require.NoError(t, err)
	same(t, want, picture(t, roots...))
	require.NoError(t, s.Undo(context.Background()))
	same(t, bad, picture(t, roots...))
	leftovers(t, o.Journal, dir+"/live")

	restoreAll(t, g, o)
	same(t, want, picture(t, roots...))
	leftovers(t, o.Journal, dir+"/live")
	again, err := Plan(context.Background(), g, o)
	require.NoError(t, err)
	require.Empty(t, again.List)
	require.False(t, again.Any())
}
