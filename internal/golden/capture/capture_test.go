package capture

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

func write(t testing.TB, path, content string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

// noise is content that compresses badly and is the same for the same seed.
func noise(seed uint64, n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return string(b)
}

// later is a clock by which everything done until now was done long ago.
func later() time.Time { return time.Now().Add(time.Hour) }

func TestTypesAndMetadata(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/empty", "")
	write(t, dir+"/one", "content")
	write(t, dir+"/block", noise(1, format.BlockSize))
	write(t, dir+"/big", noise(2, 5*format.BlockSize+17))
	write(t, dir+"/sub/deep/file", "x")
	write(t, dir+"/sub-dash", "y")
	write(t, dir+"/sub.dot", "z")
	require.NoError(t, os.Symlink("no/where", dir+"/link"))
	require.NoError(t, unix.Mkfifo(dir+"/pipe", 0o600))
	require.NoError(t, os.Chmod(dir+"/one", 0o4751|os.ModeSetuid))
	require.NoError(t, unix.Chmod(dir+"/sub", 0o2770))
	when := time.Unix(-12345, 123456789).UTC()
	require.NoError(t, os.Chtimes(dir+"/one", when, when))

	m := newMemory()
	r := capture(t, m, Options{Roots: []string{dir}, now: later})
	require.Zero(t, r.SkippedCount+r.UnstableCount+r.Unreadable)
	require.Equal(t, []string{
		dir, dir + "/big", dir + "/block", dir + "/empty", dir + "/link", dir + "/one", dir + "/pipe",
		dir + "/sub", dir + "/sub/deep", dir + "/sub/deep/file", dir + "/sub-dash", dir + "/sub.dot",
	}, m.paths())
	one := m.entry(t, dir+"/one")
	require.EqualValues(t, 0o4751, one.Mode)
	require.Equal(t, when, one.ModTime)
	require.EqualValues(t, os.Geteuid(), one.UID)
	require.EqualValues(t, os.Getegid(), one.GID)
	require.NotZero(t, one.Hint)
	require.EqualValues(t, 0o2770, m.entry(t, dir+"/sub").Mode)
	require.Equal(t, "no/where", m.entry(t, dir+"/link").Link)
	require.Equal(t, format.TypeFIFO, m.entry(t, dir+"/pipe").Type)
	require.Equal(t, []byte{}, m.content(t, m.entry(t, dir+"/empty")))
	require.Empty(t, m.entry(t, dir+"/block").Blocks)
	require.Len(t, m.entry(t, dir+"/big").Blocks, 6)
	for _, name := range []string{"/one", "/block", "/big", "/sub-dash"} {
		want, err := os.ReadFile(dir + name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, m.content(t, m.entry(t, dir+name))), name)
	}
	require.Equal(t, r.Bytes, r.Read)
}

func TestUnchangedFilesAreNotRead(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		write(t, filepath.Join(dir, string(rune('a'+i%7)), noiseName(i)), noise(uint64(i), i*100))
	}
	write(t, dir+"/big", noise(1000, 3*format.BlockSize))
	require.NoError(t, os.Symlink("x", dir+"/c/link"))
	first := newMemory()
	o := Options{Roots: []string{dir}, now: later}
	r := capture(t, first, o)
	require.Zero(t, r.Unchanged)

	second := first.after()
	o.Previous = first.all()
	r = capture(t, second, o)
	require.Zero(t, r.Read)
	require.EqualValues(t, 101, r.Unchanged)
	require.Equal(t, first.entries, second.entries)

	// What is done to the tree shows, and nothing else is read.
	changed := write(t, filepath.Join(dir, "b", noiseName(1)), "changed")
	write(t, dir+"/a/new", "0123456789")
	require.NoError(t, os.Remove(filepath.Join(dir, "c", noiseName(2))))
	require.NoError(t, os.Chmod(filepath.Join(dir, "d", noiseName(3)), 0o600))
	third := second.after()
	o.Previous = second.all()
	r = capture(t, third, o)
	require.EqualValues(t, 7+10+300, r.Read)
	require.EqualValues(t, 98, r.Unchanged)
	require.EqualValues(t, 0o600, third.entry(t, filepath.Join(dir, "d", noiseName(3))).Mode)
	require.Equal(t, "changed", string(third.content(t, third.entry(t, changed))))
	require.NotContains(t, third.paths(), filepath.Join(dir, "c", noiseName(2)))

	// A block that the store lost is read again.
	fourth := third.after()
	big := third.entry(t, dir+"/big")
	delete(fourth.blocks, big.Blocks[1])
	o.Previous = third.all()
	r = capture(t, fourth, o)
	require.Equal(t, big.Size, r.Read)
}

func noiseName(i int) string { return "file-" + string(rune('A'+i%26)) + string(rune('a'+i/26)) }

func TestMatchesAnIndependentWalk(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	folders := []string{dir}
	for range 300 {
		at := folders[r.IntN(len(folders))]
		name := make([]byte, 1+r.IntN(12))
		for i := range name {
			name[i] = "ab-.\n\xff/Z ~\x01"[r.IntN(11)]
		}
		path := at + "/" + string(bytes.ReplaceAll(name, []byte("/"), []byte("_")))
		if path != filepath.Clean(path) {
			continue
		}
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		switch r.IntN(4) {
		case 0:
			require.NoError(t, os.Mkdir(path, 0o755))
			folders = append(folders, path)
		case 1:
			require.NoError(t, os.Symlink(string(name), path))
		default:
			write(t, path, string(name))
		}
	}
	var want []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		want = append(want, path)
		return err
	}))
	slices.SortFunc(want, format.ComparePaths)
	m := newMemory()
	capture(t, m, Options{Roots: []string{dir}, Workers: 3})
	require.Equal(t, want, m.paths())
	again := m.after()
	capture(t, again, Options{Roots: []string{dir}, Previous: m.all(), now: later})
	require.Equal(t, want, again.paths())
}
