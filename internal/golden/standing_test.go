package golden_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/restore"
)

// TestFinishNeedsTheRestoredState: it never says that a state stays which is not in place.
func TestFinishNeedsTheRestoredState(t *testing.T) {
	m := newMachine(t)
	before := state(t, m.tree)
	info := m.take("")
	m.spoil()
	spoilt := state(t, m.tree)
	r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID}
	refused := func() {
		t.Helper()
		_, err := m.Finish(t.Context(), r, false)
		require.ErrorContains(t, err, "not in place")
		require.NotEmpty(t, shivx.HintOf(err))
		standing, err := m.Standing(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, golden.OldState, standing)
	}
	refused()
	_, err := m.Stage(t.Context(), r, nil)
	require.NoError(t, err)
	refused()
	_, err = m.Swap(t.Context(), r)
	require.NoError(t, err)
	undone, err := m.Undo(t.Context(), r)
	require.NoError(t, err)
	require.True(t, undone)
	m.same(spoilt)
	refused()

	r.ID = "next" // the first was called off
	_, err = m.Swap(t.Context(), r)
	require.NoError(t, err)
	kept, err := m.Finish(t.Context(), r, true)
	require.NoError(t, err)
	require.Len(t, kept, 1)
	m.restart()
	again, err := m.Finish(t.Context(), r, true)
	require.NoError(t, err)
	require.Equal(t, kept, again, "a step that is repeated says the same")
	m.same(before)
}

// killed leaves the journal of a swapped restore as a process leaves it that is killed in the middle of a step.
func (m *machine) killed(id string, s restore.State) {
	m.t.Helper()
	m.killedAs(id, restore.StateSwapped, s)
}

// killedAs makes a journal that says how far a restore is say something else.
func (m *machine) killedAs(id string, was, s restore.State) {
	m.t.Helper()
	require.NoError(m.t, m.Close())
	path := filepath.Join(m.Journals(), id+".journal")
	data, err := os.ReadFile(path)
	require.NoError(m.t, err)
	var j map[string]any
	require.NoError(m.t, json.Unmarshal(data, &j))
	require.Equal(m.t, string(was), j["state"])
	j["state"], j["keep"] = s, s == restore.StateFinishing
	data, err = json.Marshal(j)
	require.NoError(m.t, err)
	require.NoError(m.t, os.WriteFile(path, data, 0o600))
	units, err := os.ReadFile(filepath.Join(m.Journals(), id+".swap"))
	require.NoError(m.t, err)
	require.NoError(m.t, os.WriteFile(filepath.Join(m.Journals(), id+".undo"), units, 0o600))
	m.restart()
}

// note is what a Finish leaves before it begins, also when it fails then.
func (m *machine) note(id string) {
	m.t.Helper()
	require.NoError(m.t, os.WriteFile(filepath.Join(m.Journals(), id+".ended"), []byte(`{"set":"shop","at":"2026-11-23T00:00:00Z"}`), 0o600))
}

// TestKilledInTheFinish: the note about the restore names where the old state is kept.
func TestKilledInTheFinish(t *testing.T) {
	for name, others := range map[string]bool{"its own run": false, "another": true} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			before := state(t, m.tree)
			info := m.take("")
			m.spoil()
			r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID}
			_, err := m.Swap(t.Context(), r)
			require.NoError(t, err)
			m.note(r.ID)
			m.killed(r.ID, restore.StateFinishing)
			if others {
				require.NoError(t, m.EndOthers(t.Context()))
			}
			_, err = m.Undo(t.Context(), r)
			require.ErrorIs(t, err, golden.ErrOver)
			kept := filepath.Join(filepath.Dir(m.tree), restore.KeptPrefix+r.ID)
			require.DirExists(t, kept)
			require.ErrorContains(t, err, kept)
			got, err := m.Finish(t.Context(), r, true)
			require.NoError(t, err)
			require.Equal(t, []string{kept}, got)
			m.same(before)
		})
	}
}

// TestKilledInTheUndo: a Finish that failed before has noted that the new state stays; it does not.
func TestKilledInTheUndo(t *testing.T) {
	for name, others := range map[string]bool{"its own run": false, "another": true} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			info := m.take("")
			m.spoil()
			spoilt := state(t, m.tree)
			r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID}
			_, err := m.Swap(t.Context(), r)
			require.NoError(t, err)
			m.note(r.ID)
			m.killed(r.ID, restore.StateUndoing)
			if others {
				require.NoError(t, m.EndOthers(t.Context()))
			} else {
				undone, err := m.Undo(t.Context(), r)
				require.NoError(t, err)
				require.True(t, undone)
			}
			m.same(spoilt)
			standing, err := m.Standing(t.Context(), r.ID)
			require.NoError(t, err)
			require.Equal(t, golden.OldState, standing)
			_, err = m.Finish(t.Context(), r, false)
			require.ErrorContains(t, err, "not in place")
		})
	}
}
