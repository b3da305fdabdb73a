package integrity

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
)

const (
	// mutated is how many random places each kind of tampering is tried at; sampled is how many of
	// them the kernel alone must tell of.
	mutated = 1000
	sampled = 40
	// grown is the tree: files, symbolic links and folders.
	grownFiles, grownLinks, grownFolders = 3000, 1100, 1100
)

// mutation is one kind of tampering.
type mutation struct {
	name string
	// at is the kind of entry it is done to, want what must be found.
	at   form
	want Kind
	// do changes the entry. What it does besides, n tells apart.
	do func(t *testing.T, path string, n int)
	// silent is true when the kernel tells nothing.
	silent bool
}

func mutations() []mutation {
	return []mutation{
		{name: "content of another size", at: file, want: KindContent, do: rewrite},
		{name: "content of the same size and time", at: file, want: KindContent, do: editInPlace},
		{name: "content through a memory map", at: file, want: KindContent, do: editMapped, silent: true},
		{name: "content appended", at: file, want: KindContent, do: appendByte},
		{name: "content truncated", at: file, want: KindContent, do: func(t *testing.T, path string, _ int) { require.NoError(t, os.Truncate(path, 3)) }},
		{name: "content by another file in its place", at: file, want: KindContent, do: replaceFile},
		{name: "added", at: folderForm, want: KindAdded, do: addEntry},
		{name: "removed file", at: file, want: KindRemoved, do: remove},
		{name: "removed link", at: symlink, want: KindRemoved, do: remove},
		{name: "mode of a file", at: file, want: KindMode, do: flipMode},
		{name: "mode of a folder", at: folderForm, want: KindMode, do: flipMode},
		{name: "mode by a capability", at: file, want: KindMode, do: setCapability},
		{name: "owner", at: file, want: KindOwner, do: flipOwner},
		{name: "owner of a link", at: symlink, want: KindOwner, do: flipOwner},
		{name: "type", at: file, want: KindType, do: changeType},
		{name: "symlink with another target", at: symlink, want: KindSymlink, do: relink},
		{name: "symlink in the place of a file", at: file, want: KindSymlink, do: swapByLink},
		{name: "file in the place of a symlink", at: symlink, want: KindSymlink, do: swapByFile},
		{name: "renamed", at: file, want: KindRenamed, do: rename},
	}
}

func TestMutationsAreAllFound(t *testing.T) {
	needRoot(t)
	r := newRig(t)
	tree := r.grow()
	r.open()
	require.Empty(t, r.verify())
	for _, m := range mutations() {
		t.Run(m.name, func(t *testing.T) {
			places := tree.pick(m, mutated)
			backup := tree.save(t, places)
			want := tree.apply(t, m, places)
			got := r.verify()
			slices.Sort(got)
			require.Equal(t, want, got, "all are found, and nothing else is")
			backup(t)
			require.Empty(t, r.verify())
			require.Zero(t, r.Status().Findings, "all are resolved")
			t.Logf("%s: %d of %d found", m.name, len(got), len(places))
		})
	}
}

func TestMutationsAreToldByTheKernelAlone(t *testing.T) {
	needRoot(t)
	r := newRig(t)
	tree := r.grow()
	r.open().run()
	for _, m := range mutations() {
		if m.silent {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			r.t = t
			places := tree.pick(m, sampled)
			backup := tree.save(t, places)
			begin := time.Now()
			rest := r.await(tree.apply(t, m, places)...)
			t.Logf("%d told within %s", len(places), time.Since(begin).Round(time.Millisecond))
			// A change that takes several steps may be seen in between.
			for _, f := range rest {
				require.True(t, slices.ContainsFunc(places, func(p string) bool { return strings.HasSuffix(f, " "+r.short(p)) }), f)
			}
			backup(t)
			require.Eventually(t, func() bool { return r.Status().Findings == 0 }, 10*time.Second, time.Millisecond, "all are resolved")
			r.take()
		})
	}
	require.Zero(t, r.Status().Watching.Overflows, "nothing was found by a verification instead")
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, to change owners")
	}
}

func rewrite(t *testing.T, path string, n int) {
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "evil %d, longer than it was: %600d", n, n), 0o644))
}

// editInPlace changes one byte and puts the time back.
func editInPlace(t *testing.T, path string, n int) {
	info, err := os.Stat(path)
	require.NoError(t, err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	at := int64(n) % info.Size()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{b[0] ^ 1<<(n%8)}, at)
	require.NoError(t, err)
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
}

func editMapped(t *testing.T, path string, n int) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	m[n%len(m)] ^= 1
	require.NoError(t, unix.Munmap(m))
}

func appendByte(t *testing.T, path string, _ int) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("\n")
	require.NoError(t, err)
}

func replaceFile(t *testing.T, path string, n int) {
	other := filepath.Join(filepath.Dir(filepath.Dir(path)), fmt.Sprintf(".other%d", n))
	if rel := strings.Count(path, "/folder"); rel == 0 {
		other = path + ".other"
	}
	rewrite(t, other, n)
	require.NoError(t, os.Rename(other, path))
}

func addedName(folder string, n int) string { return filepath.Join(folder, fmt.Sprintf("added%d", n)) }
func renamedName(path string, n int) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf("renamed%d", n))
}
func remove(t *testing.T, path string, _ int) { require.NoError(t, os.Remove(path)) }

// addEntry adds entries of all types.
func addEntry(t *testing.T, folder string, n int) {
	path := addedName(folder, n)
	var err error
	switch n % 5 {
	case 0:
		err = os.Symlink("/etc/passwd", path)
	case 1:
		err = unix.Mkfifo(path, 0o644)
	case 2:
		err = os.Mkdir(path, 0o755)
	case 3:
		err = unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
	default:
		err = os.WriteFile(path, fmt.Appendf(nil, "added %d", n), 0o755)
	}
	require.NoError(t, err)
}

func flipMode(t *testing.T, path string, n int) {
	var st unix.Stat_t
	require.NoError(t, unix.Lstat(path, &st))
	require.NoError(t, unix.Chmod(path, st.Mode&0o7777^1<<(n%12)))
}

// setCapability gives a program CAP_SETUID.
func setCapability(t *testing.T, path string, _ int) {
	value := []byte{1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	require.NoError(t, unix.Setxattr(path, "security.capability", value, 0))
}

func flipOwner(t *testing.T, path string, n int) {
	uid, gid := 1000+n, -1
	if n%2 == 0 {
		uid, gid = gid, uid
	}
	require.NoError(t, os.Lchown(path, uid, gid))
}

func changeType(t *testing.T, path string, n int) {
	remove(t, path, n)
	if n%2 == 0 {
		require.NoError(t, unix.Mkfifo(path, 0o644))
		return
	}
	require.NoError(t, os.Mkdir(path, 0o755))
}

func relink(t *testing.T, path string, n int) {
	remove(t, path, n)
	require.NoError(t, os.Symlink(fmt.Sprintf("/tmp/evil%d", n), path))
}

// swapByLink keeps the content reachable: only the link tells.
func swapByLink(t *testing.T, path string, n int) {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	elsewhere := filepath.Join(os.TempDir(), fmt.Sprintf("shivx-test-%d-%d", os.Getpid(), n))
	require.NoError(t, os.WriteFile(elsewhere, data, 0o644))
	t.Cleanup(func() { _ = os.Remove(elsewhere) })
	remove(t, path, n)
	require.NoError(t, os.Symlink(elsewhere, path))
}

func swapByFile(t *testing.T, path string, n int) {
	remove(t, path, n)
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o777))
}

func rename(t *testing.T, path string, n int) {
	require.NoError(t, os.Rename(path, renamedName(path, n)))
}
