package integrity

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"golang.org/x/sys/unix"
)

const (
	// readSize is what one read asks for: it fits a core's own cache, and the cost of the call is
	// nothing beside that of hashing as much.
	readSize = 256 << 10
	// sparing is the size in bytes from which a file's pages are put back out of the page cache when
	// they were not in it before.
	sparing = 1 << 20
)

// content hashes a file. It is not steady when it is no file, changed meanwhile, or lost its name: the
// kernel's time of the last change tells of that, too.
func (r *reader) content(at int, name, path string) (s seen, steady bool) {
	fd, err := openQuietly(at, name, 0)
	if err != nil {
		return r.unopened(at, name, path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var was, is unix.Stat_t
	if unix.Fstat(fd, &was) != nil {
		return failed(path, nil), false
	}
	if s = describe(path, &was); s.form != file {
		return s, false
	}
	s.attrs = attributes(fd)
	if r.file != nil && (s.links > 1 || s.path == r.root) {
		r.file(fd, s.path)
	}
	n, err := r.hash(fd, was.Size)
	if err != nil {
		s.trouble = err.Error()
		return s, true
	}
	s.size, s.hashed = n, true
	r.sum.Sum(s.sum[:0])
	return s, unix.Fstat(fd, &is) == nil && is.Nlink > 0 && sameState(&was, &is)
}

// unopened is what a file is seen as that cannot be opened.
func (r *reader) unopened(at int, name, path string, err error) (s seen, steady bool) {
	var st unix.Stat_t
	if unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return failed(path, nil), false
	}
	s = describe(path, &st)
	s.trouble = err.Error()
	return s, s.form == file && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENXIO)
}

// hash reads to the end and returns how many bytes there were; r.sum has their hash.
func (r *reader) hash(fd int, size int64) (n int64, err error) {
	if size >= sparing {
		defer spare(fd, size)()
	}
	r.sum.Reset()
	buf := r.room()
	for {
		m, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return n, err
		case m == 0:
			return n, nil
		}
		_, _ = r.sum.Write(buf[:m])
		n += int64(m)
		r.bytes += int64(m)
		if n == size {
			return n, nil // whether it has grown since is seen by who asks for its state again
		}
	}
}

// spare tells the kernel of one reading from begin to end. What it returns takes the file out of the
// page cache again, unless a good part of it was there before: then somebody else needs it.
func spare(fd int, size int64) func() {
	var cached unix.Cachestat_t
	err := unix.Cachestat(uint(fd), &unix.CachestatRange{Len: uint64(size)}, &cached, 0)
	_ = unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL)
	_ = unix.Fadvise(fd, 0, 0, unix.FADV_NOREUSE)
	return func() {
		if err == nil && int64(cached.Cache)*int64(unix.Getpagesize()) < size/4 {
			_ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
		}
	}
}

// attributes hashes what gives rights beside the mode: capabilities and access control lists.
func attributes(fd int) string {
	if n, err := unix.Flistxattr(fd, nil); err != nil || n == 0 {
		return ""
	}
	h, any := sha256.New(), false
	value := make([]byte, 64<<10) // the most that the kernel allows
	for _, name := range []string{"security.capability", "system.posix_acl_access", "system.posix_acl_default"} {
		n, err := unix.Fgetxattr(fd, name, value)
		if err != nil {
			continue
		}
		any = true
		_, _ = h.Write(append([]byte(name), 0))
		_, _ = h.Write(value[:n])
	}
	if !any {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}
