package capture

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// folder is a folder being captured: its names, and its descriptor as long as anybody needs it.
type folder struct {
	// prefix is what the paths of all in it begin with.
	prefix string
	stat   unix.Stat_t
	dev    *device
	names  names
	// more: names holds a part only, and not in order.
	more bool
	// overlays are replacements by name.
	overlays map[string]string
	// closed is why it was not entered, or "".
	closed string

	mu   sync.Mutex
	fd   int
	refs int
}

// hold keeps the descriptor open; somebody must be holding it already.
func (f *folder) hold() {
	f.mu.Lock()
	f.refs++
	f.mu.Unlock()
}

// release lets go of the descriptor, and closes it after the last holder.
func (f *folder) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refs--; f.refs == 0 && f.fd >= 0 {
		_ = unix.Close(f.fd)
		f.fd = -1
	}
}

var errMoved = errors.New("moved away while it was read")

// reopen holds a folder that may have been closed again, by way of a folder in it.
func (f *folder) reopen(child *folder) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refs == 0 {
		if child.fd < 0 {
			return errMoved
		}
		fd, err := openAt(child.fd, "..", unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := statFD(fd, &st); err != nil || st.Dev != f.stat.Dev || st.Ino != f.stat.Ino {
			_ = unix.Close(fd)
			return errors.Join(err, errMoved)
		}
		f.fd = fd
	}
	f.refs++
	return nil
}

var errLong = fmt.Errorf("its path is longer than %d bytes", format.MaxPath)

// tooLong says whether the path of a name in the folder is more than an entry can hold.
func (f *folder) tooLong(name string) bool { return len(f.prefix)+len(name) > format.MaxPath }

// path is that of the folder itself.
func (f *folder) path() string {
	if len(f.prefix) <= 1 {
		return f.prefix
	}
	return f.prefix[:len(f.prefix)-1]
}

// lister opens folders and lists their names. Each goroutine has its own.
type lister struct {
	plan    *plan
	devices *devices
	trace   tracer
	// buf is for getdents, text for the names in it.
	buf, text []byte
}

// direntBuffer is the length of the buffer for getdents in bytes, enough for some thousand names.
const direntBuffer = 128 << 10

func newLister(p *plan, d *devices, t tracer) *lister {
	return &lister{plan: p, devices: d, trace: t, buf: make([]byte, direntBuffer)}
}

// open opens the folder that lies at name in parent and stands at path in the golden. Of the names
// in it it lists about limit; a folder that must not be entered has none.
func (l *lister) open(parent *folder, name, path string, limit int) (*folder, error) {
	fd, err := openAt(parent.fd, name, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := &folder{prefix: prefixOf(path), fd: fd, refs: 1, dev: parent.dev}
	if err := statFD(fd, &f.stat); err != nil {
		f.release()
		return nil, err
	}
	if f.dev == nil || f.dev.id != f.stat.Dev {
		f.dev = l.devices.of(f.stat.Dev, fd)
	}
	// A root and a replacement have no device above them: they are wanted whatever they lie on.
	if parent.dev != nil && f.dev != parent.dev && f.dev.barred != "" {
		f.closed = f.dev.barred
		return f, nil
	}
	f.overlays = l.plan.overlays[f.prefix]
	if err := l.list(f, limit); err != nil {
		f.release()
		return nil, err
	}
	return f, nil
}

// list reads names until there are limit of them; at the end it puts them in order.
func (l *lister) list(f *folder, limit int) error {
	exclude, absent := l.plan.excluded(f.prefix), l.plan.absent[f.prefix]
	for f.more = true; f.names.len() < limit; {
		var n int
		err := again(func() (err error) {
			n, err = unix.Getdents(f.fd, l.buf)
			return err
		})
		// A folder that was removed meanwhile has no names any more.
		if err != nil && !gone(err) {
			return fmt.Errorf("list: %w", err)
		}
		if n <= 0 {
			f.complete()
			break
		}
		if err := l.add(f, l.buf[:n], exclude, absent); err != nil {
			return err
		}
	}
	if !f.more && l.trace != nil {
		l.trace.reached("listed", f.path())
	}
	return nil
}

// add adds the names of one buffer that are neither excluded nor absent, nor folders of restores.
func (l *lister) add(f *folder, buf []byte, exclude patterns, absent map[string]bool) error {
	l.text = l.text[:0]
	first := f.names.len()
	dirents(buf, func(n []byte, kind uint8) {
		if len(exclude) > 0 && exclude.match(f.prefix, string(n)) || absent[string(n)] {
			return
		}
		if n[0] == '.' && f.own(string(n)) {
			return
		}
		f.names.refer(len(l.text), len(n), kind)
		l.text = append(l.text, n...)
	})
	f.names.text = append(f.names.text, string(l.text))
	for i := first; i < f.names.len(); i++ {
		n := f.names.at(i)
		if n.kind != unix.DT_UNKNOWN {
			continue
		}
		var st unix.Stat_t
		if err := statAt(f.fd, n.text, &st); err != nil && !gone(err) {
			return err
		}
		f.names.setKind(i, kindOf(st.Mode))
	}
	return nil
}

// own says whether a name in the folder is a folder that a restore has made: the state that is being
// built or was replaced is no part of the state at hand.
func (f *folder) own(name string) bool {
	if !format.OwnName(name) {
		return false
	}
	var st unix.Stat_t
	return statAt(f.fd, name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR &&
		format.OwnFolder(name, st.Uid, st.Mode, os.Geteuid())
}

// complete puts the names in order, with those that only an overlay has.
func (f *folder) complete() {
	for n := range f.overlays {
		f.names.add(n, unix.DT_UNKNOWN)
	}
	f.names.sort()
	f.more = false
}
