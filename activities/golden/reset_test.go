package golden_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/restore"
)

// TestResetOfARunThatWasUndone: the steps that a run repeats after its reset are not answered from the ledger, as
// they were undone since.
func TestResetOfARunThatWasUndone(t *testing.T) {
	s := makeStage(t)
	info := s.take(t, "one")
	fill(t, s.dir, "good 2")
	in := activities.RestoreInput{GoldenTarget: s.target(), Run: "run", Restore: "r", Golden: info.ID, Mode: shivx.RestoreWhole}
	steps := []activities.Activity[activities.RestoreInput, activities.RestoreStep]{
		activities.StageRestore, activities.ValidateRestore, activities.SwapRestore, activities.LoadRestore, activities.FinishRestore,
	}
	do := map[string]func() error{
		"StageRestore":    func() error { _, err := s.acts.StageRestore(t.Context(), in); return err },
		"ValidateRestore": func() error { _, err := s.acts.ValidateRestore(t.Context(), in); return err },
		"SwapRestore":     func() error { _, err := s.acts.SwapRestore(t.Context(), in); return err },
		"LoadRestore":     func() error { _, err := s.acts.LoadRestore(t.Context(), in); return err },
		"FinishRestore":   func() error { _, err := s.acts.FinishRestore(t.Context(), in); return err },
	}
	for _, step := range steps[:4] {
		require.NoError(t, do[step.Name](), step.Name)
	}
	require.Equal(t, "good 1", s.word(t))
	_, err := s.acts.UndoRestore(t.Context(), in)
	require.NoError(t, err)
	for _, step := range steps {
		err := do[step.Name]()
		require.ErrorIs(t, err, engine.ErrOver, step.Name)
		require.ErrorContains(t, err, activities.ErrOver)
		require.ErrorContains(t, err, "shivx golden restore shop", "what to do next")
	}
	undone, err := s.acts.UndoRestore(t.Context(), in)
	require.NoError(t, err)
	require.False(t, undone.Skipped, "what is true still is told again")
	require.Equal(t, "good 2", s.word(t))
	require.Empty(t, s.left(t))
}

// TestResetOfARunThatHeld: it does not restore a second time, and the end of the first stays the truth.
func TestResetOfARunThatHeld(t *testing.T) {
	s := makeStage(t)
	info := s.take(t, "one")
	fill(t, s.dir, "good 2")
	in := activities.RestoreInput{GoldenTarget: s.target(), Run: "run", Restore: "r", Golden: info.ID, Mode: shivx.RestoreWhole}
	_, err := s.acts.SwapRestore(t.Context(), in)
	require.NoError(t, err)
	_, err = s.acts.LoadRestore(t.Context(), in)
	require.NoError(t, err)
	first, err := s.acts.FinishRestore(t.Context(), in)
	require.NoError(t, err)
	_, err = s.acts.StageRestore(t.Context(), in)
	require.ErrorIs(t, err, engine.ErrOver)
	_, err = s.acts.SwapRestore(t.Context(), in)
	require.ErrorIs(t, err, engine.ErrOver)
	_, err = s.acts.UndoRestore(t.Context(), in)
	require.ErrorIs(t, err, engine.ErrOver)
	_, err = s.acts.LoadRestore(t.Context(), in)
	require.NoError(t, err)
	again, err := s.acts.FinishRestore(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, "good 1", s.word(t))
}

// TestServicesThatRunAgainAreStoppedBeforeTheSwap: the host starts its services when it boots, and a run that is
// reset is told by the ledger that it has stopped them.
func TestServicesThatRunAgainAreStoppedBeforeTheSwap(t *testing.T) {
	s := makeStage(t)
	info := s.take(t, "one")
	fill(t, s.dir, "good 2")
	in := activities.RestoreInput{GoldenTarget: s.target(), Run: "run", Restore: "r", Golden: info.ID, Mode: shivx.RestoreWhole}
	_, err := s.acts.StageRestore(t.Context(), in)
	require.NoError(t, err)
	service := s.service(1)
	service.Restore = in.Restore
	_, err = s.acts.StopService(t.Context(), service)
	require.NoError(t, err)
	s.start(t, 2, "good 2") // somebody else
	_, err = s.acts.SwapRestore(t.Context(), in)
	require.NoError(t, err)
	require.False(t, s.alive(), "it would run with files that are gone")
	s.start(t, 3, "good 1")
	_, err = s.acts.UndoRestore(t.Context(), in)
	require.NoError(t, err)
	require.False(t, s.alive())
	require.Equal(t, "good 2", s.word(t))
	s.start(t, 4, "good 2")

	// Services that a restore has not stopped are left alone.
	in.Restore = "other"
	_, err = s.acts.SwapRestore(t.Context(), in)
	require.NoError(t, err)
	require.True(t, s.alive())
}

// TestUndoOfNothingStopsNothing: a restore that has ended has no say over the services any more.
func TestUndoOfNothingStopsNothing(t *testing.T) {
	s := makeStage(t)
	in := activities.RestoreInput{GoldenTarget: s.target(), Run: "run", Restore: "r", Mode: shivx.RestoreWhole}
	service := s.service(1)
	service.Restore = in.Restore
	_, err := s.acts.StopService(t.Context(), service)
	require.NoError(t, err)
	s.start(t, 2, "good 1")
	undone, err := s.acts.UndoRestore(t.Context(), in)
	require.NoError(t, err)
	require.True(t, undone.Skipped)
	require.True(t, s.alive())
}

// halfway makes the journal of a swapped restore say that it was cut off in the middle of the swap.
func (s *stage) halfway(t *testing.T, id string) {
	t.Helper()
	path := filepath.Join(s.cfg.Paths.Var, "recovery/golden/restores", id+".journal")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var j map[string]any
	require.NoError(t, json.Unmarshal(data, &j))
	require.EqualValues(t, restore.StateSwapped, j["state"])
	j["state"] = restore.StateSwapping
	data, err = json.Marshal(j)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// TestNoServiceStartsWithFilesOfTwoStates until the restore that was cut off is completed.
func TestNoServiceStartsWithFilesOfTwoStates(t *testing.T) {
	s := makeStage(t)
	info := s.take(t, "one")
	s.stopService(t)
	in := activities.RestoreInput{GoldenTarget: s.target(), Run: "run", Restore: "test", Golden: info.ID, Mode: shivx.RestoreWhole}
	_, err := s.acts.SwapRestore(t.Context(), in)
	require.NoError(t, err)
	require.NoError(t, s.acts.Engine.Close())
	s.halfway(t, in.Restore)
	_, err = s.acts.StartService(t.Context(), s.service(2))
	require.ErrorContains(t, err, "of no one state")
	require.ErrorContains(t, err, "--local", "what to do next")
	require.False(t, s.alive())
	_, err = s.acts.UndoRestore(t.Context(), in)
	require.NoError(t, err)
	s.start(t, 2, "good 1")
}
