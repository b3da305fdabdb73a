package restore

import (
	"context"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/testenv"
)

func TestRestoreOnlySomePaths(t *testing.T) {
	dir := t.TempDir()
	tree := dir + "/tree"
	for _, p := range []string{"/a/x", "/a/y", "/b/deep/z", "/c"} {
		write(t, tree+p, "good"+p)
	}
	require.NoError(t, os.Link(tree+"/a/y", tree+"/b/linked"))
	require.NoError(t, os.Link(tree+"/a/y", tree+"/b/more"))
	require.NoError(t, os.Chmod(tree+"/b/deep", 0o711))
	g := take(t, tree)
	want := picture(t, tree)
	for _, p := range []string{"/a/x", "/a/y", "/c", "/b/extra", "/a/extra"} {
		write(t, tree+p, "bad")
	}
	require.NoError(t, os.RemoveAll(tree+"/b"))
	bad := picture(t, tree)
	o := Options{Journal: t.TempDir(), Only: []string{tree + "/a/x", tree + "/b/deep/z", tree + "/b/linked", tree + "/b/more"}}
	s, err := Stage(context.Background(), g, o)
	require.NoError(t, err)
	require.Equal(t, "good/b/deep/z", read(t, s.Path(tree+"/b/deep/z")))
	require.Equal(t, "good/a/x", read(t, s.Path(tree+"/a/x")))
	require.Equal(t, tree+"/a/y", s.Path(tree+"/a/y"))
	_, err = s.Swap(context.Background())
	require.NoError(t, err)
	now := picture(t, tree)
	for _, p := range []string{"/a/x", "/b/deep", "/b/deep/z"} {
		require.Equal(t, want[tree+p], now[tree+p])
	}
	for p, text := range map[string]string{"/a/y": "bad", "/c": "bad", "/a/extra": "bad", "/b/linked": "good/a/y"} {
		require.Equal(t, text, read(t, tree+p))
	}
	require.Contains(t, now[tree+"/b/linked"], tree+"/b/linked|"+tree+"/b/more", "the two are one file no more")
	require.NoError(t, s.Undo(context.Background()))
	same(t, bad, picture(t, tree))

	o.Only = []string{tree + "/a"}
	restoreAll(t, g, o)
	require.NoFileExists(t, tree+"/a/extra")
	require.Equal(t, "good/a/y", read(t, tree+"/a/y"))
	require.NoDirExists(t, tree+"/b")
	leftovers(t, o.Journal, dir)
}

func TestOnlyWhatTheGoldenHas(t *testing.T) {
	g, dir := spoilt(t)
	for _, only := range []string{"/etc", dir + "/tree/nothing", "relative", dir + "/tree/a/../b"} {
		require.Error(t, refused(t, g, dir, Options{Only: []string{only}}, ""))
		_, err := Plan(context.Background(), g, Options{Only: []string{only}})
		require.Error(t, err, only)
	}
	require.NoError(t, os.RemoveAll(dir+"/tree/a"))
	require.NoError(t, os.Symlink("/etc", dir+"/tree/a"))
	err := refused(t, g, dir, Options{Only: []string{dir + "/tree/a/data"}}, "is a symlink")
	require.NotEmpty(t, shivx.HintOf(err))
}

func TestRestoreToAnotherPlace(t *testing.T) {
	g, dir := spoilt(t)
	bad := picture(t, dir+"/tree")
	to := dir + "/other/place"
	o := Options{Journal: t.TempDir(), To: to}
	c, err := Plan(context.Background(), g, o)
	require.NoError(t, err)
	require.Equal(t, []Change{{Path: dir + "/tree", Kind: Added, Type: "dir", Entries: 5, Bytes: 12}}, c.List)
	require.NoDirExists(t, dir+"/other")
	s, err := Stage(context.Background(), g, o)
	require.NoError(t, err)
	require.Equal(t, "good", read(t, s.Path(dir+"/tree/a/data")))
	require.NoError(t, s.Discard(context.Background()))
	require.NoDirExists(t, dir+"/other")

	s, err = Stage(context.Background(), g, o)
	require.NoError(t, err)
	_, err = s.Swap(context.Background())
	require.NoError(t, err)
	require.Equal(t, "good", read(t, to+dir+"/tree/a/data"))
	require.NoError(t, s.Undo(context.Background()))
	require.NoDirExists(t, dir+"/other")

	o.Only = []string{dir + "/tree/a/data"}
	restoreAll(t, g, o)
	require.Equal(t, "good", read(t, to+dir+"/tree/a/data"))
	require.NoDirExists(t, to+dir+"/tree/b")
	_, err = Stage(context.Background(), g, o)
	require.ErrorIs(t, err, fs.ErrExist)
	require.NotEmpty(t, shivx.HintOf(err))
	_, err = Plan(context.Background(), g, o)
	require.ErrorIs(t, err, fs.ErrExist)

	o.Only = []string{dir + "/tree/b"}
	s, err = Stage(context.Background(), g, o)
	require.NoError(t, err)
	write(t, to+dir+"/tree/b", "somebody was quicker")
	_, err = s.Swap(context.Background())
	require.ErrorIs(t, err, fs.ErrExist)
	require.NoError(t, s.Discard(context.Background()))
	require.Equal(t, "somebody was quicker", read(t, to+dir+"/tree/b"))
	same(t, bad, picture(t, dir+"/tree"))
	leftovers(t, o.Journal, dir)
}

func TestFileSystemsBelowARoot(t *testing.T) {
	dir := t.TempDir()
	testenv.Tmpfs(t, dir+"/tree/vol", "size=8m")
	write(t, dir+"/tree/data", "good")
	write(t, dir+"/tree/vol/data", "good")
	write(t, dir+"/tree/vol/sub/x", "good")
	g := take(t, dir+"/tree")
	want := picture(t, dir+"/tree")
	write(t, dir+"/tree/data", "bad")
	write(t, dir+"/tree/vol/data", "bad")
	write(t, dir+"/tree/vol/extra", "bad")
	require.NoError(t, os.RemoveAll(dir+"/tree/vol/sub"))
	bad := picture(t, dir+"/tree")
	o := Options{Journal: t.TempDir()}
	_, err := Stage(context.Background(), g, o)
	require.ErrorContains(t, err, "another file system is mounted below it at "+dir+"/tree/vol")
	same(t, bad, picture(t, dir+"/tree"))

	o.InPlace = true
	s, err := Stage(context.Background(), g, o)
	require.NoError(t, err)
	_, err = s.Swap(context.Background())
	require.NoError(t, err)
	require.NoError(t, s.Undo(context.Background()))
	same(t, bad, picture(t, dir+"/tree"))
	restoreAll(t, g, o)
	same(t, want, picture(t, dir+"/tree"))
	leftovers(t, o.Journal, dir)

	g.entries = without(g.entries, dir+"/tree/vol")
	restoreAll(t, g, o)
	require.Equal(t, "good", read(t, dir+"/tree/vol/data"), "a file system that the golden does not know was emptied")
}

func TestRootsThatAreOneAndTheSame(t *testing.T) {
	g, dir := spoilt(t)
	require.NoError(t, os.Symlink(dir, dir+"/again"))
	g.h.Roots = []string{dir + "/again/tree/a", dir + "/tree"}
	_, err := Plan(context.Background(), g, Options{})
	require.ErrorContains(t, err, "to the same place")
}

func TestWhatIsMountedByItselfIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/tree/hosts", "good")
	write(t, dir+"/tree/data", "good")
	write(t, dir+"/other", "other")
	g := take(t, dir+"/tree")
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, to mount")
	}
	require.NoError(t, unix.Mount(dir+"/other", dir+"/tree/hosts", "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(dir+"/tree/hosts", unix.MNT_DETACH) })
	err := refused(t, g, dir, Options{}, "mounted")
	require.ErrorIs(t, err, unix.EBUSY)
	write(t, dir+"/tree/data", "bad")
	restoreAll(t, g, Options{Journal: t.TempDir(), Only: []string{dir + "/tree/data"}})
	require.Equal(t, "good", read(t, dir+"/tree/data"))

	g.entries[0] = format.Entry{Path: dir + "/tree", Type: format.TypeSymlink, Link: "/etc"}
	g.entries = g.entries[:1]
	_, err = Stage(context.Background(), g, Options{Journal: t.TempDir(), InPlace: true})
	require.ErrorContains(t, err, "hosts, which the golden leaves out")
}
