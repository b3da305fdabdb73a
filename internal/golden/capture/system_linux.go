package capture

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// again calls f until no signal interrupts it.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// openAt opens a name in a folder for reading, without following a link, waiting on a pipe or leaving
// a trace in its atime; that last is for owners and root only.
func openAt(dir int, name string, flags int) (int, error) {
	flags |= unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOATIME | unix.O_CLOEXEC | unix.O_NOCTTY
	for {
		fd, err := unix.Openat(dir, name, flags, 0)
		switch {
		case err == unix.EPERM && flags&unix.O_NOATIME != 0:
			flags &^= unix.O_NOATIME
		case err == unix.EAGAIN && flags&unix.O_NONBLOCK != 0 && isFile(dir, name):
			// Somebody has a lease on the file and is given the time to give it back.
			flags &^= unix.O_NONBLOCK
		case err != unix.EINTR:
			return fd, err
		}
	}
}

func isFile(dir int, name string) bool {
	var st unix.Stat_t
	return statAt(dir, name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

func statAt(dir int, name string, st *unix.Stat_t) error {
	return again(func() error {
		return unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	})
}

func statFD(fd int, st *unix.Stat_t) error {
	return again(func() error { return unix.Fstat(fd, st) })
}

// readAt fills buf from off on; fewer bytes mean the end of the file.
func readAt(fd int, buf []byte, off int64) (int, error) {
	done := 0
	for done < len(buf) {
		n, err := unix.Pread(fd, buf[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return done, err
		}
		done += n
	}
	return done, nil
}

// readLink returns the target of a symbolic link.
func readLink(dir int, name string, buf []byte) (string, error) {
	var n int
	err := again(func() (err error) {
		n, err = unix.Readlinkat(dir, name, buf)
		return err
	})
	return string(buf[:max(n, 0)]), err
}

// dirents calls f with each name in what getdents returned, but for . and ..
func dirents(buf []byte, f func(name []byte, kind uint8)) {
	const fixed = 19 // inode, offset, length of the record, type
	for len(buf) >= fixed {
		length := int(binary.NativeEndian.Uint16(buf[16:]))
		if length < fixed || length > len(buf) {
			return
		}
		name := buf[fixed:length]
		for i, c := range name {
			if c == 0 {
				name = name[:i]
				break
			}
		}
		if s := string(name); s != "." && s != ".." && s != "" {
			f(name, buf[18])
		}
		buf = buf[length:]
	}
}

func modTime(st *unix.Stat_t) time.Time {
	return time.Unix(st.Mtim.Sec, st.Mtim.Nsec).UTC()
}

// gone says whether an entry vanished before it could be looked at.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// otherType says whether opening failed because a name means something else by now.
func otherType(err error) bool {
	return errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENXIO) ||
		errors.Is(err, unix.ENODEV) || errors.Is(err, errOther)
}

// fatal says whether the fault lies with the process rather than with the entry at hand.
func fatal(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// word is an error as a note tells it: without the path, which stands beside it.
func word(err error) string {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error()
	}
	return strings.TrimSpace(err.Error())
}
