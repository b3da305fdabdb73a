package ingest

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	fileChanges   = unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF
	folderChanges = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_DELETE_SELF |
		unix.IN_MOVE_SELF | unix.IN_ONLYDIR
)

// watcher wakes those who wait for changes of files and folders. What changed is of no interest: who is
// woken looks, so that a lost event costs time and nothing else. A nil watcher wakes nobody.
type watcher struct {
	f  *os.File
	mu sync.Mutex
	// waiting has who is to be woken, by the kernel's number of the watch; several logs may share one.
	waiting map[int32][]chan<- struct{}
}

func newWatcher() (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	return &watcher{f: os.NewFile(uintptr(fd), "inotify"), waiting: map[int32][]chan<- struct{}{}}, nil
}

// add wakes on changes of path; it returns the number for drop.
func (w *watcher) add(path string, mask uint32, wake chan<- struct{}) (int32, error) {
	if w == nil {
		return -1, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	wd := -1
	err := w.control(func(fd int) (err error) {
		wd, err = unix.InotifyAddWatch(fd, path, mask|unix.IN_MASK_ADD)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("watch %s: %w", path, err)
	}
	if id := int32(wd); !slices.Contains(w.waiting[id], wake) {
		w.waiting[id] = append(w.waiting[id], wake)
	}
	return int32(wd), nil
}

// drop ends the watch of wake.
func (w *watcher) drop(wd int32, wake chan<- struct{}) {
	if w == nil || wd < 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	left := slices.DeleteFunc(w.waiting[wd], func(c chan<- struct{}) bool { return c == wake })
	if len(left) > 0 {
		w.waiting[wd] = left
		return
	}
	delete(w.waiting, wd)
	// It fails when the file is gone, and the watch with it.
	_ = w.control(func(fd int) error {
		_, err := unix.InotifyRmWatch(fd, uint32(wd))
		return err
	})
}

func (w *watcher) control(f func(fd int) error) error {
	raw, err := w.f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// run passes the kernel's events on until the watcher is closed.
func (w *watcher) run() error {
	if w == nil {
		return nil
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := w.f.Read(buf)
		if err != nil {
			return fmt.Errorf("read the changes of files: %w", err)
		}
		w.wake(buf[:n])
	}
}

func (w *watcher) wake(events []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent {
		// struct inotify_event: wd, mask, cookie and the length of the name that follows.
		wd, mask := int32(binary.NativeEndian.Uint32(events)), binary.NativeEndian.Uint32(events[4:])
		events = events[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(events[12:]):]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for _, all := range w.waiting {
				nudge(all)
			}
			continue
		}
		nudge(w.waiting[wd])
		if mask&unix.IN_IGNORED != 0 {
			delete(w.waiting, wd)
		}
	}
}

// nudge wakes without waiting: who is awake already looks once more.
func nudge(all []chan<- struct{}) {
	for _, c := range all {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (w *watcher) close() error {
	if w == nil {
		return nil
	}
	return w.f.Close()
}
