package capture

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// device is a mounted file system.
type device struct {
	id uint64
	// barred is why it is not entered from another one, or "".
	barred string
	// remote: the clock that stamps its files may not be ours.
	remote bool
	// plain: it knows no extended attributes.
	plain atomic.Bool
}

// devices are the file systems met so far.
type devices struct {
	mu      sync.Mutex
	known   map[uint64]*device
	allowed map[uint64]bool
}

func newDevices(allowed map[uint64]bool) *devices {
	return &devices{known: map[uint64]*device{}, allowed: allowed}
}

// of returns the file system with a number, on which fd is open.
func (d *devices) of(id uint64, fd int) *device {
	d.mu.Lock()
	defer d.mu.Unlock()
	dev := d.known[id]
	if dev != nil {
		return dev
	}
	dev = &device{id: id}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err == nil {
		magic := uint32(st.Type)
		dev.remote = slices.Contains(remoteKinds, magic)
		if slices.Contains(kernelKinds, magic) {
			dev.barred = "the kernel's own file system"
		}
	}
	if dev.barred == "" && d.allowed != nil && !d.allowed[id] {
		dev.barred = "another file system is mounted here"
	}
	d.known[id] = dev
	return dev
}

// kernelKinds hold no state: their files are the kernel's interface.
var kernelKinds = []uint32{
	unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC,
	unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.BPF_FS_MAGIC,
	unix.PSTOREFS_MAGIC, unix.EFIVARFS_MAGIC, unix.BINFMTFS_MAGIC, unix.DEVPTS_SUPER_MAGIC,
	unix.SELINUX_MAGIC, unix.NSFS_MAGIC, unix.XENFS_SUPER_MAGIC,
}

// remoteKinds are stamped by a server or by a program.
var remoteKinds = []uint32{
	unix.NFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC,
	unix.CEPH_SUPER_MAGIC, unix.V9FS_MAGIC, unix.AFS_FS_MAGIC, unix.AFS_SUPER_MAGIC,
	unix.CODA_SUPER_MAGIC, unix.OCFS2_SUPER_MAGIC,
}

const (
	// tick is longer than the kernel's clock for time stamps stands still (10 ms at 100 Hz): two
	// changes within a tick may leave the same stamp.
	tick = 12 * time.Millisecond
	// coarse is that of file systems that stamp whole seconds, or even ones as FAT does.
	coarse = 2*time.Second + tick
	// skew is how far the clock of a server may be behind ours.
	skew = time.Minute
)

// racy says whether a file with this state could change after start and still look the same.
// Every change sets the ctime, which nobody can turn back; the mtime counts as well because not
// every file system keeps a ctime, unless it was set to a time to come.
func (d *device) racy(st *unix.Stat_t, start, now time.Time) bool {
	span := tick
	switch {
	case d.remote:
		span = skew
	case st.Ctim.Nsec == 0:
		span = coarse
	}
	limit := start.Add(-span).UnixNano()
	mtime := st.Mtim.Nano()
	return st.Ctim.Nano() >= limit || mtime >= limit && mtime <= now.UnixNano()
}
