package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// folderLock is a lock on an open folder. It holds between goroutines and processes, ends
// with the process, and follows the folder when that is renamed.
type folderLock struct{ dir *os.File }

// errLocked says that somebody else holds the lock.
var errLocked = errors.New("in use")

// tryLock locks path at once, shared (unix.LOCK_SH) or alone (unix.LOCK_EX), or returns errLocked.
func tryLock(path string, how int) (*folderLock, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	held, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	// The folder may have been removed or replaced before the lock was had.
	if now, err := os.Stat(path); err != nil || !os.SameFile(held, now) {
		_ = f.Close()
		return nil, errLocked
	}
	return &folderLock{dir: f}, nil
}

// lock waits for the lock until ctx ends.
func lock(ctx context.Context, path string, how int) (*folderLock, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		l, err := tryLock(path, how)
		if !errors.Is(err, errLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the lock of %s: %w", path, ctx.Err())
		case <-time.After(wait):
		}
	}
}

func (l *folderLock) unlock() { _ = l.dir.Close() }
