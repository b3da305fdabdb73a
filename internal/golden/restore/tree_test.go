package restore

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// grow fills dir with a random tree of everything that there is.
func grow(t testing.TB, r *rand.Rand, dir string, depth int) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	var last string
	for i := range 3 + r.IntN(7) {
		path := filepath.Join(dir, fmt.Sprintf("n%d %s", i, []string{"a", "ü", "\xff", "b\nc", "-"}[r.IntN(5)]))
		switch k := r.IntN(12); {
		case k < 2 && depth > 0:
			grow(t, r, path, depth-1)
		case k == 2:
			require.NoError(t, os.Symlink([]string{"/etc/passwd", "n0", "..", "gone\xfe"}[r.IntN(4)], path))
			require.NoError(t, unix.Lchown(path, r.IntN(3), r.IntN(3)))
		case k == 3:
			sparse(t, r, path)
		case k == 4:
			require.NoError(t, unix.Mkfifo(path, 0o640))
		case k == 5 && last != "":
			require.NoError(t, os.Link(last, path))
		default:
			growFile(t, r, path)
			last = path
		}
	}
	if r.IntN(4) == 0 {
		require.NoError(t, unix.Lsetxattr(dir, "user.note", []byte("of a folder"), 0))
		require.NoError(t, unix.Lsetxattr(dir, "system.posix_acl_default", acl(5), 0))
	}
	require.NoError(t, os.Chmod(dir, []fs.FileMode{0o700, 0o755, 0o555, 0o755 | fs.ModeSetgid, 0o777 | fs.ModeSticky}[r.IntN(5)]))
	when := time.Unix(int64(r.Uint32()), int64(r.IntN(1e9)))
	require.NoError(t, os.Chtimes(dir, when, when))
}

func growFile(t testing.TB, r *rand.Rand, path string) {
	data := make([]byte, r.IntN([]int{1, 100, 70_000, 3 << 20}[r.IntN(4)]+1))
	for j := range data {
		data[j] = byte(r.Uint32())
	}
	require.NoError(t, os.WriteFile(path, data, 0o600))
	if r.IntN(3) == 0 {
		require.NoError(t, unix.Lsetxattr(path, "user.note", []byte{0, 1, byte(r.Uint32())}, 0))
	}
	require.NoError(t, os.Chown(path, r.IntN(3), r.IntN(3)))
	require.NoError(t, os.Chmod(path, []fs.FileMode{0o640, 0o755 | fs.ModeSetuid, 0, 0o444}[r.IntN(4)]))
	if r.IntN(4) == 0 {
		require.NoError(t, unix.Lsetxattr(path, "system.posix_acl_access", acl(6), 0))
	}
	when := time.Unix(int64(r.Uint32()), int64(r.IntN(1e9)))
	require.NoError(t, os.Chtimes(path, when, when))
}

// acl returns an access list as the kernel keeps it: user 7 may perm.
func acl(perm uint16) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, ^uint32(0)}, {2, perm, 7}, {4, 4, ^uint32(0)}, {16, 6, ^uint32(0)}, {32, 4, ^uint32(0)}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

func sparse(t testing.TB, r *rand.Rand, path string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	size := int64(1+r.IntN(5)) << 20
	for range r.IntN(3) {
		_, err = f.WriteAt([]byte("here"), r.Int64N(size))
		require.NoError(t, err)
	}
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
}

// spoil changes a tree at random, in every way that comes to mind.
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
		if _, err := os.Lstat(p); err == nil {
			spoilOne(t, r, p)
		}
	}
}

func spoilOne(t testing.TB, r *rand.Rand, p string) {
	info, err := os.Lstat(p)
	require.NoError(t, err)
	file, link := info.Mode().IsRegular(), info.Mode()&fs.ModeSymlink != 0
	switch k := r.IntN(20); {
	case k == 0:
		require.NoError(t, os.RemoveAll(p))
	case k == 1 && file:
		require.NoError(t, os.WriteFile(p, []byte("spoilt"), 0o600))
	case k == 2 && file && info.Size() > 0:
		f, err := os.OpenFile(p, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{byte(r.Uint32())}, r.Int64N(info.Size()))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, os.Chtimes(p, info.ModTime(), info.ModTime()))
	case k == 3 && !link:
		require.NoError(t, os.Chmod(p, 0o711))
	case k == 4 && info.IsDir():
		require.NoError(t, os.WriteFile(filepath.Join(p, "added"), []byte("x"), 0o600))
	case k == 5:
		require.NoError(t, os.RemoveAll(p))
		require.NoError(t, os.Mkdir(p, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(p, "below"), []byte("x"), 0o600))
	case k == 6:
		require.NoError(t, os.RemoveAll(p))
		require.NoError(t, os.Symlink("/tmp", p))
	case k == 7:
		require.NoError(t, os.Lchown(p, 9, 9))
	case k == 8 && file:
		_ = os.Remove(p + ".linked")
		require.NoError(t, os.Link(p, p+".linked"))
	case k == 9 && !link && info.Mode()&fs.ModeNamedPipe == 0:
		require.NoError(t, unix.Lsetxattr(p, "user.spoilt", []byte("x"), 0))
	case k == 10 && file:
		require.NoError(t, os.Rename(p, p+".moved"))
	case k == 11 && !link:
		require.NoError(t, os.Chtimes(p, time.Now(), time.Now()))
	}
}
