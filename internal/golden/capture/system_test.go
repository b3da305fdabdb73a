package capture

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/testenv"
)

// once notes the folders that are listed.
func once(listed map[string]bool) tracer {
	var mu sync.Mutex
	return tracing(func(step, path string) {
		mu.Lock()
		defer mu.Unlock()
		if step == "listed" {
			listed[path] = true
		}
	})
}

func TestDevicesAndSocketsAreSkipped(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/socket")
	require.NoError(t, err)
	defer l.Close()
	want := []format.Note{{Path: dir + "/socket", Why: "a socket"}}
	if os.Geteuid() == 0 {
		require.NoError(t, unix.Mknod(dir+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		require.NoError(t, unix.Mknod(dir+"/zloop", unix.S_IFBLK|0o660, int(unix.Mkdev(7, 0))))
		want = []format.Note{{Path: dir + "/null", Why: "a device"}, want[0], {Path: dir + "/zloop", Why: "a device"}}
	}
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{dir}})
	require.Equal(t, want, r.Skipped)
	require.Zero(t, r.Unreadable)
	require.Empty(t, r.Faults)
	require.Equal(t, []string{dir}, m.paths())
}

// A file with a lease, such as a file server takes, is waited for until its holder gives way.
func TestLease(t *testing.T) {
	path := write(t, t.TempDir()+"/f", "leased")
	fd, err := unix.Open(path, unix.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(fd) }()
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, unix.SIGIO)
	defer signal.Stop(broken)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
	require.NoError(t, err)
	given := make(chan error)
	go func() {
		<-broken
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
		given <- err
	}()
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{path}})
	require.NoError(t, <-given)
	require.Zero(t, r.Unreadable)
	require.Equal(t, "leased", string(m.content(t, m.entry(t, path))))
}

func TestRootOfAll(t *testing.T) {
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{"/"}, Exclude: []string{"/[^e]*", "/etc/[^h]*"}, OneFileSystem: true})
	require.Equal(t, []string{"/"}, r.Roots)
	require.Equal(t, []string{"/", "/etc"}, m.paths()[:2])
	require.Contains(t, m.paths(), "/etc/hosts")
}

func TestMounts(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a", "a")
	write(t, dir+"/z/z", "z")
	testenv.Tmpfs(t, dir+"/mnt", "size=1m")
	testenv.Tmpfs(t, dir+"/other/mnt", "size=1m")
	write(t, dir+"/mnt/sub/file", "mounted")
	write(t, dir+"/other/mnt/file", "mounted")
	require.NoError(t, os.Mkdir(dir+"/proc", 0o755))
	require.NoError(t, unix.Mount("proc", dir+"/proc", "proc", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(dir+"/proc", unix.MNT_DETACH) })

	m := newMemory()
	r := capture(t, m, Options{Roots: []string{dir}})
	require.Equal(t, []string{
		dir, dir + "/a", dir + "/mnt", dir + "/mnt/sub", dir + "/mnt/sub/file", dir + "/other", dir + "/other/mnt",
		dir + "/other/mnt/file", dir + "/proc", dir + "/z", dir + "/z/z",
	}, m.paths())
	kernel := format.Note{Path: dir + "/proc", Why: "the kernel's own file system"}
	require.Equal(t, []format.Note{kernel}, r.Skipped)

	// A root names its file system too, though another root covers it.
	m = newMemory()
	r = capture(t, m, Options{Roots: []string{dir, dir + "/other/mnt"}, OneFileSystem: true})
	require.Equal(t, []string{
		dir, dir + "/a", dir + "/mnt", dir + "/other", dir + "/other/mnt", dir + "/other/mnt/file", dir + "/proc", dir + "/z", dir + "/z/z",
	}, m.paths())
	require.Equal(t, []format.Note{{Path: dir + "/mnt", Why: "another file system is mounted here"}, kernel}, r.Skipped)
	require.Zero(t, r.Unreadable)

	// A replacement is wanted wherever it lies.
	m = newMemory()
	capture(t, m, Options{Roots: []string{dir + "/z"}, OneFileSystem: true, Overlays: map[string]string{dir + "/z/o": dir + "/mnt"}})
	require.Equal(t, "mounted", string(m.content(t, m.entry(t, dir+"/z/o/sub/file"))))
}

// The test runs itself again as another user.
func TestWithoutPermission(t *testing.T) {
	if dir := os.Getenv("CAPTURE_AS_NOBODY"); dir != "" {
		require.NoError(t, syscall.Setgroups(nil))
		require.NoError(t, syscall.Setresgid(65534, 65534, 65534))
		require.NoError(t, syscall.Setresuid(65534, 65534, 65534))
		m := newMemory()
		r := capture(t, m, Options{Roots: []string{dir}})
		require.NoError(t, json.NewEncoder(os.Stdout).Encode(map[string]any{"Paths": m.paths(), "Result": r}))
		return
	}
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, to become another user")
	}
	dir, err := os.MkdirTemp("", "shivx-capture-") //nolint:usetesting // t.TempDir's parents are closed to other users
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, p := range []string{"/closed/inside", "/open", "/secret", "/unlisted/inside", "/z/own"} {
		write(t, dir+p, p)
	}
	require.NoError(t, os.Chmod(dir+"/secret", 0o600))
	require.NoError(t, os.Chmod(dir+"/closed", 0o700))
	require.NoError(t, os.Chmod(dir+"/unlisted", 0o711))
	require.NoError(t, os.Chown(dir+"/z/own", 65534, 65534))

	cmd := exec.Command(os.Args[0], "-test.run=^TestWithoutPermission$")
	cmd.Env = append(os.Environ(), "CAPTURE_AS_NOBODY="+dir)
	out, err := cmd.Output()
	require.NoError(t, err, string(out))
	var got struct {
		Paths  []string
		Result Result
	}
	require.NoError(t, json.Unmarshal(out[:len(out)-len("PASS\n")], &got), string(out))
	require.Equal(t, []string{dir, dir + "/open", dir + "/z", dir + "/z/own"}, got.Paths)
	require.EqualValues(t, 3, got.Result.Unreadable)
	require.Equal(t, []format.Note{
		{Path: dir + "/closed", Why: "permission denied"},
		{Path: dir + "/secret", Why: "permission denied"},
		{Path: dir + "/unlisted", Why: "permission denied"},
	}, got.Result.Faults)
	require.Equal(t, got.Result.Faults, got.Result.Skipped)
}

func TestTooFewFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		write(t, filepath.Join(dir, noiseName(i), "f"), "x")
	}
	var old, few unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	few = old
	few.Cur = uint64(openFiles(t)) + 6
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	_, err := Run(t.Context(), newMemory(), Options{Roots: []string{dir}})
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	require.ErrorIs(t, err, unix.EMFILE)
}

func openFiles(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(all)
}
