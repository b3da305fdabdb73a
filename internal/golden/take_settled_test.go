package golden_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/restore"
)

// tries takes a golden of a set, of both kinds, which either both succeed or are both refused.
func (m *machine) tries(e *golden.Engine, set string, busy bool, why string) {
	m.t.Helper()
	for _, kind := range []shivx.GoldenKind{shivx.GoldenKindBackup, shivx.GoldenKindSnapshot} {
		_, _, err := e.Take(m.t.Context(), golden.Order{Set: set, Kind: kind}, nil)
		if !busy {
			require.NoError(m.t, err, why)
			continue
		}
		require.ErrorIs(m.t, err, restore.ErrBusy, why)
		require.Contains(m.t, shivx.HintOf(err), "wait", why)
	}
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
