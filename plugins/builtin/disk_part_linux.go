package builtin

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// openSame opens the file that was found, for reading and writing.
func openSame(fd int, f found) (*os.File, error) {
	log, err := openBelow(fd, f.name, unix.O_RDWR|unix.O_NONBLOCK, unix.RESOLVE_NO_XDEV)
	if err != nil {
		return nil, errChanged
	}
	file := os.NewFile(uintptr(log), f.name)
	var st unix.Stat_t
	if err := unix.Fstat(log, &st); err != nil || (identity{st.Dev, st.Ino}) != f.identity || st.Nlink != 1 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = file.Close()
		return nil, errChanged
	}
	return file, nil
}

// makePart makes the file for the copy, with the owner and the mode of the log.
func makePart(fd int, name string, log *os.File) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(log.Fd()), &st); err != nil {
		return nil, err
	}
	part, err := unix.Openat(fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(part), name)
	if err := errors.Join(unix.Fchown(part, int(st.Uid), int(st.Gid)), unix.Fchmod(part, st.Mode&0o777)); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// cutToPieces cuts what a step that was killed has written after its last whole piece: that is in the log yet. It
// returns how much stays.
func cutToPieces(fd int, p found, c codec) (int64, error) {
	part, err := openSame(fd, p)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p.name, err)
	}
	defer part.Close()
	from := max(0, p.size-tailSize)
	tail := make([]byte, p.size-from)
	if _, err := part.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read %s: %w", p.name, err)
	}
	whole := from + int64(c.whole(tail))
	if whole == p.size {
		return whole, nil
	}
	return whole, errors.Join(part.Truncate(whole), part.Sync())
}

// renameFree renames within a folder to a name that is free, and returns it.
func renameFree(fd int, from, to string) (string, error) {
	base, suffix := to, ""
	if m := rotatedName.FindStringSubmatch(to); m != nil {
		suffix = m[2]
		base = to[:len(to)-len(suffix)]
	}
	for i := range 100 {
		name := to
		if i > 0 {
			name = fmt.Sprintf("%s-%d%s", base, i, suffix)
		}
		err := unix.Renameat2(fd, from, fd, name, unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			if err != nil {
				err = fmt.Errorf("rename %s to %s: %w", from, name, err)
			}
			return name, err
		}
	}
	return "", fmt.Errorf("rename %s to %s: %w", from, to, unix.EEXIST)
}

// lookAt describes a file in an open folder.
func lookAt(fd int, dir, name string) (found, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return found{}, fmt.Errorf("look at %s: %w", name, err)
	}
	return foundIn(dir, name, st), nil
}

func blocksOf(f *os.File) int64 {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Nlink == 0 {
		return 0
	}
	return st.Blocks * 512
}

func closeFD(fd int) { _ = unix.Close(fd) }
