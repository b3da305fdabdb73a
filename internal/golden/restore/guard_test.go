package restore

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// host makes a tree with what ShivX itself keeps in it, as it lies by default, and its golden, which has
// nothing of that: it was not there, or the golden leaves it out.
func host(t *testing.T, exclude bool) (*memory, string, Options) {
	tree := t.TempDir() + "/tree"
	write(t, tree+"/conf", "good")
	write(t, tree+"/sub/deep/data", "good")
	write(t, tree+"/sub/other", "good")
	if exclude {
		require.NoError(t, os.Mkdir(tree+"/var", 0o750))
	}
	g := take(t, tree)
	if exclude {
		g.h.Exclude = []string{tree + "/var/**"}
	}
	o := Options{
		Journal: tree + "/var/recovery/golden/restores", ID: "own",
		Protect: []string{tree + "/var/recovery/golden", tree + "/sub/store", tree + "/nothing"}, Stay: []string{tree + "/var"},
	}
	write(t, o.Journal+"/lock", "")
	write(t, tree+"/var/recovery/golden/signing.key", "key")
	write(t, tree+"/var/ledger", "records")
	write(t, tree+"/sub/store/golden.json", "stored")
	write(t, tree+"/conf", "bad")
	write(t, tree+"/sub/deep/data", "bad")
	write(t, tree+"/sub/new/rubbish", "bad")
	return g, tree, o
}

var ours = map[string]string{
	"/var/recovery/golden/signing.key": "key", "/var/ledger": "records", "/sub/store/golden.json": "stored",
}

func inodeOf(t *testing.T, path string) uint64 {
	st, ok, err := statAt(-100, path)
	require.NoError(t, err)
	require.True(t, ok, path)
	return st.Ino
}

// Whatever the golden says, a restore moves and removes nothing that it needs to be taken up after a kill.
func TestWhatARestoreNeedsStays(t *testing.T) {
	for name, c := range map[string]struct{ exclude, inPlace, undo bool }{
		"whole": {}, "whole, left out": {exclude: true}, "whole, undone": {undo: true},
		"in place": {inPlace: true}, "in place, left out": {inPlace: true, exclude: true}, "in place, undone": {inPlace: true, undo: true},
	} {
		t.Run(name, func(t *testing.T) {
			g, tree, o := host(t, c.exclude)
			o.InPlace = c.inPlace
			before := picture(t, tree)
			numbers := map[string]uint64{}
			for _, p := range []string{"", "/var", "/var/recovery", "/var/recovery/golden", o.Journal[len(tree):], "/sub", "/sub/store"} {
				numbers[p] = inodeOf(t, tree+p)
			}
			stays := func(point string) {
				for p, n := range numbers {
					require.Equal(t, n, inodeOf(t, tree+p), "%s at %s", p, point)
				}
				for p, want := range ours {
					require.Equal(t, want, read(t, tree+p), "%s at %s", p, point)
				}
			}
			o.step = stays
			_, err := Plan(context.Background(), g, o)
			require.NoError(t, err)
			s, err := Stage(context.Background(), g, o)
			require.NoError(t, err)
			_, err = s.Swap(context.Background())
			require.NoError(t, err)
			pending, err := Pending(o.Journal)
			require.NoError(t, err)
			require.Len(t, pending, 1)
			require.Equal(t, "good", read(t, tree+"/sub/deep/data"))
			require.NoDirExists(t, tree+"/sub/new")
			if c.undo {
				require.NoError(t, s.Undo(context.Background()))
				after := picture(t, tree)
				delete(before, o.Journal)
				delete(after, o.Journal) // it was written to
				same(t, before, after)
			} else {
				require.NoError(t, s.Finish(context.Background(), false))
				require.Equal(t, "good", read(t, tree+"/conf"))
			}
			stays("the end")
			leftovers(t, o.Journal, tree)
		})
	}
}

// The folder of our state may be a root, or hold one; then what the golden has of it comes back.
func TestRootsInOurFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/var/dumps/shop", "good")
	write(t, dir+"/var/gone/x", "good")
	o := Options{Journal: dir + "/var/own/restores", Protect: []string{dir + "/var/own"}, Stay: []string{dir + "/var"}}
	for _, root := range []string{"/var", "/var/dumps"} {
		write(t, o.Journal+"/old", "")
		g := take(t, dir+root)
		write(t, dir+"/var/dumps/shop", "bad")
		require.NoError(t, os.RemoveAll(o.Journal))
		write(t, dir+"/var/own/key", "new")
		restoreAll(t, g, o)
		require.Equal(t, "good", read(t, dir+"/var/dumps/shop"))
		require.Equal(t, "new", read(t, dir+"/var/own/key"))
		require.NoFileExists(t, o.Journal+"/old", "a golden does not reach into what is ours")
		require.Equal(t, "good", read(t, dir+"/var/gone/x"))
	}
}

// What a golden has left out because it could not be taken stays, also where something of ours lies in it by now.
func TestOursInWhatTheBackupSkipped(t *testing.T) {
	for name, inPlace := range map[string]bool{"whole": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/tree/data", "good")
			require.NoError(t, os.Mkdir(dir+"/tree/mnt", 0o755))
			g := take(t, dir+"/tree")
			g.h.Skipped = []format.Note{{Path: dir + "/tree/mnt", Why: "another file system"}}
			write(t, dir+"/tree/data", "bad")
			write(t, dir+"/tree/mnt/inside", "kept")
			write(t, dir+"/tree/mnt/store/golden", "stored")
			restoreAll(t, g, Options{Journal: t.TempDir(), InPlace: inPlace, Protect: []string{dir + "/tree/mnt/store"}})
			require.Equal(t, "good", read(t, dir+"/tree/data"))
			require.Equal(t, "kept", read(t, dir+"/tree/mnt/inside"))
			require.Equal(t, "stored", read(t, dir+"/tree/mnt/store/golden"))
		})
	}
}

// A link on the way to what is ours stays as well: nobody would find it without.
func TestLinksToWhatIsOursStay(t *testing.T) {
	for name, inPlace := range map[string]bool{"whole": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/tree/data", "good")
			g := take(t, dir+"/tree")
			write(t, dir+"/tree/data", "bad")
			write(t, dir+"/away/own/key", "key")
			require.NoError(t, os.Symlink(dir+"/away", dir+"/tree/var"))
			restoreAll(t, g, Options{Journal: dir + "/tree/var/own/restores", InPlace: inPlace, Protect: []string{dir + "/tree/var/own"}, Stay: []string{dir + "/tree/var"}})
			require.Equal(t, "good", read(t, dir+"/tree/data"))
			require.Equal(t, "key", read(t, dir+"/tree/var/own/key"))
		})
	}
}

func TestWhatIsOursIsNotRestored(t *testing.T) {
	g, dir := spoilt(t)
	for name, o := range map[string]Options{
		"root":        {Protect: []string{dir + "/tree"}},
		"in":          {Protect: []string{dir}},
		"only":        {Protect: []string{dir + "/tree/a"}, Only: []string{dir + "/tree/a/data"}},
		"itself only": {Protect: []string{dir + "/tree/a/data"}, Only: []string{dir + "/tree/a/data"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := refused(t, g, dir, o, "which ShivX itself works with")
			require.Contains(t, shivx.HintOf(err), "--to")
		})
	}
	// Elsewhere nothing is in its way.
	to := t.TempDir()
	restoreAll(t, g, Options{Journal: t.TempDir(), To: to, Protect: []string{dir}})
	require.Equal(t, "good", read(t, to+dir+"/tree/a/data"))

	// A golden that has a file where a folder of ours is, or one file in both, cannot be put in place.
	write(t, dir+"/tree/c/own/key", "key")
	g.entries = append(g.entries, format.Entry{Path: dir + "/tree/c", Type: format.TypeSymlink, Link: "a"})
	require.NotEmpty(t, shivx.HintOf(refused(t, g, dir, Options{Protect: []string{dir + "/tree/c/own"}}, "c")))
	g.entries = g.entries[:len(g.entries)-1]
	g.entries = append(g.entries, format.Entry{Path: dir + "/tree/linked", Type: format.TypeHardlink, Link: dir + "/tree/a/data"})
	require.NotEmpty(t, shivx.HintOf(refused(t, g, dir, Options{Protect: []string{dir + "/tree/a/data"}}, "it is one file with")))
}
