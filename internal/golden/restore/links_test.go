package restore

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Names of one symbolic link, or of one pipe, are names of one again.
func TestHardLinksOfLinksAndPipes(t *testing.T) {
	dir := t.TempDir()
	tree := dir + "/tree"
	write(t, tree+"/file", "good")
	write(t, tree+"/sub/file", "good")
	require.NoError(t, os.Symlink("file", tree+"/link"))
	require.NoError(t, unix.Mkfifo(tree+"/pipe", 0o640))
	for _, n := range []string{"/link", "/pipe"} {
		require.NoError(t, os.Link(tree+n, tree+"/sub"+n))
	}
	g := take(t, tree)
	want := picture(t, tree)
	replace := func(path string, make func(string) error) {
		require.NoError(t, os.Remove(path))
		require.NoError(t, make(path))
	}
	for _, spoil := range []func(){
		func() {}, // nothing differs
		func() { require.NoError(t, os.Remove(tree+"/sub/link")) },
		func() { replace(tree+"/link", func(p string) error { return os.Symlink("file", p) }) },
		func() { replace(tree+"/sub/link", func(p string) error { return os.Link(tree+"/file", p) }) },
		func() { replace(tree+"/sub/pipe", func(p string) error { return os.Link(tree+"/link", p) }) },
		func() { replace(tree+"/sub/pipe", func(p string) error { return os.Mkdir(p, 0o755) }) },
	} {
		for _, inPlace := range []bool{true, false} {
			spoil()
			o := Options{Journal: t.TempDir(), InPlace: inPlace}
			restoreAll(t, g, o)
			same(t, want, picture(t, tree))
			c, err := Plan(context.Background(), g, o)
			require.NoError(t, err)
			require.False(t, c.Any(), "%v", c.List)
		}
	}
	require.NoError(t, os.RemoveAll(tree+"/sub"))
	restoreAll(t, g, Options{Journal: t.TempDir(), InPlace: true, Only: []string{tree + "/sub/link"}})
	to, err := os.Readlink(tree + "/sub/link")
	require.NoError(t, err)
	require.Equal(t, "file", to)
}
