package health

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// exitWatch tells of the exit of one process as it happens. The pidfd is handed to the runtime's
// poller: a waiting watch costs a goroutine and no thread.
type exitWatch struct {
	file *os.File
	// C is closed when the process has exited, and when the watch is closed.
	C chan struct{}
}

// errGone says that the process ended before it could be watched.
var errGone = errors.New("the process is gone")

// watchExit begins to watch i, an instance seen in /proc.
func watchExit(i instance) (*exitWatch, error) {
	fd, err := unix.PidfdOpen(i.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("watch %s: pidfd_open: %w", i, err)
	}
	if !alive(defaultProc, i) { // the number may have been reused before the pidfd was opened
		_ = unix.Close(fd)
		return nil, errGone
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch %s: %w", i, err)
	}
	w := &exitWatch{file: os.NewFile(uintptr(fd), "pidfd"), C: make(chan struct{})}
	raw, err := w.file.SyscallConn()
	if err != nil {
		_ = w.file.Close()
		return nil, fmt.Errorf("watch %s: %w", i, err)
	}
	go func() {
		defer close(w.C)
		_ = raw.Read(exited)
	}()
	return w, nil
}

// exited says whether the pidfd is readable, which it is from the process' exit on.
func exited(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
}

// Close ends the watch.
func (w *exitWatch) Close() { _ = w.file.Close() }
