package integrity

import (
	"crypto/sha256"
	"errors"
	"hash"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readAgain is how often an entry that changes while it is looked at is looked at again.
	readAgain = 3
	// settling is the pause before it is.
	settling = 5 * time.Millisecond
)

// reader looks at entries; it is used by one goroutine at a time.
type reader struct {
	buf []byte
	sum hash.Hash
	// bytes that were hashed.
	bytes int64
	// root of the walk; when it is a file, no folder of the walk has it.
	root string
	// folder is told of each folder that is opened, before it is listed; file of files that can be
	// written in other ways than through a folder of the walk.
	folder func(fd int, path string)
	file   func(fd int, path string)
}

func newReader() *reader { return &reader{sum: sha256.New()} }

// room is made when it is needed: many readers look at little.
func (r *reader) room() []byte {
	if r.buf == nil {
		r.buf = make([]byte, readSize)
	}
	return r.buf
}

// join adds a name to a folder's path.
func join(folder, name string) string {
	if folder == "/" {
		return folder + name
	}
	return folder + "/" + name
}

// openAbove opens the folder that holds path. Links are followed down to the root's own folder, as the
// configuration names it, and none below.
func openAbove(path, root string) (fd int, name string, err error) {
	const how = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	if path == "/" {
		fd, err = unix.Open("/", how, 0)
		return fd, ".", err
	}
	if fd, err = unix.Open(filepath.Dir(root), how, 0); err != nil || path == root {
		return fd, filepath.Base(root), err
	}
	rel := strings.TrimPrefix(strings.TrimPrefix(path, filepath.Dir(root)), "/")
	for {
		first, rest, more := strings.Cut(rel, "/")
		if !more {
			return fd, first, nil
		}
		next, err := unix.Openat(fd, first, how|unix.O_NOFOLLOW, 0)
		_ = unix.Close(fd)
		if err != nil {
			return -1, "", err
		}
		fd, rel = next, rest
	}
}

// observe looks at one entry.
func (r *reader) observe(path, root string) seen {
	at, name, err := openAbove(path, root)
	if err != nil {
		return failed(path, err)
	}
	defer func() { _ = unix.Close(at) }()
	r.root = root
	s, fd := r.observeAt(at, name, path, false)
	if fd >= 0 {
		_ = unix.Close(fd)
	}
	return s
}

// failed is what an entry is seen as that cannot be looked at.
func failed(path string, err error) seen {
	s := seen{entry: entry{path: path}}
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		s.trouble = err.Error()
	}
	return s
}

// observeAt looks at the entry of a folder; for a folder it returns it opened. listed is true when the
// folder's list has it as a file: then it is opened without another look at what it is. If it is none by
// now, it is closed unread.
func (r *reader) observeAt(at int, name, path string, listed bool) (s seen, fd int) {
	for again := 0; ; again++ {
		if listed && again == 0 {
			if s, steady := r.content(at, name, path); steady {
				return s, -1
			}
		}
		var st unix.Stat_t
		if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return r.missing(at, path, err), -1
		}
		s, fd = describe(path, &st), -1
		var steady bool
		switch s.form {
		case file:
			s, steady = r.content(at, name, path)
		case folderForm:
			fd, steady = r.openFolder(at, name, &s, &st)
		case symlink:
			s.link, steady = target(at, name)
		default:
			return s, -1
		}
		if steady || again == readAgain {
			s.unstable = !steady
			return s, fd
		}
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		time.Sleep(settling)
	}
}

// missing is what an entry is seen as that is gone, with the time at which its folder changed last.
func (r *reader) missing(at int, path string, err error) seen {
	s := failed(path, err)
	var st unix.Stat_t
	if unix.Fstat(at, &st) == nil {
		s.ctime = st.Ctim.Nano()
	}
	return s
}

func describe(path string, st *unix.Stat_t) seen {
	s := seen{ctime: st.Ctim.Nano(), links: uint64(st.Nlink), entry: entry{path: path, mtime: st.Mtim.Nano(), facts: facts{
		mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid,
	}}}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		s.form, s.size = file, st.Size
	case unix.S_IFDIR:
		s.form = folderForm
	case unix.S_IFLNK:
		s.form, s.size = symlink, st.Size
	case unix.S_IFIFO:
		s.form = fifo
	case unix.S_IFSOCK:
		s.form = socket
	case unix.S_IFCHR:
		s.form, s.rdev = charDevice, st.Rdev
	case unix.S_IFBLK:
		s.form, s.rdev = blockDevice, st.Rdev
	default:
		s.form = otherForm
	}
	return s
}

// openQuietly opens what is there, not what it links to, without a wait, and without a trace in its
// access time where the kernel allows that.
func openQuietly(at int, name string, how int) (int, error) {
	how |= unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY
	for {
		fd, err := unix.Openat(at, name, how|unix.O_NOATIME, 0)
		if errors.Is(err, unix.EPERM) {
			fd, err = unix.Openat(at, name, how, 0)
		}
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func sameState(a, b *unix.Stat_t) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Size == b.Size && a.Ctim == b.Ctim && a.Mode == b.Mode
}

func (r *reader) openFolder(at int, name string, s *seen, st *unix.Stat_t) (fd int, steady bool) {
	fd, err := openQuietly(at, name, unix.O_DIRECTORY)
	if err != nil {
		s.trouble = err.Error()
		return -1, !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP)
	}
	var now unix.Stat_t
	if unix.Fstat(fd, &now) != nil || now.Dev != st.Dev || now.Ino != st.Ino {
		return fd, false
	}
	s.attrs = attributes(fd)
	return fd, true
}

func target(at int, name string) (link string, steady bool) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(at, name, buf)
	if err != nil {
		return "", false
	}
	return string(buf[:n]), true
}
