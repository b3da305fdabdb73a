package capture

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// worker looks at items and reads files. It belongs to one goroutine.
type worker struct {
	*run
	lane Lane
	// small holds a file of one block, attrs and value extended attributes, target a link's.
	small                []byte
	attrs, value, target []byte
	whole                hash.Hash
	pieces               []format.Extent
}

func newWorker(r *run) *worker {
	return &worker{
		run: r, lane: r.sink.Lane(), whole: sha256.New(),
		small: make([]byte, format.BlockSize), target: make([]byte, unix.PathMax),
		attrs: make([]byte, maxAttrs), value: make([]byte, maxAttrs),
	}
}

// close ends the worker's lane.
func (w *worker) close() error { return w.lane.Close() }

// errStopped is what a worker sees after the capture was ended with a reason.
var errStopped = errors.New("stopped")

// do finds out what becomes of an item. An error ends the capture; what is wrong with the item alone
// stands in it. With force it reads a file although another item claimed it.
func (w *worker) do(it *item, force bool) error {
	if it.kind == kindFailed {
		return nil
	}
	it.claimed, it.deferred = it.claimed || force, false
	err := error(errOther)
	// A name that stands for something else each time it is looked at is given up.
	for range w.rounds + 1 {
		if err = w.look(it); !otherType(err) {
			break
		}
		it.kind = unix.DT_UNKNOWN
	}
	switch {
	case err == nil:
		return nil
	case gone(err):
		it.out = nil
		return nil
	case fatal(err), errors.Is(err, errStopped), w.ctx.Err() != nil:
		return err
	}
	if otherType(err) {
		err = errOther
	}
	it.out, it.fault = nil, err
	return nil
}

// look finds out what an item is. A file that is known to be one, and of which nothing is known from
// before, is opened at once.
func (w *worker) look(it *item) error {
	it.links = 0
	if it.name == "" {
		return w.folder(it)
	}
	if it.kind == unix.DT_REG && !it.known {
		return w.file(it)
	}
	var st unix.Stat_t
	if err := statAt(it.at.fd, it.name, &st); err != nil {
		return err
	}
	switch t := typeOf(st.Mode); t {
	case format.TypeFile:
		if w.keep(it, &st) {
			return nil
		}
		return w.file(it)
	case format.TypeSymlink, format.TypeFIFO:
		if w.keep(it, &st) {
			return nil
		}
		return w.special(it, t, &st)
	case format.TypeDir:
		return errOther
	default:
		it.note = Device
		if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			it.note = Socket
		}
		return nil
	}
}

// keep takes the entry of the golden before if nothing changed since then and its blocks are still
// there, or leaves a file to another of its names.
func (w *worker) keep(it *item, st *unix.Stat_t) bool {
	if !it.known {
		return false
	}
	if it.linked(st) {
		// The first of the names was read the last time, and lies before this one.
		first := it.prev.Type != format.TypeHardlink || it.claimed
		it.links, it.inode = st.Nlink, inode{st.Dev, st.Ino}
		if !first || !w.claim(it) {
			it.deferred = true
			return true
		}
	}
	if !unchanged(&it.prev, st) {
		return false
	}
	for i := range it.prev.BlockCount() {
		if !w.sink.Use(it.prev.Block(i)) {
			return false
		}
	}
	it.out = &it.prev
	return true
}

func (w *worker) claim(it *item) bool {
	it.claimed = it.claimed || w.links.claim(it.inode)
	return it.claimed
}

// folder makes the entry of a folder, which is open.
func (w *worker) folder(it *item) error {
	st := &it.at.stat
	if w.keep(it, st) {
		return nil
	}
	it.entry = format.Entry{}
	e := it.describe(format.TypeDir, st, w.racy(it.at.dev, st))
	attrs, err := w.attributes(it.at.fd, it.at.dev)
	e.Xattrs, it.fault = attrs, err
	it.out = e
	return nil
}

// special makes the entry of a symbolic link or a pipe, or leaves it to another of its names.
func (w *worker) special(it *item, t format.Type, st *unix.Stat_t) error {
	if it.linked(st) {
		it.links, it.inode = st.Nlink, inode{st.Dev, st.Ino}
		if !w.claim(it) {
			it.deferred = true
			return nil
		}
	}
	it.entry = format.Entry{}
	if t == format.TypeSymlink {
		link, err := readLink(it.at.fd, it.name, w.target)
		if errors.Is(err, unix.EINVAL) {
			return errOther
		}
		if err != nil {
			return err
		}
		it.entry.Link = link
	}
	dev := w.device(it.at, st, -1)
	e := it.describe(t, st, w.racy(dev, st))
	attrs, err := w.attributesAt(it.at, it.name, dev)
	if it.links > 1 { // what was read by name stands for other names too, so it must be what was claimed
		var now unix.Stat_t
		if err := statAt(it.at.fd, it.name, &now); err != nil {
			return err
		}
		if now.Dev != st.Dev || now.Ino != st.Ino {
			return errOther
		}
	}
	e.Xattrs, it.fault = attrs, err
	it.out = e
	return nil
}

// device returns the file system of what fd, if not negative, is open on. Mostly it is the folder's;
// but a file can be mounted too, and a root has no folder.
func (w *worker) device(f *folder, st *unix.Stat_t, fd int) *device {
	switch {
	case f.dev != nil && (f.dev.id == st.Dev || fd < 0):
		return f.dev
	case fd < 0:
		return &device{}
	}
	return w.devices.of(st.Dev, fd)
}

func (w *worker) racy(d *device, st *unix.Stat_t) bool {
	return d.racy(st, w.start, w.options.now())
}

// settle waits, if a file was changed just now, until its time stamps tell of a further change.
func (w *worker) settle(ctx context.Context, fd int, st *unix.Stat_t) error {
	age := w.options.now().Sub(time.Unix(st.Ctim.Sec, st.Ctim.Nsec))
	if age < 0 || age >= tick {
		return nil
	}
	wait := time.NewTimer(tick - age)
	defer wait.Stop()
	select {
	case <-wait.C:
		return statFD(fd, st)
	case <-ctx.Done():
		return ctx.Err()
	}
}
