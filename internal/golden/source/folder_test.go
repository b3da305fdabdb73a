package source

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/durable"
)

// A child that is being started has copies of all open files; it does not keep the lock of a folder, whose
// next user would take it for one in use.
func TestLockOfAFolderEndsWithUnlock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "exports")
	f, err := newFolder(dir, exportPrefix, nil)
	require.NoError(t, err)
	copied, err := unix.FcntlInt(f.lock.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(copied) }()
	_, err = lockFolder(f.path, unix.LOCK_EX|unix.LOCK_NB)
	require.ErrorIs(t, err, unix.EWOULDBLOCK)
	require.NoError(t, durable.Unlock(f.lock))
	again, err := lockFolder(f.path, unix.LOCK_EX|unix.LOCK_NB)
	require.NoError(t, err)
	require.NoError(t, durable.Unlock(again))
}
