package store

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestRemoteFileSystems(t *testing.T) {
	require.Empty(t, labFolder(t, t.TempDir()).Remote())
	require.Empty(t, labFolder(t, memoryDir(t)).Remote())
	require.Equal(t, "NFS", remote(unix.NFS_SUPER_MAGIC))
	require.Equal(t, "SMB", remote(unix.CIFS_SUPER_MAGIC))
	require.Equal(t, "SMB", remote(0xfe534d42))
	require.Equal(t, "FUSE", remote(unix.FUSE_SUPER_MAGIC))
}
