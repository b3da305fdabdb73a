package restore

import (
	"crypto/rand"

	"golang.org/x/sys/unix"
)

// topDir is FS_TOPDIR_FL of linux/fs.h, chattr's T: what is made in the folder has nothing to do with each other.
const topDir = 0x0002_0000

// makeApart makes a folder in dir, far from the files around dir where the file system can do that. ext4 gives a
// file an inode near its folder, does not use those of removed files again for minutes, and looks at each of
// them for every new file: where 40,000 files have just been removed, as many take ten times as long to make.
func makeApart(dir int, name string) error {
	// Only ext has the flag, and it is but advice: a file system that has none needs none.
	if flags, err := unix.IoctlGetInt(dir, unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(dir, unix.FS_IOC_SETFLAGS, flags|topDir)
	}
	// The place goes by the name: one that another restore had may be full of what was removed since.
	first := rand.Text()
	if err := unix.Mkdirat(dir, first, 0o700); err != nil {
		return err
	}
	return unix.Renameat(dir, first, dir, name)
}
