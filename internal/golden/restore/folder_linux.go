package restore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// folder is an open folder that several use at once.
type folder struct {
	// fd is -1 where there is none.
	fd int
	// up is held as long as this one is.
	up    *folder
	users atomic.Int32
	// done is called when the last user lets go, before fd is closed.
	done func() error
	// touched says that something in it will be replaced, which changes its time.
	touched atomic.Bool
}

// newFolder returns a folder with one user.
func newFolder(fd int, up *folder, done func() error) *folder {
	f := &folder{fd: fd, up: up, done: done}
	f.users.Store(1)
	if up != nil {
		up.hold()
	}
	return f
}

func (f *folder) hold() { f.users.Add(1) }

func (f *folder) release() error {
	var errs []error
	for f != nil && f.users.Add(-1) == 0 {
		if f.done != nil {
			errs = append(errs, f.done())
		}
		if f.fd >= 0 {
			errs = append(errs, unix.Close(f.fd))
		}
		f = f.up
	}
	return errors.Join(errs...)
}

const (
	openFolder = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	openPlace  = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
)

// again calls f until no signal disturbs it.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// openAt opens name in the folder at; the last part of name is not followed.
func openAt(at int, name string, flags int, mode uint32) (fd int, err error) {
	err = again(func() error {
		fd, err = unix.Openat(at, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// longPath is the length of a path from which on the kernel refuses it as one.
const longPath = 4000

// openBeneath opens a path below base without following any link, so that nobody who swaps a name
// on the way for a link leads out of it.
func openBeneath(base int, rel string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for len(rel) < longPath {
		fd, err := unix.Openat2(base, rel, &how)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue // somebody renamed something at that moment
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
			return openStepwise(base, rel, flags)
		}
		return fd, err
	}
	return openStepwise(base, rel, flags)
}

// openStepwise does the same on kernels before 5.6 and for paths that are too long at once.
func openStepwise(base int, rel string, flags int) (int, error) {
	at, own := base, false
	parts := strings.Split(rel, "/")
	for i, part := range parts {
		if part == ".." {
			return -1, unix.EXDEV
		}
		how := openPlace | unix.O_DIRECTORY
		if i == len(parts)-1 {
			how = flags
		}
		fd, err := openAt(at, part, how, 0)
		if own {
			_ = unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at, own = fd, true
	}
	return at, nil
}

// openReal opens an absolute path without links in it.
func openReal(path string) (int, error) {
	top, err := unix.Open("/", openPlace|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(top) }()
	rel := strings.TrimPrefix(path, "/")
	if rel == "" {
		rel = "."
	}
	fd, err := openBeneath(top, rel, openFolder)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// statAt describes a name without following it; ok is false when it is not there.
func statAt(at int, name string) (st unix.Stat_t, ok bool, err error) {
	err = again(func() error { return unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return st, false, nil
	}
	return st, err == nil, err
}

// child is a name in a folder.
type child struct {
	name string
	// kind is one of unix.DT_*.
	kind uint8
}

// children lists an open folder by the bytes of the names.
func children(fd int, buf []byte) ([]child, error) {
	var list []child
	var names []byte
	var ends []int
	for {
		var n int
		err := again(func() (err error) { n, err = unix.Getdents(fd, buf); return err })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		for rest := buf[:n]; len(rest) > 19; {
			length := binary.NativeEndian.Uint16(rest[16:])
			name := rest[19:length]
			name = name[:bytes.IndexByte(name, 0)]
			if kind := rest[18]; string(name) != "." && string(name) != ".." {
				names = append(names, name...)
				ends = append(ends, len(names))
				list = append(list, child{kind: kind})
			}
			rest = rest[length:]
		}
	}
	all, from := string(names), 0
	for i, end := range ends {
		list[i].name = all[from:end]
		from = end
		if list[i].kind == unix.DT_UNKNOWN {
			st, _, err := statAt(fd, list[i].name)
			if err != nil {
				return nil, err
			}
			list[i].kind = kindOf(st.Mode)
		}
	}
	slices.SortFunc(list, func(a, b child) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// kindOf returns the unix.DT_* of a mode.
func kindOf(mode uint32) uint8 { return uint8(mode & unix.S_IFMT >> 12) }
