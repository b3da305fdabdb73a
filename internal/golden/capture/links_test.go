package capture

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

func hardlink(t testing.TB, old, path string) {
	t.Helper()
	write(t, path, "")
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Link(old, path))
}

func TestHardLinks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/b/file", "shared")
	hardlink(t, dir+"/b/file", dir+"/a/name")
	hardlink(t, dir+"/b/file", dir+"/c/d/name")
	write(t, dir+"/outside", "two names, one captured")
	hardlink(t, dir+"/outside", dir+"/b/inside")
	roots := []string{dir + "/a", dir + "/b", dir + "/c"}

	m := newMemory()
	o := Options{Roots: roots, now: later}
	r, err := newRun(m, o)
	require.NoError(t, err)
	result, err := r.run(t.Context())
	require.NoError(t, err)
	checkGolden(t, m, result)
	require.Equal(t, "shared", string(m.content(t, m.entry(t, dir+"/a/name"))))
	for _, p := range []string{dir + "/b/file", dir + "/c/d/name"} {
		require.Equal(t, format.Entry{Path: p, Type: format.TypeHardlink, Link: dir + "/a/name"}, m.entry(t, p))
	}
	require.Equal(t, format.TypeFile, m.entry(t, dir+"/b/inside").Type)
	require.Len(t, r.links.known, 1, "only the file whose other name was not met is remembered")

	o.Previous = m.all()
	again := m.after()
	require.Zero(t, capture(t, again, o).Read)
	require.Equal(t, m.entries, again.entries)

	// Without its first name the next one becomes the file.
	require.NoError(t, os.Remove(dir+"/a/name"))
	o.Previous = again.all()
	third := again.after()
	capture(t, third, o)
	require.Equal(t, "shared", string(third.content(t, third.entry(t, dir+"/b/file"))))
	require.Equal(t, dir+"/b/file", third.entry(t, dir+"/c/d/name").Link)
}

// Symbolic links and pipes may have several names, too.
func TestHardLinksOfLinksAndPipes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/b/file", "")
	require.NoError(t, os.Symlink("file", dir+"/b/link"))
	require.NoError(t, unix.Mkfifo(dir+"/b/pipe", 0o640))
	for _, n := range []string{"link", "pipe"} {
		hardlink(t, dir+"/b/"+n, dir+"/a/"+n)
		hardlink(t, dir+"/b/"+n, dir+"/c/d/"+n)
	}
	o := Options{Roots: []string{dir}, now: later}
	m := newMemory()
	r, err := newRun(m, o)
	require.NoError(t, err)
	result, err := r.run(t.Context())
	require.NoError(t, err)
	checkGolden(t, m, result)
	require.Empty(t, r.links.known)
	link, pipe := m.entry(t, dir+"/a/link"), m.entry(t, dir+"/a/pipe")
	require.Equal(t, format.TypeSymlink, link.Type)
	require.Equal(t, "file", link.Link)
	require.Equal(t, format.TypeFIFO, pipe.Type)
	require.EqualValues(t, 0o640, pipe.Mode)
	for _, n := range []string{"link", "pipe"} {
		for _, p := range []string{dir + "/b/" + n, dir + "/c/d/" + n} {
			require.Equal(t, format.Entry{Path: p, Type: format.TypeHardlink, Link: dir + "/a/" + n}, m.entry(t, p))
		}
	}
	o.Previous = m.all()
	again := m.after()
	capture(t, again, o)
	require.Equal(t, m.entries, again.entries)

	require.NoError(t, os.Remove(dir+"/a/link"))
	o.Previous = again.all()
	third := again.after()
	capture(t, third, o)
	require.Equal(t, "file", third.entry(t, dir+"/b/link").Link)
	require.Equal(t, dir+"/b/link", third.entry(t, dir+"/c/d/link").Link)
}

// Names of one file met by several workers at the same time.
func TestManyHardLinks(t *testing.T) {
	dir := t.TempDir()
	const files, names = 60, 5
	for i := range files {
		first := write(t, fmt.Sprintf("%s/4/f%02d", dir, i), fmt.Sprint("content of ", i))
		for n := range names - 1 {
			hardlink(t, first, fmt.Sprintf("%s/%d/f%02d", dir, n, i))
		}
	}
	for range 20 {
		m := newMemory()
		capture(t, m, Options{Roots: []string{dir}, Workers: 4})
		for i := range files {
			first := fmt.Sprintf("%s/0/f%02d", dir, i)
			require.Equal(t, fmt.Sprint("content of ", i), string(m.content(t, m.entry(t, first))))
			for n := 1; n < names; n++ {
				require.Equal(t, first, m.entry(t, fmt.Sprintf("%s/%d/f%02d", dir, n, i)).Link)
			}
		}
	}
}

func TestReplacementsAreNoHardLinks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/live/a", "")
	export := write(t, dir+"/export", "shared")
	hardlink(t, export, dir+"/other")
	o := Options{Roots: []string{dir + "/live"}, Overlays: map[string]string{dir + "/live/a": export, dir + "/live/b": export}, now: later}
	m := newMemory()
	capture(t, m, o)
	require.Equal(t, format.TypeFile, m.entry(t, dir+"/live/a").Type)
	require.Equal(t, format.TypeFile, m.entry(t, dir+"/live/b").Type)
	o.Previous = m.all()
	again := m.after()
	capture(t, again, o)
	require.Equal(t, m.entries, again.entries)
}

// The name that a worker reads vanishes; another name of the same file comes before it, and stays.
func TestHardLinkWhoseReaderVanishes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a", "shared")
	hardlink(t, dir+"/a", dir+"/b")
	r, err := newRun(newMemory(), Options{Roots: []string{dir}})
	require.NoError(t, err)
	st := stat(t, dir+"/a")
	require.True(t, r.links.claim(inode{st.Dev, st.Ino}), "as if a worker had met the other name first, in vain")
	m := r.sink.(*memory)
	result, err := r.run(t.Context())
	require.NoError(t, err)
	checkGolden(t, m, result)
	require.Equal(t, "shared", string(m.content(t, m.entry(t, dir+"/a"))))
	require.Equal(t, dir+"/a", m.entry(t, dir+"/b").Link)
}
