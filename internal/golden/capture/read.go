package capture

import (
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// file reads a file, again if it changed meanwhile.
func (w *worker) file(it *item) error {
	for tries := 1; ; tries++ {
		last := tries > w.rounds
		stable, err := w.attempt(it, last)
		if err != nil || stable {
			return err
		}
		if w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		if last {
			it.unstable = tries
			return nil
		}
	}
}

// attempt reads a file once. It is stable if nothing happened to it from before to after; if not it
// is stored the last time only.
func (w *worker) attempt(it *item, last bool) (stable bool, err error) {
	fd, err := openAt(it.at.fd, it.name, 0)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(fd) }()
	var before, after unix.Stat_t
	if err := statFD(fd, &before); err != nil {
		return false, err
	}
	if before.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, errOther
	}
	it.links = 0
	if it.linked(&before) {
		it.links, it.inode = before.Nlink, inode{before.Dev, before.Ino}
		if !w.claim(it) {
			it.deferred = true
			return true, nil
		}
	}
	if err := w.settle(w.ctx, fd, &before); err != nil {
		return false, err
	}
	w.reached("opened", it)
	dev := w.device(it.at, &before, fd)
	attrs, fault := w.attributes(fd, dev)
	it.entry = format.Entry{Size: before.Size, Xattrs: attrs}
	data, err := w.content(fd, &before, &it.entry)
	if err != nil {
		return false, err
	}
	w.reached("read", it)
	if err := statFD(fd, &after); err != nil {
		return false, err
	}
	stable = same(&before, &after)
	if !stable && !last {
		return false, nil
	}
	e := it.describe(format.TypeFile, &after, !stable || w.racy(dev, &after))
	it.fault, it.out = fault, e
	return stable, w.put(e.Sum, data)
}

func (w *worker) reached(step string, it *item) {
	if w.options.trace != nil {
		w.options.trace.reached(step, it.logical())
	}
}

// same says whether a file is as it was; the ctime tells of every change of data and metadata, and
// of a new file of its name too, as that takes a link from the old one.
func same(a, b *unix.Stat_t) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// put stores a block of a small file.
func (w *worker) put(h format.Hash, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	return w.sinkErr(w.lane.Put(w.ctx, h, data))
}

// sinkErr ends the capture with an error of the sink: it is not the file's fault.
func (w *worker) sinkErr(err error) error {
	if err == nil {
		return nil
	}
	w.stop(err)
	return errStopped
}
