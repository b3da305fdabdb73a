package testenv

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Tmpfs mounts a file system of its own for the test at dir, which is made; options are those of
// mount(8), such as "size=1m".
func Tmpfs(t testing.TB, dir, options string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "needs root, to mount a file system")
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		Missing(t, "needs to mount a tmpfs: "+err.Error())
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}
