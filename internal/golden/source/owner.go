package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
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

// holder is the account that a folder belongs to; nil when that is this process's, or it cannot become another.
func holder(path string) (*account, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	o := ownerOf(info)
	if os.Geteuid() != 0 || o.uid == 0 {
		return nil, nil //nolint:nilnil // nothing to become
	}
	return &account{home: "/nonexistent", uid: o.uid, gid: o.gid}, nil
}

// owner is who a file belongs to.
type owner struct{ uid, gid int }

func ownerOf(info fs.FileInfo) owner {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return owner{int(s.Uid), int(s.Gid)}
	}
	return owner{os.Geteuid(), os.Getegid()}
}

// openLive opens a live file or folder below dir, and follows no link there: whoever dir belongs to could have
// one lead to a program of root's, whose owner and mode the export would be given.
func openLive(dir, rel string) (*os.File, error) {
	fail := func(err error) (*os.File, error) {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(dir, rel), Err: err}
	}
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	parts := strings.Split(rel, "/")
	for i, name := range parts {
		flags := unix.O_PATH | unix.O_DIRECTORY
		if i == len(parts)-1 {
			flags = unix.O_RDONLY | unix.O_NONBLOCK // a pipe must not make it wait
		}
		next, err := unix.Openat(at, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		_ = unix.Close(at)
		if err != nil {
			return fail(err)
		}
		at = next
	}
	return os.NewFile(uintptr(at), filepath.Join(dir, rel)), nil
}

// adopt gives path the owner, the mode and the extended attributes of the live file or folder, so
// that a restore brings those back and not the export's.
func adopt(path string, live *os.File) error {
	info, err := live.Stat()
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
	return eachAttribute(live, func(name string, value []byte) error { return unix.Setxattr(path, name, value, 0) })
}

// eachAttribute calls set with the extended attributes of a live file or folder, ACLs among them. Those that the
// file system of the export or the system's policy does not take are left out.
func eachAttribute(live *os.File, set func(name string, value []byte) error) error {
	names, fd := make([]byte, 64<<10), int(live.Fd())
	n, err := unix.Flistxattr(fd, names)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "listxattr", Path: live.Name(), Err: err}
	}
	value := make([]byte, 64<<10)
	for name := range splitNames(names[:n]) {
		n, err := unix.Fgetxattr(fd, name, value)
		if err != nil {
			continue
		}
		switch err := set(name, value[:n]); {
		case err == nil, errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL):
		default:
			return fmt.Errorf("copy the attribute %s of %s: %w", name, live.Name(), err)
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
