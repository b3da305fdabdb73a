package restore

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// left makes a tree, its golden, and then damage and things that the golden leaves out.
func left(t *testing.T) (*memory, string) {
	dir := t.TempDir()
	tree := dir + "/tree"
	write(t, tree+"/data", "good")
	write(t, tree+"/log/old", "good")
	write(t, tree+"/cache/deep/x", "cached")
	g := take(t, tree)
	g.entries = without(g.entries, tree+"/cache")
	g.h.Exclude = []string{"/**/*.log", tree + "/cache"}
	write(t, tree+"/data", "bad")
	write(t, tree+"/log/app.log", "1")
	write(t, tree+"/new/other.log", "2")
	write(t, tree+"/new/rubbish", "bad")
	return g, tree
}

func without(list []format.Entry, root string) []format.Entry {
	var kept []format.Entry
	for _, e := range list {
		if !format.Below(root, e.Path) {
			kept = append(kept, e)
		}
	}
	return kept
}

func TestWhatTheGoldenLeavesOutSurvives(t *testing.T) {
	for name, inPlace := range map[string]bool{"whole": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			g, tree := left(t)
			sock, err := net.Listen("unix", tree+"/sock")
			require.NoError(t, err)
			defer sock.Close()
			open, err := os.OpenFile(tree+"/log/app.log", os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			defer open.Close()
			before := picture(t, tree)
			s, err := Stage(context.Background(), g, Options{Journal: t.TempDir(), InPlace: inPlace})
			require.NoError(t, err)
			_, err = s.Swap(context.Background())
			require.NoError(t, err)
			_, err = open.WriteString(" more")
			require.NoError(t, err)
			for path, want := range map[string]string{"data": "good", "log/old": "good", "log/app.log": "1 more", "new/other.log": "2", "cache/deep/x": "cached"} {
				require.Equal(t, want, read(t, filepath.Join(tree, path)))
			}
			require.NoFileExists(t, tree+"/new/rubbish")
			_, err = net.Dial("unix", tree+"/sock")
			require.NoError(t, err, "the socket did not outlive the restore")

			require.NoError(t, s.Undo(context.Background()))
			require.Equal(t, "1 more", read(t, tree+"/log/app.log"))
			after := picture(t, tree)
			delete(before, tree+"/log/app.log")
			delete(after, tree+"/log/app.log")
			same(t, before, after)
		})
	}
}

// What a service has written between swap and undo to places that the golden leaves out is kept too.
func TestUndoKeepsNewLogs(t *testing.T) {
	g, tree := left(t)
	s, err := Stage(context.Background(), g, Options{Journal: t.TempDir()})
	require.NoError(t, err)
	_, err = s.Swap(context.Background())
	require.NoError(t, err)
	require.NoError(t, os.Rename(tree+"/log/app.log", tree+"/log/app.1.log"))
	write(t, tree+"/log/app.log", "rotated")
	write(t, tree+"/fresh/young.log", "young")
	write(t, tree+"/cache/more", "more")
	require.NoError(t, s.Undo(context.Background()))
	for path, want := range map[string]string{
		"data": "bad", "new/rubbish": "bad", "log/app.1.log": "1", "log/app.log": "rotated",
		"fresh/young.log": "young", "cache/more": "more", "cache/deep/x": "cached", "new/other.log": "2",
	} {
		require.Equal(t, want, read(t, filepath.Join(tree, path)))
	}
}

func TestNoPlaceForWhatIsLeftOut(t *testing.T) {
	for name, inPlace := range map[string]bool{"whole": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			dir, journal := t.TempDir(), t.TempDir()
			write(t, dir+"/tree/spot", "a file in the golden")
			g := take(t, dir+"/tree")
			g.h.Exclude = []string{"/**/*.log"}
			require.NoError(t, os.Remove(dir+"/tree/spot"))
			write(t, dir+"/tree/spot/app.log", "1")
			before := picture(t, dir+"/tree")
			_, err := Stage(context.Background(), g, Options{Journal: journal, InPlace: inPlace})
			require.ErrorContains(t, err, "app.log")
			require.Contains(t, shivx.HintOf(err), "move "+dir+"/tree/spot")
			same(t, before, picture(t, dir+"/tree"))
			leftovers(t, journal, dir)
		})
	}
}

// A folder that the backup could not enter is in the golden without what is in it.
func TestWhatTheBackupSkippedSurvives(t *testing.T) {
	for name, inPlace := range map[string]bool{"whole": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/tree/data", "good")
			require.NoError(t, os.Mkdir(dir+"/tree/mnt", 0o755))
			g := take(t, dir+"/tree")
			g.h.Skipped = []format.Note{{Path: dir + "/tree/mnt", Why: "another file system"}, {Path: dir + "/tree/odd", Why: "unreadable"}}
			write(t, dir+"/tree/data", "bad")
			write(t, dir+"/tree/mnt/inside", "kept")
			write(t, dir+"/tree/odd", "kept")
			restoreAll(t, g, Options{Journal: t.TempDir(), InPlace: inPlace})
			require.Equal(t, "good", read(t, dir+"/tree/data"))
			require.Equal(t, "kept", read(t, dir+"/tree/mnt/inside"))
			require.Equal(t, "kept", read(t, dir+"/tree/odd"))
		})
	}
}

func TestTheOldStateIsKept(t *testing.T) {
	for name, inPlace := range map[string]bool{"whole": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/tree/data", "good")
			write(t, dir+"/tree/sub/more", "good")
			g := take(t, dir+"/tree")
			write(t, dir+"/tree/data", "bad")
			write(t, dir+"/tree/extra/x", "extra")
			s, err := Stage(context.Background(), g, Options{Journal: t.TempDir(), InPlace: inPlace})
			require.NoError(t, err)
			_, err = s.Swap(context.Background())
			require.NoError(t, err)
			require.NoError(t, s.Finish(context.Background(), true))
			require.Equal(t, []string{dir + "/" + KeptPrefix + s.ID()}, s.Changes().Kept)
			require.Equal(t, "bad", read(t, s.Changes().Kept[0]+"/tree/data"))
			require.Equal(t, "extra", read(t, s.Changes().Kept[0]+"/tree/extra/x"))
			info, err := os.Stat(s.Changes().Kept[0])
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
		})
	}
}

// The old state that an earlier restore has kept stays until somebody has looked at it, also where it lies in
// what a later restore replaces or removes.
func TestKeptOldStateOutlivesRestores(t *testing.T) {
	for name, inPlace := range map[string]bool{"whole": false, "in place": true} {
		for _, undo := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, undo %t", name, undo), func(t *testing.T) {
				dir := t.TempDir()
				tree := dir + "/tree"
				write(t, tree+"/data", "good")
				write(t, tree+"/sub/data", "good")
				g := take(t, tree)
				write(t, tree+"/data", "bad")
				kept := []string{tree + "/" + KeptPrefix + "one", tree + "/sub/" + KeptPrefix + "two", tree + "/later/deep/" + KeptPrefix + "three"}
				for _, k := range kept {
					write(t, k+"/tree/data", "older")
					require.NoError(t, os.Chmod(k, 0o700))
				}
				write(t, tree+"/later/deep/rubbish", "bad")
				s, err := Stage(context.Background(), g, Options{Journal: t.TempDir(), InPlace: inPlace})
				require.NoError(t, err)
				_, err = s.Swap(context.Background())
				require.NoError(t, err)
				want := "good"
				if undo {
					want = "bad"
					require.NoError(t, s.Undo(context.Background()))
				} else {
					require.NoError(t, s.Finish(context.Background(), false))
					require.NoFileExists(t, tree+"/later/deep/rubbish")
				}
				require.Equal(t, want, read(t, tree+"/data"))
				for _, k := range kept {
					require.Equal(t, "older", read(t, k+"/tree/data"))
					info, err := os.Stat(k)
					require.NoError(t, err)
					require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
				}
			})
		}
	}
}
