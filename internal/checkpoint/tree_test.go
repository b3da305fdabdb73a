package checkpoint

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/restore"
)

// picture describes a tree entry by entry, for comparison.
func picture(t testing.TB, root string) map[string]string {
	t.Helper()
	p := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), restore.KeptPrefix) {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		text := fmt.Sprintf("%s %d:%d ", info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf("%d %x %d", len(data), sha256.Sum256(data), info.ModTime().UnixNano())
		case info.Mode()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += "-> " + link
		case d.IsDir() && path != root:
			text += fmt.Sprint(info.ModTime().UnixNano())
		}
		rel, _ := filepath.Rel(root, path)
		p[rel] = text
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return p
}

// grow fills dir with a random tree.
func grow(t testing.TB, r *rand.Rand, dir string, depth int) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for i := range 2 + r.IntN(6) {
		path := filepath.Join(dir, fmt.Sprintf("n%d %s", i, []string{"a", "ü", "\xff", "b\nc"}[r.IntN(4)]))
		switch k := r.IntN(10); {
		case k < 2 && depth > 0:
			grow(t, r, path, depth-1)
		case k == 2:
			require.NoError(t, os.Symlink([]string{"/etc/passwd", "n0", "..", "gone\xfe"}[r.IntN(4)], path))
		case k == 3:
			sparse(t, path, int64(1+r.IntN(5))<<20)
		default:
			data := make([]byte, r.IntN([]int{1, 100, 70_000, 3 << 20}[r.IntN(4)]+1))
			for j := range data {
				data[j] = byte(r.Uint32())
			}
			require.NoError(t, os.WriteFile(path, data, 0o600))
			require.NoError(t, os.Chown(path, r.IntN(3), r.IntN(3)))
			require.NoError(t, os.Chmod(path, []fs.FileMode{0o640, 0o755 | fs.ModeSetuid, 0, 0o444}[r.IntN(4)]))
			when := time.Unix(int64(r.Uint32()), int64(r.IntN(1e9)))
			require.NoError(t, os.Chtimes(path, when, when))
		}
	}
	require.NoError(t, os.Chmod(dir, []fs.FileMode{0o700, 0o755, 0o555, 0o2775}[r.IntN(4)]))
}

func sparse(t testing.TB, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("here"), size/2)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
}

// spoil changes a tree at random.
func spoil(t testing.TB, r *rand.Rand, dir string) {
	t.Helper()
	var paths []string
	require.NoError(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if p != dir {
			paths = append(paths, p)
		}
		return err
	}))
	for _, p := range paths {
		info, err := os.Lstat(p)
		if err != nil {
			continue
		}
		switch k := r.IntN(6); {
		case k == 0:
			require.NoError(t, os.RemoveAll(p))
		case k == 1 && info.Mode().IsRegular():
			require.NoError(t, os.WriteFile(p, []byte("spoilt"), 0o600))
		case k == 2 && info.Mode()&fs.ModeSymlink == 0:
			require.NoError(t, os.Chmod(p, 0o711))
		case k == 3 && info.IsDir():
			require.NoError(t, os.WriteFile(filepath.Join(p, "added"), []byte("x"), 0o600))
		case k == 4:
			require.NoError(t, os.RemoveAll(p))
			require.NoError(t, os.Mkdir(p, 0o755))
		}
	}
}

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(Options{Var: t.TempDir()})
	require.NoError(t, err)
	return s
}

func take(t testing.TB, s *Store, key string, state config.State) Checkpoint {
	t.Helper()
	c, err := s.Take(context.Background(), Order{Key: key, Component: "redis", Kind: KindHealthy, State: state})
	require.NoError(t, err)
	return c
}

func write(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func TestRoundTripOfRandomTrees(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			s, dir := newStore(t), t.TempDir()
			grow(t, r, filepath.Join(dir, "tree"), 3)
			write(t, filepath.Join(dir, "single"), "one file")
			state := config.State{Paths: []string{dir + "/tree", dir + "/single", dir + "/absent"}}
			c := take(t, s, "k", state)
			require.Empty(t, c.Unstable)
			require.Equal(t, []string{dir + "/absent"}, c.Missing)
			want, single := picture(t, dir+"/tree"), picture(t, dir+"/single")

			spoil(t, r, dir+"/tree")
			write(t, dir+"/single", "another")
			write(t, dir+"/absent/new", "x")
			loaded, err := s.Get(context.Background(), c.ID)
			require.NoError(t, err)
			changes, err := s.Restore(context.Background(), loaded, nil)
			require.NoError(t, err)
			require.Contains(t, changes.Restored, dir+"/single")
			require.Equal(t, []string{dir + "/absent"}, changes.Removed)
			require.Equal(t, want, picture(t, dir+"/tree"))
			require.Equal(t, single, picture(t, dir+"/single"))
			require.NoDirExists(t, dir+"/absent")

			delta, err := s.Compare(context.Background(), loaded, state)
			require.NoError(t, err)
			require.Empty(t, delta.Changes)
			again, err := s.Restore(context.Background(), loaded, nil)
			require.NoError(t, err)
			require.Len(t, again.Unchanged, 3)
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, left, 2, "staging folders are left: %v", left)
		})
	}
}
