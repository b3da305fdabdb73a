package golden_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// alter changes about one path in every, in all ways: some are hard to see.
func (g *gardener) alter(every int) {
	g.t.Helper()
	var paths []string
	for _, root := range g.roots {
		require.NoError(g.t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if path != root {
				paths = append(paths, path)
			}
			return err
		}))
	}
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || !g.inside(path) || g.IntN(every) > 0 { // its folder may have gone
			continue
		}
		switch {
		case g.IntN(3) == 0:
			g.replace(path, paths)
		case info.IsDir():
			g.alterFolder(path)
		case info.Mode().IsRegular():
			g.alterFile(path, info)
		default:
			g.describe(path)
		}
	}
}

// inside says whether all above a path, up to its root, still are folders: through a link to elsewhere
// the test would change the machine that it runs on.
func (g *gardener) inside(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			return false
		}
		if slices.Contains(g.roots, dir) {
			return true
		}
	}
}

// replace removes a name, or makes it mean something else.
func (g *gardener) replace(path string, others []string) {
	switch g.IntN(5) {
	case 0: // moved, with its inode
		_ = os.Rename(path, g.place(filepath.Dir(path)))
	case 1: // what was elsewhere is here, and the other way round; not a folder and what is in it
		if other := pick(g, others...); g.inside(other) {
			_ = unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
		}
	case 2:
		require.NoError(g.t, os.RemoveAll(path))
	case 3:
		require.NoError(g.t, os.RemoveAll(path))
		g.leaf(path)
	default:
		require.NoError(g.t, os.RemoveAll(path))
		require.NoError(g.t, os.Mkdir(path, 0o755))
		g.folder(path, 0)
	}
}

func (g *gardener) alterFolder(path string) {
	switch g.IntN(3) {
	case 0:
		g.leaf(g.place(path))
	case 1:
		to := g.place(path)
		require.NoError(g.t, os.Mkdir(to, 0o755))
		g.folder(to, 1)
	default:
		g.describe(path)
	}
}

// alterFile changes a file's bytes, holes, length, links or description. Its time may not tell.
func (g *gardener) alterFile(path string, info fs.FileInfo) {
	size := info.Size()
	switch k := g.IntN(7); {
	case k == 0 && size > 0: // one byte
		data := []byte{byte(g.Uint32())}
		g.write(path, data, g.Int64N(size))
		g.keepTime(path, info)
	case k == 1 && size > 0 && size < 64<<20: // all of it, and as long as it was
		g.write(path, g.data(int(size)), 0)
		g.keepTime(path, info)
	case k == 2 && size > 0:
		require.NoError(g.t, os.Truncate(path, g.Int64N(size)))
	case k == 3:
		g.write(path, g.data(g.size()), size)
	case k == 4 && size > 8192: // what reads the same afterwards if it was zero
		require.NoError(g.t, punch(path, g.Int64N(size-4096), 8192))
		g.keepTime(path, info)
	case k == 5:
		if other := g.place(pick(g, g.roots...)); os.Link(path, other) == nil {
			g.linkable = append(g.linkable, other)
		}
	default:
		g.describe(path)
	}
}

func (g *gardener) write(path string, data []byte, at int64) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(g.t, err)
	_, err = f.WriteAt(data, at)
	require.NoError(g.t, err)
	require.NoError(g.t, f.Close())
}

func (g *gardener) keepTime(path string, info fs.FileInfo) {
	if g.IntN(2) == 0 {
		require.NoError(g.t, os.Chtimes(path, time.Time{}, info.ModTime()))
	}
}

// wreck does to a root what a mistake at a prompt does.
func (g *gardener) wreck() {
	root := pick(g, g.roots...)
	switch g.IntN(8) {
	case 0:
		require.NoError(g.t, os.RemoveAll(root))
	case 1:
		require.NoError(g.t, os.RemoveAll(root))
		require.NoError(g.t, os.Symlink("/etc", root))
	case 2:
		require.NoError(g.t, os.RemoveAll(root))
		require.NoError(g.t, os.WriteFile(root, []byte("not a folder"), 0o600))
	case 3:
		g.describe(root)
	default:
		g.alter(3)
	}
}
