package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// account is a user whose name stands in a configuration.
type account struct {
	name, home string
	uid, gid   int
	groups     []uint32
}

// lookUp finds a user; none for "".
func lookUp(name string) (*account, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // no name, no account
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, shivx.Hint(err, "correct user, or make it")
	}
	a := &account{name: name, home: u.HomeDir}
	if a.uid, err = strconv.Atoi(u.Uid); err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	if a.gid, err = strconv.Atoi(u.Gid); err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	if a.uid == os.Geteuid() {
		return nil, nil //nolint:nilnil // nothing to become
	}
	ids, err := u.GroupIds()
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			a.groups = append(a.groups, uint32(n))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	if os.Geteuid() != 0 {
		return nil, shivx.Hint(fmt.Errorf("become user %s: not permitted", name), "run as root or as "+name+" itself")
	}
	return a, nil
}

// owner is who a file belongs to.
type owner struct{ uid, gid int }

func ownerOf(info fs.FileInfo) owner {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return owner{int(s.Uid), int(s.Gid)}
	}
	return owner{os.Geteuid(), os.Getegid()}
}

// adopt gives path the owner, the mode and the extended attributes of the live file or folder, so
// that a restore brings those back and not the export's.
func adopt(path, live string) error {
	info, err := os.Stat(live)
	if err != nil {
		return err
	}
	o := ownerOf(info)
	if err := os.Chown(path, o.uid, o.gid); err != nil && os.Geteuid() == 0 {
		return err
	}
	// After the owner, whose change clears the set-user-id bit.
	if err := unix.Chmod(path, info.Sys().(*syscall.Stat_t).Mode&0o7777); err != nil {
		return &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	return copyAttributes(path, live)
}

// adoptTree gives all below path the owner of the live folder, and path its mode as well.
func adoptTree(path, live string) error {
	info, err := os.Stat(live)
	if err != nil {
		return err
	}
	want := ownerOf(info)
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || ownerOf(info) == want || os.Geteuid() != 0 {
			return err
		}
		return os.Lchown(p, want.uid, want.gid)
	})
	if err != nil {
		return err
	}
	return adopt(path, live)
}

// copyAttributes copies extended attributes, ACLs among them. Those that the file system of the
// export or the system's policy does not take are left out.
func copyAttributes(path, live string) error {
	names := make([]byte, 64<<10)
	n, err := unix.Listxattr(live, names)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "listxattr", Path: live, Err: err}
	}
	value := make([]byte, 64<<10)
	for name := range splitNames(names[:n]) {
		n, err := unix.Getxattr(live, name, value)
		if err != nil {
			continue
		}
		switch err := unix.Setxattr(path, name, value[:n], 0); {
		case err == nil, errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL):
		default:
			return &fs.PathError{Op: "setxattr " + name, Path: path, Err: err}
		}
	}
	return nil
}

// splitNames ranges over names that each end with a zero byte.
func splitNames(list []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for len(list) > 0 {
			name := unix.ByteSliceToString(list)
			if !yield(name) {
				return
			}
			list = list[min(len(list), len(name)+1):]
		}
	}
}
