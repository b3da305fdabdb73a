package restore

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
)

// A change of owner clears the capabilities of a program, also where they are what they should be.
func TestOwnerComesBackWithCapabilities(t *testing.T) {
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, to give files away")
	}
	const attr = "security.capability"
	lowPort := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	dir := t.TempDir()
	file := dir + "/live/program"
	write(t, file, "a program")
	require.NoError(t, unix.Setxattr(file, attr, lowPort, 0))
	g := take(t, dir+"/live")
	want := picture(t, dir+"/live")
	require.NoError(t, os.Chown(file, 7, 7))
	require.NoError(t, unix.Setxattr(file, attr, lowPort, 0))
	bad := picture(t, dir+"/live")

	s, err := Stage(context.Background(), g, Options{Journal: dir + "/journal", InPlace: true})
	require.NoError(t, err)
	_, err = s.Swap(context.Background())
	require.NoError(t, err)
	same(t, want, picture(t, dir+"/live"))
	require.NoError(t, s.Undo(context.Background()))
	same(t, bad, picture(t, dir+"/live"))
}

// The lock ends with the restore, although a child that is being started still has its descriptor.
func TestLockIsNotLeftToAChild(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/live/file", "x")
	s, err := Stage(context.Background(), take(t, dir+"/live"), Options{Journal: dir + "/journal"})
	require.NoError(t, err)
	child, err := unix.Dup(int(s.lock.Fd()))
	require.NoError(t, err)
	defer func() { _ = unix.Close(child) }()
	require.NoError(t, s.Discard(context.Background()))
	again, err := lock(dir + "/journal")
	require.NoError(t, err)
	require.NoError(t, again.Close())
}
