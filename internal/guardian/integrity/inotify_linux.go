package integrity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// What is asked of the kernel for folders of the tree, for files, and for the folders above a root,
// which may be busy with what is not ours.
const (
	treeMask = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | aboveMask
	fileMask = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_MASK_ADD
	// aboveMask: entries come and go, and the folder itself does.
	aboveMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_MASK_ADD | unix.IN_EXCL_UNLINK | unix.IN_ONLYDIR
	// selfChanged is told of the watched folder itself: all below has changed.
	selfChanged = unix.IN_MOVE_SELF | unix.IN_DELETE_SELF | unix.IN_UNMOUNT
)

// notifier has the kernel tell of changes. A folder that was moved is told of under its old path until
// it is watched anew.
type notifier struct {
	fd *os.File
	// tell is given a path that has changed, and whether all below it has; "": some were lost.
	tell func(path string, deep bool)

	mu sync.Mutex
	// paths that a watch is for: one, but for files that several paths are links to.
	paths map[int32][]string
	// unwatched are paths that the kernel did not take, with the reason of the last.
	unwatched map[string]bool
	reason    error
}

func newNotifier(tell func(path string, deep bool)) (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("ask the kernel to tell of changes: %w", err)
	}
	return &notifier{
		fd: os.NewFile(uintptr(fd), "inotify"), tell: tell, paths: map[int32][]string{}, unwatched: map[string]bool{},
	}, nil
}

// folder watches an opened folder.
func (n *notifier) folder(fd int, path string) { n.add(opened(fd), path, treeMask) }

// file watches an opened file.
func (n *notifier) file(fd int, path string) { n.add(opened(fd), path, fileMask) }

// own watches the baseline's folder.
func (n *notifier) own(path string) { n.add(path, path, treeMask) }

// above watches a folder that holds a root, or the way to one.
func (n *notifier) above(path string) { n.add(path, path, aboveMask) }

// opened names what a descriptor stands for, whatever is in its path by now.
func opened(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

func (n *notifier) add(name, path string, mask uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var wd int
	var err error
	control, controlErr := n.fd.SyscallConn()
	if controlErr == nil {
		controlErr = control.Control(func(fd uintptr) { wd, err = unix.InotifyAddWatch(int(fd), name, mask) })
	}
	if err = errors.Join(err, controlErr); err != nil {
		n.unwatched[path], n.reason = true, err
		return
	}
	delete(n.unwatched, path)
	if mask&unix.IN_ONLYDIR != 0 {
		n.paths[int32(wd)] = []string{path}
	} else if !slices.Contains(n.paths[int32(wd)], path) {
		n.paths[int32(wd)] = append(n.paths[int32(wd)], path)
	}
}

// forget ends the watches at and below a path: what was there is elsewhere now.
func (n *notifier) forget(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for wd, paths := range n.paths {
		if rest := slices.DeleteFunc(paths, func(p string) bool { return within(p, path) }); len(rest) > 0 {
			n.paths[wd] = rest
			continue
		}
		delete(n.paths, wd)
		if control, err := n.fd.SyscallConn(); err == nil {
			_ = control.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) })
		}
	}
}

// run reads what the kernel tells until the notifier is closed.
func (n *notifier) run() error {
	buf := make([]byte, 256<<10)
	for {
		m, err := n.fd.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what the kernel tells of changes: %w", err)
		}
		n.parse(buf[:m])
	}
}

func (n *notifier) close() { _ = n.fd.Close() }

// parse reads a run of struct inotify_event: watch, mask, cookie, length of the name, name.
func (n *notifier) parse(buf []byte) {
	for len(buf) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(buf))
		mask := binary.NativeEndian.Uint32(buf[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		name := strings.TrimRight(string(buf[unix.SizeofInotifyEvent:end]), "\x00")
		buf = buf[end:]
		n.event(wd, mask, name)
	}
}

func (n *notifier) event(wd int32, mask uint32, name string) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		n.tell("", true)
		return
	}
	n.mu.Lock()
	paths := slices.Clone(n.paths[wd])
	if mask&unix.IN_IGNORED != 0 {
		delete(n.paths, wd)
	}
	n.mu.Unlock()
	for _, path := range paths {
		if name != "" {
			path = join(path, name)
		}
		isFolder := mask&unix.IN_ISDIR != 0
		if isFolder && mask&(unix.IN_MOVED_FROM|unix.IN_DELETE) != 0 {
			n.forget(path)
		}
		n.tell(path, mask&selfChanged != 0 || isFolder && mask&(unix.IN_MODIFY|unix.IN_CLOSE_WRITE|unix.IN_ATTRIB) == 0)
	}
}

// counts returns how many watches there are, how many paths have none, and why.
func (n *notifier) counts() (watched, unwatched int, reason error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.unwatched) > 0 {
		reason = n.reason
	}
	return len(n.paths), len(n.unwatched), reason
}

// retry forgets what was not taken, before everything is walked again.
func (n *notifier) retry() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.unwatched)
}
