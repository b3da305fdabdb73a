package golden_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/restore"
)

// tries takes goldens of a set: a backup that is refused while the set is busy, and a snapshot that warns then.
func (m *machine) tries(e *golden.Engine, set string, busy bool, why string) {
	m.t.Helper()
	_, got, err := e.Take(m.t.Context(), golden.Order{Set: set, Kind: shivx.GoldenKindSnapshot}, nil)
	require.NoError(m.t, err, why)
	_, _, err = e.Take(m.t.Context(), golden.Order{Set: set, Kind: shivx.GoldenKindBackup}, nil)
	if !busy {
		require.NoError(m.t, err, why)
		require.Empty(m.t, got.Warnings, why)
		return
	}
	require.ErrorIs(m.t, err, restore.ErrBusy, why)
	require.Contains(m.t, shivx.HintOf(err), "wait", why)
	require.Len(m.t, got.Warnings, 1, why)
	require.Contains(m.t, got.Warnings[0], restore.ErrBusy.Error(), why)
}

// TestNothingIsTakenOfAnUnjudgedRestore: it would be the newest golden, of a state that may be undone as not
// good, and of two states while files are exchanged.
func TestNothingIsTakenOfAnUnjudgedRestore(t *testing.T) {
	m := newMachine(t, func(o *golden.Options) {
		tree := o.Sets[0].Paths[0]
		away := filepath.Join(filepath.Dir(tree), "away")
		require.NoError(t, os.MkdirAll(away, 0o755))
		link := filepath.Join(filepath.Dir(tree), "link")
		require.NoError(t, os.Symlink(tree, link))
		o.Sets = append(o.Sets, golden.Set{Name: "part", Paths: []string{filepath.Join(tree, "d0")}},
			golden.Set{Name: "linked", Paths: []string{link + "/d0"}}, golden.Set{Name: "away", Paths: []string{away}})
	})
	info := m.take("")
	m.spoil()
	r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID}
	_, err := m.Stage(t.Context(), r, nil)
	require.NoError(t, err)
	m.tries(m.Engine, "shop", false, "what is only staged harms nothing")
	_, err = m.Swap(t.Context(), r)
	require.NoError(t, err)
	other := golden.New(m.o) // such as --local, while the agent has the restore
	for _, e := range []*golden.Engine{m.Engine, other} {
		m.tries(e, "shop", true, "swapped")
		m.tries(e, "part", true, "below it")
		m.tries(e, "linked", true, "by a link")
		m.tries(e, "away", false, "elsewhere")
	}
	require.NoError(t, other.Close())
	_, _, err = m.Take(t.Context(), golden.Order{Set: "shop", Plan: true}, nil)
	require.NoError(t, err, "a plan stores nothing")
	for _, s := range []restore.State{restore.StateUndoing, restore.StateSwapping} {
		m.killed(r.ID, s)
		m.tries(m.Engine, "shop", true, string(s))
		m.killedAs(r.ID, s, restore.StateSwapped)
	}
	undone, err := m.Undo(t.Context(), r)
	require.NoError(t, err)
	require.True(t, undone)
	m.tries(m.Engine, "shop", false, "undone")

	r.ID = "next"
	_, err = m.Swap(t.Context(), r)
	require.NoError(t, err)
	_, err = m.Finish(t.Context(), r, false)
	require.NoError(t, err)
	m.tries(m.Engine, "shop", false, "found to be good")
	to := golden.Restore{ID: "to", Set: "shop", Golden: info.ID, To: t.TempDir()}
	_, err = m.Swap(t.Context(), to)
	require.NoError(t, err)
	m.tries(m.Engine, "shop", false, "put elsewhere")
}

// TestNothingIsTakenAcrossARestore: what was read before the swap and after it is of two states, also when the
// restore has ended by the time the golden is written.
func TestNothingIsTakenAcrossARestore(t *testing.T) {
	ends := map[string]func(*machine, golden.Restore) error{
		"unjudged": func(*machine, golden.Restore) error { return nil },
		"finished": func(m *machine, r golden.Restore) error {
			_, err := m.Finish(context.Background(), r, false)
			return err
		},
		"undone": func(m *machine, r golden.Restore) error {
			_, err := m.Undo(context.Background(), r)
			return err
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			info := m.take("")
			m.spoil()
			r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID}
			_, err := m.Stage(t.Context(), r, nil)
			require.NoError(t, err)
			restored := false
			_, _, err = m.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup}, func(shivx.GoldenProgress) {
				if restored {
					return
				}
				restored = true
				_, err := m.Swap(t.Context(), r)
				require.NoError(t, err)
				require.NoError(t, end(m, r))
			})
			require.True(t, restored)
			require.ErrorIs(t, err, restore.ErrBusy)
			list, err := m.List(t.Context(), "shop")
			require.NoError(t, err)
			require.Len(t, list, 1)
		})
	}
}

// TestABackupGivesUpAStaleRestore: one whose run is gone would keep all backups of its files away for ever.
func TestABackupGivesUpAStaleRestore(t *testing.T) {
	m := newMachine(t, func(o *golden.Options) { o.Patience = time.Nanosecond })
	before := state(t, m.tree)
	info := m.take("")
	m.spoil()
	r := golden.Restore{ID: "gone", Set: "shop", Golden: info.ID}
	_, err := m.Swap(t.Context(), r)
	require.NoError(t, err)
	job := filepath.Join(m.Journals(), "gone.services")
	require.NoError(t, os.WriteFile(job, nil, 0o600))
	m.tries(m.Engine, "shop", true, "a local one is judged by who resumes it")
	require.NoError(t, os.Remove(job))
	for _, s := range []restore.State{restore.StateUndoing, restore.StateSwapping} {
		m.killed(r.ID, s)
		m.tries(m.Engine, "shop", true, "a backup changes no files")
		m.killedAs(r.ID, s, restore.StateSwapped)
	}
	m.tries(m.Engine, "shop", false, "given up")
	m.same(before)
	left, err := m.Pending()
	require.NoError(t, err)
	require.Empty(t, left)
	kept, err := filepath.Glob(filepath.Join(filepath.Dir(m.tree), restore.KeptPrefix+"*"))
	require.NoError(t, err)
	require.Len(t, kept, 1, "the old state is kept for people")
	_, err = m.Undo(t.Context(), r)
	require.ErrorIs(t, err, golden.ErrOver)
}

// TestAClockThatWasWrongStopsNoBackups: what a restore has left behind is of a year that is still to come.
func TestAClockThatWasWrongStopsNoBackups(t *testing.T) {
	m := newMachine(t)
	info := m.take("")
	m.spoil()
	r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID}
	_, err := m.Swap(t.Context(), r)
	require.NoError(t, err)
	require.NoError(t, m.Close())
	m.tries(m.Engine, "shop", true, "its run may still judge it")
	future := time.Now().AddDate(1, 0, 0)
	require.NoError(t, os.Chtimes(filepath.Join(m.Journals(), "r.journal"), future, future))
	m.tries(m.Engine, "shop", false, "given up")

	note := filepath.Join(m.Journals(), "r.ended")
	data, err := json.Marshal(map[string]any{"set": "shop", "at": future, "swapped": []string{m.tree}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(note, data, 0o600))
	m.tries(m.Engine, "shop", false, "it was there before")
	require.NoError(t, os.Chtimes(note, future, future))
	m.restore("next", info.ID)
	require.NoFileExists(t, note, "or it would stay for a year")
}

// TestWhatCannotBeReadOfRestores: a note is of one that has ended, so it matters only when it is new; a journal may be
// of any files.
func TestWhatCannotBeReadOfRestores(t *testing.T) {
	m := newMachine(t)
	require.NoError(t, os.MkdirAll(m.Journals(), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(m.Journals(), "old.ended"), []byte("{"), 0o600))
	m.tries(m.Engine, "shop", false, "it was there before")
	refused := func(name string, tell func(shivx.GoldenProgress)) {
		t.Helper()
		_, _, err := m.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup}, tell)
		require.ErrorContains(t, err, filepath.Join(m.Journals(), name))
		require.Contains(t, shivx.HintOf(err), "away")
		require.NoError(t, os.Remove(filepath.Join(m.Journals(), name)))
	}
	refused("new.ended", func(shivx.GoldenProgress) {
		require.NoError(t, os.WriteFile(filepath.Join(m.Journals(), "new.ended"), []byte("{"), 0o600))
	})
	broken := filepath.Join(m.Journals(), "x.journal")
	require.NoError(t, os.WriteFile(broken, []byte("{"), 0o600))
	_, got, err := m.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindSnapshot}, nil)
	require.NoError(t, err)
	require.Len(t, got.Warnings, 1)
	require.Contains(t, got.Warnings[0], broken)
	refused("x.journal", nil)
}
