package store

import (
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// lab is a store with what its tests need to write to it.
type lab struct {
	*Store
	options Options
	// at is when backups are made; zero: now.
	at time.Time
}

func newLab(t testing.TB, b Backend) *lab {
	t.Helper()
	o := Options{Key: testKey(1)}
	s, err := Create(t.Context(), b, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return &lab{Store: s, options: o}
}

// memoryDir is a folder in memory where there is one: many a sync of a busy disk takes long, and what is
// tested is the order of steps, not the disk.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shivx-test-") //nolint:usetesting // t.TempDir is on the disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func labFolder(t testing.TB, path string) *Folder {
	t.Helper()
	f, err := MakeFolder(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// backup stores files by their paths; their folder is the root.
func (s *lab) backup(t testing.TB, set string, files map[string][]byte) *Golden {
	t.Helper()
	return s.backupAs(t, format.Header{Set: set, Host: "h", Kind: format.KindBackup, Roots: []string{"/etc"}}, files)
}

func (s *lab) backupAs(t testing.TB, h format.Header, files map[string][]byte) *Golden {
	t.Helper()
	ctx := t.Context()
	w, err := s.Begin(ctx)
	require.NoError(t, err)
	defer w.Abort()
	if !s.at.IsZero() {
		w.begun, w.id = s.at.UTC(), newID(s.at)
		w.entries.golden = w.id
	}
	l := w.Lane()
	dir := format.Entry{Path: h.Roots[0], Type: format.TypeDir, Mode: 0o755, ModTime: time.Unix(1, 0).UTC()}
	require.NoError(t, w.Entry(&dir))
	for _, path := range slices.SortedFunc(maps.Keys(files), format.ComparePaths) {
		data := files[path]
		e := format.Entry{Path: path, Type: format.TypeFile, Mode: 0o644, ModTime: time.Unix(1, 0).UTC(), Size: int64(len(data)), Sum: format.Sum(data)}
		for block := range slices.Chunk(data, format.BlockSize) {
			sum := format.Sum(block)
			if len(data) > format.BlockSize {
				e.Blocks = append(e.Blocks, sum)
			}
			if !w.Use(sum) {
				require.NoError(t, l.Put(ctx, sum, block))
			}
		}
		require.NoError(t, w.Entry(&e))
	}
	require.NoError(t, l.Close())
	g, err := w.Commit(ctx, h)
	require.NoError(t, err)
	return g
}
