package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/durable"
)

// errLocked says that somebody else holds a lock.
var errLocked = errors.New("in use")

// tryLock takes the lock of that name at once, or returns errLocked. It holds between goroutines and
// processes and ends with the process.
func (s *Store) tryLock(name string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.home, lockDir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { _ = durable.Unlock(f) }, nil
}

// lock waits for the lock until ctx ends.
func (s *Store) lock(ctx context.Context, name string) (release func(), err error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		release, err := s.tryLock(name)
		if !errors.Is(err, errLocked) {
			return release, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another step on the checkpoints (%s): %w", name, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}
