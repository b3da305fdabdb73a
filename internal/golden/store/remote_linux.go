package store

import "golang.org/x/sys/unix"

// Remote names the network file system that the folder lies on; empty: it is on none that is known. There
// flock(2) may exclude only the processes of one host.
func (f *Folder) Remote() string {
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.dir.Fd()), &st) != nil {
		return ""
	}
	return remote(uint32(st.Type))
}

func remote(magic uint32) string {
	switch magic {
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "SMB"
	case unix.FUSE_SUPER_MAGIC:
		return "FUSE"
	case unix.V9FS_MAGIC:
		return "9p"
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC:
		return "AFS"
	}
	return ""
}
