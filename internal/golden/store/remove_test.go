package store

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

func TestRemoveDamagedRemovesNothingElse(t *testing.T) {
	s, dir := newStore(t, options())
	g := mustBackup(t, s, someTree(rand.New(rand.NewPCG(1, 2)), 3))
	set, id := g.Header().Set, g.Header().ID
	require.ErrorContains(t, s.RemoveDamaged(t.Context(), set, id), "is not damaged")
	foreign := openStore(t, dir, Options{Key: testKey(2)})
	require.ErrorIs(t, foreign.RemoveDamaged(t.Context(), set, id), ErrUntrusted)
	require.ErrorIs(t, s.RemoveDamaged(t.Context(), set, "20260101-000000-000000"), fs.ErrNotExist)

	damage(t, filepath.Join(dir, goldenName(set, id)), 20)
	_, err := s.Find(t.Context(), id)
	require.ErrorIs(t, err, format.ErrDamaged)
	plan, err := s.PlanPrune(t.Context(), PruneOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, plan.Blocked)
	require.NoError(t, s.RemoveDamaged(t.Context(), set, id))
	require.NoFileExists(t, filepath.Join(dir, goldenName(set, id)))
	plan, err = s.PlanPrune(t.Context(), PruneOptions{})
	require.NoError(t, err)
	require.Empty(t, plan.Blocked)
	require.NotEmpty(t, plan.Packs)
}

func TestPruneWaitsAsLongAsItIsAskedTo(t *testing.T) {
	s, _ := newStore(t, options())
	mustBackup(t, s, someTree(rand.New(rand.NewPCG(1, 2)), 3))
	release, err := s.Lock(t.Context(), Shared)
	require.NoError(t, err)
	_, err = s.Prune(t.Context(), PruneOptions{Patience: 10 * time.Millisecond})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, t.Context().Err())
	require.NoError(t, release())
	_, err = s.Prune(t.Context(), PruneOptions{Patience: time.Minute})
	require.NoError(t, err)
}
