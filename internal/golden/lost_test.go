package golden_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/store"
	"github.com/shivx/shivx/internal/testenv"
)

func (m *machine) try(o golden.Order) (shivx.GoldenInfo, shivx.GoldenCapture, error) {
	o.Set = "shop"
	if o.Kind == "" {
		o.Kind = shivx.GoldenKindBackup
	}
	return m.Take(m.t.Context(), o, nil)
}

// A backup does not take a disk that is not mounted for a folder that is gone.
func TestABackupDoesNotLoseAPath(t *testing.T) {
	vol := filepath.Join(t.TempDir(), "vol")
	m := newMachine(t, func(o *golden.Options) { o.Sets[0].Paths = append(o.Sets[0].Paths, vol, filepath.Join(vol, "deep")) })
	first, got, err := m.try(golden.Order{})
	require.NoError(t, err, "nothing was there before that could be lost")
	require.Equal(t, []string{vol}, got.Missing, "people hear of it")
	require.Equal(t, 1, first.Missing)

	testenv.Tmpfs(t, vol, "size=1m")
	_, got, err = m.try(golden.Order{})
	require.NoError(t, err, "an empty folder that was never full")
	require.Empty(t, got.Missing)
	require.NoError(t, os.MkdirAll(filepath.Join(vol, "deep"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(vol, "deep", "rows"), []byte("rows"), 0o600))
	good := m.take("")
	stored := state(t, m.store)

	unmounted := func() { require.NoError(t, os.RemoveAll(filepath.Join(vol, "deep"))) }
	unmounted()
	refused := func(what string) {
		t.Helper()
		_, _, err := m.try(golden.Order{})
		require.ErrorIs(t, err, golden.ErrLost)
		require.ErrorContains(t, err, what)
		require.ErrorContains(t, err, good.ID)
		require.Contains(t, shivx.HintOf(err), "mount it")
		require.Contains(t, shivx.HintOf(err), "--allow-missing")
		require.Equal(t, stored, state(t, m.store), "something was stored")
	}
	refused(vol + " is empty")
	require.NoError(t, os.WriteFile(filepath.Join(vol, "stray"), nil, 0o600))
	refused(filepath.Join(vol, "deep") + " is missing")

	_, got, err = m.try(golden.Order{Kind: shivx.GoldenKindSnapshot})
	require.NoError(t, err, "a snapshot is better than none")
	require.Len(t, got.Warnings, 1)
	require.Contains(t, got.Warnings[0], "deep is missing")
	_, _, err = m.try(golden.Order{})
	require.ErrorIs(t, err, golden.ErrLost, "a snapshot is no backup")
	_, _, err = m.try(golden.Order{AllowMissing: true})
	require.NoError(t, err)
	m.take("") // once is enough
}

// TestWhatOthersSayOfThisHost: a golden in its name that it has not signed takes no name from it, and says nothing of
// what it has lost.
func TestWhatOthersSayOfThisHost(t *testing.T) {
	vol := filepath.Join(t.TempDir(), "vol")
	m := newMachine(t, func(o *golden.Options) { o.Sets[0].Paths = append(o.Sets[0].Paths, vol) })
	m.take("")
	require.NoError(t, os.MkdirAll(vol, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(vol, "rows"), []byte("rows"), 0o600))
	o := m.o
	o.Dir = t.TempDir() // another key
	other := golden.New(o)
	_, _, err := other.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup, Name: "mine"}, nil)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, os.RemoveAll(vol))
	m.take("")
	m.take("mine")
	_, _, err = m.try(golden.Order{Name: "mine"})
	require.ErrorIs(t, err, golden.ErrName)
}

// What a golden has of exports need not be there otherwise.
func TestExportsAreNotLost(t *testing.T) {
	db := &dumped{}
	m := newMachine(t, func(o *golden.Options) {
		dumps := filepath.Join(filepath.Dir(o.Dir), "dumps")
		require.NoError(t, os.Mkdir(dumps, 0o755))
		db.path = filepath.Join(dumps, "db")
		o.Sets[0].Paths = append(o.Sets[0].Paths, dumps)
		o.Sets[0].Sources = append(o.Sets[0].Sources, db)
	})
	m.take("")
	m.take("")
}

// latest is the last one taken, whatever the clock said.
func TestABackupIsTheNewest(t *testing.T) {
	m := newMachine(t)
	future := m.take("")
	synctest.Test(t, func(t *testing.T) { // in the year 2000
		_, _, err := m.try(golden.Order{})
		require.ErrorIs(t, err, store.ErrClock)
		require.ErrorContains(t, err, future.ID)
		require.Contains(t, shivx.HintOf(err), "timedatectl")
		_, file, _ := strings.Cut(shivx.HintOf(err), "by hand: remove ")
		file, _, _ = strings.Cut(file, " ")
		_, _, err = m.try(golden.Order{Kind: shivx.GoldenKindSnapshot})
		require.NoError(t, err)
		require.NoError(t, os.Remove(filepath.Join(m.store, file)))
		_, _, err = m.try(golden.Order{})
		require.NoError(t, err)
	})
}
