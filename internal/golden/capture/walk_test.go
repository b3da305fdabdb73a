package capture

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

func TestOddNames(t *testing.T) {
	dir := t.TempDir()
	names := []string{" ", "\n", "\t\x01", "-rf", "..a", "...", "\xff\xfe", "é", strings.Repeat("n", 255), strings.Repeat("\xf0", 255), `back\slash`, "*", "[a"}
	for _, n := range names {
		write(t, dir+"/"+n, n)
		require.NoError(t, os.Symlink(n, dir+"/l"+n[:min(len(n), 200)]))
	}
	m := newMemory()
	capture(t, m, Options{Roots: []string{dir}})
	require.Len(t, m.entries, 1+2*len(names))
	for _, n := range names {
		require.Equal(t, n, string(m.content(t, m.entry(t, dir+"/"+n))))
		require.Equal(t, n, m.entry(t, dir+"/l"+n[:min(len(n), 200)]).Link)
	}
}

// nest makes folders in one another by descriptors, each with files before and after the next one,
// and returns the path of the innermost.
func nest(t testing.TB, dir, name string, depth int) string {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	for range depth {
		for _, f := range []string{"a", "zz"} {
			file, err := unix.Openat(fd, f, unix.O_CREAT|unix.O_WRONLY, 0o600)
			require.NoError(t, err)
			require.NoError(t, unix.Close(file))
		}
		require.NoError(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
		fd, dir = next, dir+"/"+name
	}
	require.NoError(t, unix.Close(fd))
	return dir
}

func TestPathsLongerThanTheKernelTakes(t *testing.T) {
	dir := t.TempDir()
	const depth = 3 * openLevels
	deep := nest(t, dir, strings.Repeat("m", 100), depth)
	require.Greater(t, len(deep), 4*unix.PathMax)
	before := openFiles(t)
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{dir}, now: later})
	require.Zero(t, r.SkippedCount)
	require.Len(t, m.entries, 1+3*depth)
	require.Equal(t, deep, m.entries[2*depth].Path, "all files named a and all folders come before the innermost's end")
	again := m.after()
	require.EqualValues(t, 2*depth, capture(t, again, Options{Roots: []string{dir}, Previous: m.all()}).Unchanged)
	require.Equal(t, before, openFiles(t))
}

func TestPathsLongerThanAnEntryTakes(t *testing.T) {
	dir := t.TempDir()
	name := strings.Repeat("m", 250)
	depth := format.MaxPath/251 + 5
	nest(t, dir, name, depth)
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{dir}})
	require.EqualValues(t, 1, r.Unreadable)
	require.Len(t, r.Skipped[0].Path, len(dir)+251*((format.MaxPath-len(dir))/251+1))
	require.Contains(t, r.Skipped[0].Why, "longer than 65536 bytes")
	require.Equal(t, dir+"/zz", m.entries[len(m.entries)-1].Path)
}

// A subtree is moved while the walk is deep in it: what lay after it in folders that were closed
// meanwhile cannot be found again, and that is told.
func TestFolderMovedAwayFarAbove(t *testing.T) {
	dir := t.TempDir()
	depth := openLevels + windowSize*batchFolders + 30 // so deep that no batch holds the folders far above
	deep := nest(t, dir, "m", depth)
	other := t.TempDir()
	moved := dir + strings.Repeat("/m", 20)
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{dir}, trace: at("listed", deep, 1, func() {
		require.NoError(t, os.Rename(moved, other+"/m"))
	})})
	require.Positive(t, r.Unreadable)
	require.Equal(t, errMoved.Error(), r.Skipped[0].Why)
	require.Contains(t, m.paths(), deep)
}

// More names than are listed ahead, in folders that are.
func TestLargeFolders(t *testing.T) {
	dir := t.TempDir()
	for d := range 2 {
		folder := fmt.Sprintf("%s/%d", dir, d)
		require.NoError(t, os.Mkdir(folder, 0o755))
		first := write(t, folder+"/first", "")
		for i := range aheadNames + 5000 {
			// Links are made faster than files.
			if i%20_000 == 0 {
				first = write(t, fmt.Sprintf("%s/file%d", folder, i), "")
			}
			require.NoError(t, os.Link(first, fmt.Sprintf("%s/%d", folder, i)))
		}
	}
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{dir}})
	require.EqualValues(t, 1+2*(1+1+2+aheadNames+5000), r.Entries)
	require.EqualValues(t, 2*(1+2), r.Files)
}

func TestCompareIsThatOfWholePaths(t *testing.T) {
	paths := []string{"/", "/a", "/a/b", "/a/b/c", "/a/b-", "/a-", "/a-/b", "/ab", "/b", "/b/a", "/a/b\x01"}
	for _, p := range paths {
		for _, q := range paths {
			prefix, name := split(q)
			require.Equal(t, format.ComparePaths(p, q), compare(p, prefix, name), "%q %q", p, q)
		}
	}
}
