package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/durable"
)

// lockFile takes the writer's lock, which the kernel drops when the process ends however it ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, writeHint(fmt.Errorf("lock ledger: %w", err))
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		_ = f.Truncate(0)
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
		return f, nil
	}
	defer f.Close()
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("lock ledger %s: %w", path, err)
	}
	holder, _ := io.ReadAll(io.LimitReader(f, 32))
	return nil, shivx.Hint(fmt.Errorf("%w: %s is held by process %s", ErrLocked, path, strings.TrimSpace(string(holder))),
		"one process writes a ledger; stop that one first, or only read (verify, show and tail need no lock)")
}

// InUse says whether somebody has the ledger at path open for writing. It creates nothing.
func InUse(path string) bool {
	f, err := os.Open(path + ".lock")
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// fdatasync waits until the file's data, and its size, are on disk.
func fdatasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// dropCache makes the next read come from the disk as far as the kernel allows.
func dropCache(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// inPlace says whether path still names the open file f, and f's size.
func inPlace(path string, f *os.File) (bool, int64) {
	var named, open unix.Stat_t
	if unix.Fstat(int(f.Fd()), &open) != nil {
		return false, 0
	}
	here := unix.Stat(path, &named) == nil && named.Dev == open.Dev && named.Ino == open.Ino
	return here, open.Size
}

func syncDir(path string) error {
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// writeHint adds what the operator can do about a failed write.
func writeHint(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return shivx.Hint(err, "the disk is full: free space; what was acknowledged is safe, and appends work again at once when there is room")
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return shivx.Hint(err, "check that the file system is mounted read-write and that this user may write the ledger's folder")
	}
	return shivx.Hint(err, "check the disk (dmesg); the ledger reopens its file at the next append")
}
