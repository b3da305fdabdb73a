package golden_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// gardener grows a random tree and changes it. The same seed does the same.
type gardener struct {
	t testing.TB
	*rand.Rand
	roots []string
	// owner: it may give files away; attrs: the file system keeps extended attributes.
	owner, attrs bool
	// linkable are files, links and pipes; some may have gone since. large is how many large files may follow.
	linkable []string
	large    int
}

func newGardener(t testing.TB, seed uint64, roots ...string) *gardener {
	t.Helper()
	g := &gardener{t: t, Rand: rand.New(rand.NewPCG(seed, 5)), roots: roots, owner: os.Geteuid() == 0, large: 4}
	for i, root := range roots {
		require.NoError(t, os.RemoveAll(root))
		require.NoError(t, os.MkdirAll(root, 0o755))
		g.attrs = unix.Lsetxattr(root, "user.probe", []byte("x"), 0) == nil
		if g.attrs {
			require.NoError(t, unix.Lremovexattr(root, "user.probe"))
		}
		g.folder(root, 3-i)
	}
	return g
}

func pick[T any](g *gardener, from ...T) T { return from[g.IntN(len(from))] }

// name returns one that some program has stumbled over.
func (g *gardener) name() string {
	if g.IntN(3) == 0 {
		return pick(g, "a", "a.", "a-b", "a0", "A", "b", "b ", "b\x01", "z") + string(rune('a'+g.IntN(26)))
	}
	return pick(g, "a", "A", "a.", "a-", "a0", "line\nbreak", "\n", "\xff\xfe", "latin-\xe9", "\xed\xa0\x80", "\ufffd", "<&>", "\u2028",
		"-rf", "--", "-", " ", "  end ", "...", "..a", "back\\slash", "*", "?[", `"'`, "\x01\x7f", "\t", "e\u0301", "\u00e9", "ü", "\U0001f600",
		strings.Repeat("x", 255), strings.Repeat("ü", 127)+"x", strings.Repeat("\xfe", 255), "$(id)", "con", "%00", "~", "#", ".hidden", "core\r")
}

// place returns a path in dir that is free.
func (g *gardener) place(dir string) string {
	for {
		path := dir + "/" + g.name()
		if _, err := os.Lstat(path); err != nil {
			require.ErrorIs(g.t, err, os.ErrNotExist)
			return path
		}
	}
}

// folder fills one and then describes it, so that its time holds.
func (g *gardener) folder(dir string, depth int) {
	for range pick(g, 0, 1, 5, 9, 14) + depth {
		path := g.place(dir)
		if depth > 0 && g.IntN(4) == 0 {
			require.NoError(g.t, os.Mkdir(path, 0o755))
			if g.attrs && g.IntN(3) == 0 { // what is made in it inherits
				require.NoError(g.t, unix.Lsetxattr(path, "system.posix_acl_default", g.acl(), 0))
			}
			g.folder(path, depth-1)
			continue
		}
		g.leaf(path)
	}
	g.describe(dir)
}

// leaf makes something that is no folder.
func (g *gardener) leaf(path string) {
	switch g.IntN(8) {
	case 0:
		target := pick(g, "/etc/passwd", "/", "..", ".", "gone", "/gone/for\never", "\xff\xc0", "a/", filepath.Base(path), filepath.Dir(path),
			strings.Repeat("y", 59), strings.Repeat("y", 60), strings.Repeat("far/", 1000))
		require.NoError(g.t, os.Symlink(target, path))
	case 1:
		require.NoError(g.t, unix.Mkfifo(path, 0o600))
	case 2:
		g.sparse(path)
	case 3:
		if g.link(path) {
			return
		}
		g.plain(path)
	default:
		g.plain(path)
	}
	g.linkable = append(g.linkable, path)
	g.describe(path)
}

// link gives something a second name, in whatever folder it lies.
func (g *gardener) link(path string) bool {
	if len(g.linkable) == 0 {
		return false
	}
	from := pick(g, g.linkable...)
	info, err := os.Lstat(from)
	return err == nil && g.inside(from) && !info.IsDir() && os.Link(from, path) == nil
}

// size returns the length of a file, often at the border of a block.
func (g *gardener) size() int {
	const block = 1 << 20
	if g.large > 0 && g.IntN(6) == 0 {
		g.large--
		return pick(g, block-1, block, block+1, 2*block, 3*block+7)
	}
	return pick(g, 0, 1, 7, 4095, 4096, 4097, g.IntN(200), g.IntN(70_000))
}

// data returns bytes that do not compress, that do, that repeat others, or zeros.
func (g *gardener) data(n int) []byte {
	b := make([]byte, n)
	switch g.IntN(4) {
	case 0: // zeros that are data
	case 1:
		copy(b, strings.Repeat("the same line in many files\n", n/28+1))
	case 2:
		_, _ = rand.NewChaCha8([32]byte{byte(g.IntN(3))}).Read(b)
	default:
		var seed [32]byte
		binary.LittleEndian.PutUint64(seed[:], g.Uint64())
		_, _ = rand.NewChaCha8(seed).Read(b)
	}
	return b
}

func (g *gardener) plain(path string) {
	require.NoError(g.t, os.WriteFile(path, g.data(g.size()), 0o600))
}

// sparse makes a file with holes: at its begin, in the middle, at its end, or nothing else.
func (g *gardener) sparse(path string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	require.NoError(g.t, err)
	const page = 4096
	at := int64(0)
	for range g.IntN(6) {
		at += int64(pick(g, 0, page, 3*page, 40*page, 1<<20)) + int64(pick(g, 0, 0, 1, 17))
		data := g.data(pick(g, 1, 100, page, page+1, 9*page))
		_, err := f.WriteAt(data, at)
		require.NoError(g.t, err)
		at += int64(len(data))
	}
	require.NoError(g.t, f.Truncate(at+int64(pick(g, 0, 0, 1, page, 2<<20, 1<<40))))
	require.NoError(g.t, f.Close())
}

// describe sets owner, mode, attributes and, at last, the time of something.
func (g *gardener) describe(path string) {
	var st unix.Stat_t
	require.NoError(g.t, unix.Lstat(path, &st))
	if g.owner && g.IntN(2) == 0 {
		require.NoError(g.t, os.Lchown(path, pick(g, 0, 1, 65534, 1<<31, 1<<32-2), pick(g, 0, 7, 100_000)))
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFLNK {
		g.mode(path, kind == unix.S_IFDIR)
	}
	for g.attrs && g.IntN(3) == 0 {
		g.attribute(path, kind)
	}
	when := g.time()
	require.NoError(g.t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW))
}

func (g *gardener) mode(path string, folder bool) {
	mode := pick[uint32](g, 0, 0o400, 0o600, 0o644, 0o4755, 0o2755, 0o1777, 0o7777, 0o2770, 0o555, 0o4000, 0o111, 0o1000)
	if !g.owner { // who is not root could not read it himself
		mode |= 0o600
		if folder {
			mode |= 0o100
		}
	}
	require.NoError(g.t, unix.Chmod(path, mode))
}

// time is before 1970, after 2038, at their borders, or now.
func (g *gardener) time() unix.Timespec {
	sec := pick[int64](g, 0, -1, 1, -1<<31, 1<<31-1, 1<<31, 1<<33, -g.Int64N(1<<31), g.Int64N(1<<31), g.Int64N(1<<33))
	nsec := pick[int64](g, 0, 1, 999_999_999, 500_000_000, g.Int64N(1e9))
	if g.IntN(8) == 0 {
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	}
	return unix.Timespec{Sec: sec, Nsec: nsec}
}

// attribute sets one. Links and pipes can have none of users.
func (g *gardener) attribute(path string, kind uint32) {
	value := g.data(pick(g, 0, 1, 30, 700))
	name := pick(g, "user.a", "user.b", "user.line\nbreak", "user.\xff", "user.ü", "user."+strings.Repeat("n", 200))
	switch named := kind == unix.S_IFDIR || kind == unix.S_IFREG; {
	case !named && !g.owner:
		return
	case !named || g.owner && g.IntN(5) == 0:
		name = pick(g, "trusted.a", "trusted.\xfe")
	case g.IntN(4) == 0:
		name, value = "system.posix_acl_access", g.acl()
	case kind == unix.S_IFDIR && g.IntN(3) == 0:
		name, value = "system.posix_acl_default", g.acl()
	case kind == unix.S_IFREG && g.owner && g.IntN(5) == 0: // the right to open a low port
		name, value = "security.capability", []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	}
	err := unix.Lsetxattr(path, name, value, 0)
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) { // all of a file share a block
		require.NoError(g.t, err, "%q of %q", name, path)
	}
}

// acl is an access list as the kernel keeps it.
func (g *gardener) acl() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	add := func(tag, perm uint16, id uint32) {
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, perm)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	const nobody = ^uint32(0)
	own := uint16(g.IntN(8))
	if !g.owner {
		own = 7
	}
	add(1, own, nobody)
	add(2, uint16(g.IntN(8)), 7)
	add(2, uint16(g.IntN(8)), 1<<31)
	add(4, uint16(g.IntN(8)), nobody)
	add(8, uint16(g.IntN(8)), 9)
	add(16, uint16(g.IntN(8)), nobody)
	add(32, uint16(g.IntN(8)), nobody)
	return b
}
