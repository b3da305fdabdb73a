package golden_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/restore"
)

func TestUndo(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		m := newMachine(t)
		info := m.take("")
		m.spoil()
		spoilt := state(t, m.tree)
		r := golden.Restore{ID: "nothing", Set: "shop", Golden: info.ID, InPlace: inPlace}
		undone, err := m.Undo(t.Context(), r)
		require.NoError(t, err)
		require.False(t, undone, "there is nothing to undo")
		r.ID = "r"
		_, err = m.Stage(t.Context(), r, nil)
		require.NoError(t, err)
		m.same(spoilt)
		for range 2 { // a repeated step does not swap twice
			_, err = m.Swap(t.Context(), r)
			require.NoError(t, err)
		}
		require.NotEqual(t, spoilt, state(t, m.tree))
		if inPlace {
			m.restart() // the agent dies in between
		}
		undone, err = m.Undo(t.Context(), r)
		require.NoError(t, err)
		require.True(t, undone)
		m.same(spoilt)
		undone, err = m.Undo(t.Context(), r)
		require.NoError(t, err)
		require.False(t, undone)
	}
}

// TestKilledBetweenStageAndSwap: what was staged is gone after a restart, and staged again by the next step.
func TestKilledBetweenStageAndSwap(t *testing.T) {
	m := newMachine(t)
	before := state(t, m.tree)
	info := m.take("")
	m.spoil()
	r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID}
	_, err := m.Stage(t.Context(), r, nil)
	require.NoError(t, err)
	staged := stages(t, m)
	require.Len(t, staged, 1)
	m.restart()
	_, err = m.Validate(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, stages(t, m), 1, "one, and not the former beside it")
	m.restart()
	_, err = m.Swap(t.Context(), r)
	require.NoError(t, err)
	m.same(before)
	m.restart()
	standing, err := m.Standing(t.Context(), "r")
	require.NoError(t, err)
	require.Equal(t, golden.Unjudged, standing)
	_, err = m.Finish(t.Context(), r, false)
	require.NoError(t, err)
	require.Empty(t, stages(t, m))
	standing, err = m.Standing(t.Context(), "r")
	require.NoError(t, err)
	require.Equal(t, golden.NewState, standing)
	_, err = m.Undo(t.Context(), r)
	require.ErrorIs(t, err, golden.ErrOver, "it is not said to be undone")
}

func stages(t *testing.T, m *machine) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(filepath.Dir(m.tree), restore.StagePrefix+"*"))
	require.NoError(t, err)
	return list
}

// TestRestoresDoNotOverlap: while one is under way another is refused, and does it no harm.
func TestRestoresDoNotOverlap(t *testing.T) {
	m := newMachine(t)
	before := state(t, m.tree)
	info := m.take("")
	m.spoil()
	spoilt := state(t, m.tree)
	one := golden.Restore{ID: "one", Set: "shop", Golden: info.ID}
	two := golden.Restore{ID: "two", Set: "shop", Golden: info.ID}
	_, err := m.Stage(t.Context(), one, nil)
	require.NoError(t, err)
	for _, swapped := range []bool{false, true} {
		if swapped {
			_, err = m.Swap(t.Context(), one)
			require.NoError(t, err)
		}
		_, err = m.Stage(t.Context(), two, nil)
		require.ErrorIs(t, err, restore.ErrBusy)
		require.NotEmpty(t, shivx.HintOf(err))
		other := golden.New(m.o) // another process
		_, err = other.Stage(t.Context(), two, nil)
		require.ErrorIs(t, err, restore.ErrBusy)
		require.ErrorIs(t, other.EndOthers(t.Context()), restore.ErrBusy)
		require.NoError(t, other.Close())
	}
	m.same(before)
	m.restart()
	_, err = m.Stage(t.Context(), two, nil)
	require.ErrorIs(t, err, restore.ErrBusy, "its run may still judge it after the restart")
	undone, err := m.Undo(t.Context(), one)
	require.NoError(t, err)
	require.True(t, undone)
	m.same(spoilt)
	_, err = m.Stage(t.Context(), two, nil)
	require.NoError(t, err)
}

// TestAbandonedRestoreIsEnded: its state stays and the old one is kept, and its run hears of it.
func TestAbandonedRestoreIsEnded(t *testing.T) {
	m := newMachine(t, func(o *golden.Options) { o.Patience = time.Nanosecond })
	before := state(t, m.tree)
	info := m.take("")
	m.spoil()
	gone := golden.Restore{ID: "gone", Set: "shop", Golden: info.ID}
	_, err := m.Swap(t.Context(), gone)
	require.NoError(t, err)
	next := golden.Restore{ID: "next", Set: "shop", Golden: info.ID, InPlace: true}
	_, err = m.Stage(t.Context(), next, nil)
	require.NoError(t, err)
	m.same(before)
	kept, err := filepath.Glob(filepath.Join(filepath.Dir(m.tree), restore.KeptPrefix+"*"))
	require.NoError(t, err)
	require.Len(t, kept, 1, "the old state is kept for people")
	for _, do := range []func() error{
		func() error { _, err := m.Undo(t.Context(), gone); return err },
		func() error { _, err := m.Swap(t.Context(), gone); return err },
		func() error { _, err := m.Stage(t.Context(), gone, nil); return err },
	} {
		err := do()
		require.ErrorIs(t, err, golden.ErrOver)
		require.ErrorContains(t, err, kept[0])
		require.NotEmpty(t, shivx.HintOf(err))
	}
	require.NoError(t, m.EndOthers(t.Context()))
	left, err := m.Pending()
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestStepThatWaitsCanBeStopped: one step works on the restore at a time.
func TestStepThatWaitsCanBeStopped(t *testing.T) {
	m := newMachine(t)
	info := m.take("")
	r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID}
	entered := make(chan struct{})
	goOn := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		first := true
		_, err := m.Stage(t.Context(), r, func(shivx.GoldenProgress) {
			if first {
				first = false
				close(entered)
				<-goOn
			}
		})
		ended <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.Swap(ctx, r)
	require.ErrorIs(t, err, context.Canceled)
	close(goOn)
	require.NoError(t, <-ended)
	_, err = m.Swap(t.Context(), r)
	require.NoError(t, err)
	_, err = m.Finish(t.Context(), r, true)
	require.NoError(t, err)
	kept, err := filepath.Glob(filepath.Join(filepath.Dir(m.tree), restore.KeptPrefix+"*"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
}

// TestUndoThatFailsCanBeRepeated: the engine lets go of what it could not undo, so that another process may.
func TestUndoThatFailsCanBeRepeated(t *testing.T) {
	m := newMachine(t)
	info := m.take("")
	m.spoil()
	spoilt := state(t, m.tree)
	r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID}
	_, err := m.Swap(t.Context(), r)
	require.NoError(t, err)
	// The journal cannot be written: its folder is not one for a moment.
	away := m.Journals() + ".away"
	require.NoError(t, os.Rename(m.Journals(), away))
	_, err = m.Undo(t.Context(), r)
	require.Error(t, err)
	require.NoError(t, os.RemoveAll(m.Journals()))
	require.NoError(t, os.Rename(away, m.Journals()))
	other := golden.New(m.o)
	undone, err := other.Undo(t.Context(), r)
	require.NoError(t, err)
	require.True(t, undone)
	require.NoError(t, other.Close())
	m.same(spoilt)
}

// TestManyInvalidFilesAreCounted, and the first are named: what is said goes into a message.
func TestManyInvalidFilesAreCounted(t *testing.T) {
	m := newMachine(t, func(o *golden.Options) {
		o.Sets[0].Validations = []config.GoldenValidation{{Match: "/**/*.json", Format: "json"}}
	})
	for i := range 500 {
		m.write(fmt.Sprintf("conf/%03d.json", i), "{")
	}
	m.write("conf/500.json", "{}")
	info := m.take("")
	n, err := m.Validate(t.Context(), golden.Restore{ID: "r", Set: "shop", Golden: info.ID})
	require.ErrorIs(t, err, golden.ErrInvalid)
	require.ErrorContains(t, err, "and 480 more")
	require.ErrorContains(t, err, "conf/019.json")
	require.NotContains(t, err.Error(), "conf/020.json")
	require.NotEmpty(t, shivx.HintOf(err))
	require.EqualValues(t, 501, n)
}
