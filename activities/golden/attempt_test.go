package golden_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/restore"
)

// TestTwoAttemptsAreOneEffect: a heartbeat that came late begins a second attempt while the first still runs.
func TestTwoAttemptsAreOneEffect(t *testing.T) {
	s := makeStage(t)
	in := activities.TakeGoldenInput{GoldenTarget: s.target(), Run: "run", Kind: shivx.GoldenKindBackup}
	results := make([]activities.TakeGoldenResult, 4)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() {
			r, err := s.acts.TakeGolden(t.Context(), in)
			if err != nil {
				t.Error(err)
			}
			results[i] = r
		})
	}
	all.Wait()
	for _, r := range results {
		require.Equal(t, results[0], r)
	}
	list, err := s.acts.Engine.List(t.Context(), "shop")
	require.NoError(t, err)
	require.Len(t, list, 1)

	// The stop of one that waits is passed on, and one that only ran out of time changes nothing.
	fill(t, s.dir, "good 2")
	restoring := activities.RestoreInput{GoldenTarget: s.target(), Run: "run", Restore: "r", Golden: list[0].ID, Mode: shivx.RestoreWhole}
	entered, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.acts.Tell = func(shivx.GoldenProgress) { once.Do(func() { close(entered); <-goOn }) }
	staged := make(chan error, 1)
	go func() {
		_, err := s.acts.StageRestore(t.Context(), restoring)
		staged <- err
	}()
	<-entered
	late, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	_, err = s.acts.SwapRestore(late, restoring)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(goOn)
	require.NoError(t, <-staged)
	require.Equal(t, "good 2", s.word(t))
	_, err = s.acts.DiscardRestore(t.Context(), restoring)
	require.NoError(t, err)
	require.Empty(t, s.left(t))
}

// TestUndoOfARestoreThatIsOver is an error of a kind of its own, by which the runbook starts the services.
func TestUndoOfARestoreThatIsOver(t *testing.T) {
	s := makeStage(t)
	info := s.take(t, "one")
	fill(t, s.dir, "good 2")
	in := activities.RestoreInput{GoldenTarget: s.target(), Run: "run", Restore: "r", Golden: info.ID, Mode: shivx.RestoreWhole}
	_, err := s.acts.SwapRestore(t.Context(), in)
	require.NoError(t, err)
	other := in
	other.Restore = "other"
	_, err = s.acts.StageRestore(t.Context(), other)
	require.ErrorIs(t, err, restore.ErrBusy)
	require.ErrorContains(t, err, activities.ErrBusy)
	require.NoError(t, s.acts.Engine.EndOthers(t.Context()))
	_, err = s.acts.UndoRestore(t.Context(), in)
	require.ErrorIs(t, err, engine.ErrOver)
	require.ErrorContains(t, err, activities.ErrOver)
	require.Equal(t, "good 1", s.word(t))
}
