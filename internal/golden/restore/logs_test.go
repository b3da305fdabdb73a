package restore

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// based is a golden of a database, and a live one that was changed, with logs beside it.
func based(t *testing.T, roots func(tree string) []string) (g *memory, tree string) {
	tree = t.TempDir() + "/tree"
	write(t, tree+"/app.db", "good")
	write(t, tree+"/other", "good")
	g = take(t, roots(tree)...)
	g.h.Sources = []format.Source{{Name: "app", Type: format.TypeSQLite, Path: tree + "/app.db"}}
	g.h.Exclude = []string{"/**/*-wal", "/**/*.log"}
	for _, p := range []string{"/app.db", "/app.db-wal", "/app.db-shm", "/app.db-journal", "/other"} {
		write(t, tree+p, "bad")
	}
	return g, tree
}

func TestLogsOfADatabaseGoWithItsState(t *testing.T) {
	folder := func(tree string) []string { return []string{tree} }
	file := func(tree string) []string { return []string{tree + "/app.db"} }
	for name, c := range map[string]struct {
		roots   func(string) []string
		inPlace bool
		only    []string
	}{
		"folder": {roots: folder}, "folder in place": {roots: folder, inPlace: true},
		"file": {roots: file}, "file in place": {roots: file, inPlace: true},
		"only the file": {roots: folder, only: []string{"/app.db"}}, "only the root": {roots: file, only: []string{"/app.db"}},
		"only the folder": {roots: folder, only: []string{""}},
	} {
		for same, live := range map[bool]string{false: "bad", true: "good"} {
			t.Run(name, func(t *testing.T) {
				g, tree := based(t, c.roots)
				write(t, tree+"/app.db", live)
				o := Options{Journal: t.TempDir(), InPlace: c.inPlace}
				for _, p := range c.only {
					o.Only = append(o.Only, tree+p)
				}
				before := picture(t, tree)
				plan, err := Plan(context.Background(), g, o)
				require.NoError(t, err)
				removed := 0
				for _, one := range plan.List {
					if one.Kind == Removed {
						removed++
					}
				}
				require.Equal(t, 3, removed, "%+v", plan.List)
				s, err := Stage(context.Background(), g, o)
				require.NoError(t, err)
				_, err = s.Swap(context.Background())
				require.NoError(t, err)
				require.Equal(t, "good", read(t, tree+"/app.db"))
				for _, log := range g.h.Sources[0].Logs() {
					require.NoFileExists(t, log)
				}
				if !same { // a service has run meanwhile
					write(t, tree+"/app.db-wal", "of the new state")
				}
				require.NoError(t, s.Undo(context.Background()))
				require.Len(t, picture(t, tree), len(before))
				require.Equal(t, "bad", read(t, tree+"/app.db-wal"))
				restoreAll(t, g, o)
				for _, log := range g.h.Sources[0].Logs() {
					require.NoFileExists(t, log)
				}
				leftovers(t, o.Journal, tree)
			})
		}
	}
}

// What a service has written before the undo belongs to the state that goes, also where there was no log before.
func TestUndoRemovesLogsOfTheNewState(t *testing.T) {
	for name, o := range map[string]Options{"whole": {}, "in place": {InPlace: true}, "only": {Only: []string{"app.db"}}} {
		for _, root := range []string{"", "/app.db"} {
			t.Run(name+root, func(t *testing.T) {
				g, tree := based(t, func(tree string) []string { return []string{tree + root} })
				for _, log := range g.h.Sources[0].Logs() {
					require.NoError(t, os.Remove(log))
				}
				if o.Journal = t.TempDir(); o.Only != nil {
					o.Only = []string{tree + "/app.db"}
				}
				s, err := Stage(context.Background(), g, o)
				require.NoError(t, err)
				_, err = s.Swap(context.Background())
				require.NoError(t, err)
				write(t, tree+"/app.db-wal", "of the new state")
				require.NoError(t, s.Undo(context.Background()))
				require.Equal(t, "bad", read(t, tree+"/app.db"))
				require.NoFileExists(t, tree+"/app.db-wal")
				leftovers(t, o.Journal, tree)
			})
		}
	}
}

// An export is restored as it was taken: no pattern carries over what the live state has in its place.
func TestNoPatternReachesIntoAnExport(t *testing.T) {
	for name, inPlace := range map[string]bool{"whole": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			tree := t.TempDir() + "/tree"
			write(t, tree+"/data/base/1", "good")
			write(t, tree+"/data/new.log", "good")
			g := take(t, tree)
			g.h.Sources = []format.Source{{Name: "db", Type: "postgres", Path: tree + "/data"}}
			g.h.Exclude = []string{"/**/*.log"}
			write(t, tree+"/data/base/2.log", "bad")
			write(t, tree+"/data/deep/3.log", "bad")
			write(t, tree+"/app.log", "kept")
			before := picture(t, tree)
			s, err := Stage(context.Background(), g, Options{Journal: t.TempDir(), InPlace: inPlace})
			require.NoError(t, err)
			_, err = s.Swap(context.Background())
			require.NoError(t, err)
			write(t, tree+"/data/base/4.log", "of the new state")
			require.NoFileExists(t, tree+"/data/base/2.log")
			require.NoDirExists(t, tree+"/data/deep")
			require.Equal(t, "good", read(t, tree+"/data/new.log"))
			require.Equal(t, "kept", read(t, tree+"/app.log"))
			if inPlace { // what was not there is not known of
				require.NoError(t, os.Remove(tree+"/data/base/4.log"))
			}
			require.NoError(t, s.Undo(context.Background()))
			same(t, before, picture(t, tree))
		})
	}
}

// A root that did not exist goes with all in it, also where nothing else lies beside it.
func TestRootThatWasMissingIsRemoved(t *testing.T) {
	for name, inPlace := range map[string]bool{"whole": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/tree/data", "good")
			g := take(t, dir+"/other/gone", dir+"/nowhere/at/all", dir+"/tree")
			write(t, dir+"/other/gone/file", "since")
			write(t, dir+"/other/stays", "since")
			before := picture(t, dir)
			o := Options{Journal: t.TempDir(), InPlace: inPlace}
			s, err := Stage(context.Background(), g, o)
			require.NoError(t, err)
			_, err = s.Swap(context.Background())
			require.NoError(t, err)
			require.NoDirExists(t, dir+"/other/gone")
			require.NoError(t, s.Undo(context.Background()))
			require.Len(t, picture(t, dir), len(before))
			require.Equal(t, "since", read(t, dir+"/other/gone/file"))
			restoreAll(t, g, o)
			require.NoDirExists(t, dir+"/other/gone")
			require.Equal(t, "since", read(t, dir+"/other/stays"))
			require.NoDirExists(t, dir+"/nowhere")
			leftovers(t, o.Journal, dir)
		})
	}
}
