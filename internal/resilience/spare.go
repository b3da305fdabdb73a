package resilience

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/durable"
)

const (
	// block is what sizes of files with a spare are a multiple of, in bytes.
	block = 4 << 10
	// readersGrace is how long a spare that a slow reader still has open is left as it is.
	readersGrace = 2 * time.Second
)

// replaceFile makes data, which ends with a newline and to which spaces may be added before that,
// the content of the file, also on a disk that is full.
//
// Usually that is a new file in place of the old one. Where there is no room for one, its spare is
// overwritten, which needs no new block, and the two change places. A reader sees one of them
// whole; only who takes longer than readersGrace to read it, while two changes pass on a full
// disk, may not.
func replaceFile(path string, data []byte) error {
	if err := newFile(path, data); err != nil {
		if spareErr := useSpare(path, data); spareErr != nil {
			return fmt.Errorf("%w (its spare: %w)", err, spareErr)
		}
	}
	if err := keepSpare(path, int64(len(data))); err != nil {
		return fmt.Errorf("it is up to date, but has no spare to change it on a full disk: %w", err)
	}
	return nil
}

// sparePath is where the spare of a file is.
func sparePath(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".spare")
}

// newFile replaces a file by a new one, durably.
func newFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = renameio.WriteFile(path, data, 0o644, renameio.WithTempDir(dir), renameio.WithStaticPermissions(0o644))
	}
	if err == nil {
		err = durable.SyncDir(dir)
	}
	return plain(err)
}

// keepSpare makes a spare of that size unless there is one. It holds real bytes, so that its
// blocks are there when they are needed.
func keepSpare(path string, size int64) error {
	f, has, err := openSpare(path)
	if err == nil {
		_ = f.Close()
		if has >= size {
			return nil
		}
	}
	return newFile(sparePath(path), pad([]byte("\n"), size))
}

// openSpare opens the spare for writing in place. The folder may be another user's: what is found
// there under the spare's name is only written to if it is this agent's own file and no other's.
func openSpare(path string) (f *os.File, size int64, err error) {
	f, err = os.OpenFile(sparePath(path), os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, plain(err)
	}
	info, err := f.Stat()
	if err == nil {
		st, ok := info.Sys().(*syscall.Stat_t)
		if info.Mode().IsRegular() && ok && st.Nlink == 1 && int(st.Uid) == os.Geteuid() {
			return f, info.Size(), nil
		}
		err = errors.New("it is not a file of the agent's own")
	}
	return nil, 0, errors.Join(err, f.Close())
}

// useSpare overwrites the spare and lets it change places with the file.
func useSpare(path string, data []byte) error {
	f, size, err := openSpare(path)
	if err != nil {
		return err
	}
	if size < int64(len(data)) {
		_ = f.Close()
		return fmt.Errorf("it has room for %d of %d bytes", size, len(data))
	}
	awaitReaders(f)
	_, err = f.WriteAt(pad(data, size), 0)
	if err == nil {
		err = unix.Fdatasync(int(f.Fd()))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return plain(err)
	}
	err = unix.Renameat2(unix.AT_FDCWD, sparePath(path), unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	if err != nil { // the file is gone, or its file system cannot do that
		err = os.Rename(sparePath(path), path)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	return plain(err)
}

// awaitReaders waits until nobody else has f open, for readersGrace at most. A write lease is
// granted only then (fcntl(2), F_SETLEASE); where there are none nothing is waited for.
func awaitReaders(f *os.File) {
	for end := time.Now().Add(readersGrace); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
		if err == nil {
			_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
		}
		if !errors.Is(err, unix.EAGAIN) {
			return
		}
	}
}

// pad puts spaces before the last newline of data until it has that size.
func pad(data []byte, size int64) []byte {
	n := int(size) - len(data)
	if n <= 0 {
		return data
	}
	return slices.Concat(data[:len(data)-1], bytes.Repeat([]byte(" "), n), []byte("\n"))
}

// plain takes the names of files out of an error: that of a temporary file is another at each try.
func plain(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return fmt.Errorf("%s: %w", path.Op, path.Err)
	case errors.As(err, &link):
		return fmt.Errorf("%s: %w", link.Op, link.Err)
	}
	return err
}

// fileHint adds what the operator can do about a file that cannot be written.
func fileHint(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return shivx.Hint(err, "the disk is full: free space or inodes")
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return shivx.Hint(err, "check that the file system is mounted read-write and that the agent's user may write the folder")
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EEXIST):
		return shivx.Hint(err, "something else is in the way of the file or of its folder: move it, or set resilience.flags_file to another path")
	}
	return shivx.Hint(err, "check the disk (dmesg)")
}
