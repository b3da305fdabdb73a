package restore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// enter goes into a folder that the golden and the host have.
func (c *comparer) enter(d *liveDir, it item, base string) error {
	fd, err := openAt(d.fd, base, openFolder, 0)
	if err != nil {
		return busy(it.Path, err)
	}
	n := &liveDir{path: it.Path, above: it.above, unlisted: it.above || c.keep.skipped[it.Path]}
	n.folder = newFolder(fd, d.folder, func() error { return c.finish(n) })
	cloneEntry(&n.entry, it.Entry)
	err = unix.Fstat(fd, &n.state.st)
	if err == nil {
		n.state.xattrs, err = handle{fd: fd}.xattrs(c.buf, it.Xattrs)
	}
	if err == nil && !n.unlisted {
		n.names, err = children(fd, c.buf)
	}
	if err != nil {
		n.done = nil
		return errors.Join(busy(it.Path, err), n.release())
	}
	c.stack = append(c.stack, n)
	return nil
}

// busy wraps what goes wrong when somebody changes the tree meanwhile.
func busy(path string, err error) error {
	return shivx.Hint(fmt.Errorf("read %s: %w", path, err), "make sure that nothing changes the files meanwhile, then try again")
}

// finish compares a folder once all in it has been.
func (c *comparer) finish(d *liveDir) error {
	old := liveMeta(&d.state.st, d.state.xattrs)
	u := unit{Meta: &metaChange{Ino: d.state.st.Ino, Old: old}}
	detail := ""
	if !d.above {
		detail = differs(&d.entry, &d.state.st, d.state.xattrs)
		want := metaOf(&d.entry)
		u.Meta.New = &want
	}
	c.r.places.remember(d.path, u.Meta)
	switch {
	case detail != "":
		c.r.changes.add(Change{Path: d.path, Kind: Metadata, Type: format.TypeDir, Entries: 1, Detail: detail})
	case !d.above:
		c.r.changes.same(0)
	}
	if detail == "" && !d.touched.Load() {
		return nil
	}
	return c.r.spoolUnit(u, d.path, "")
}

// openLive opens a file to be read, and does not leave a mark in its time of access.
func (c *comparer) openLive(at int, base string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK
	if !c.atime.Load() {
		fd, err := openAt(at, base, flags|unix.O_NOATIME, 0)
		if !errors.Is(err, unix.EPERM) {
			return fd, err
		}
		c.atime.Store(true)
	}
	return openAt(at, base, flags, 0)
}

func (c *comparer) addFile(d *liveDir, it item, base string) error {
	if !isLarge(it) {
		c.crew.add(d.folder, base, it)
		return nil
	}
	l := &large{}
	var err error
	if l.fd, err = c.openLive(d.fd, base); err != nil {
		return busy(it.Path, err)
	}
	if err := unix.Fstat(l.fd, &l.state.st); err != nil {
		return errors.Join(err, unix.Close(l.fd))
	}
	if detail := unlike(it.Entry, &l.state.st); detail != "" {
		c.content(d.folder, it.Entry, detail)
		return unix.Close(l.fd)
	}
	c.crew.addLarge(d.folder, base, it, l)
	return nil
}

// unlike says why a file cannot have the entry's content without its being read, or "".
func unlike(e *format.Entry, st *unix.Stat_t) string {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return kindName(kindOf(st.Mode)) + " → file"
	}
	if st.Size != e.Size {
		return fmt.Sprintf("%d → %d bytes", st.Size, e.Size)
	}
	return ""
}

func (c *comparer) content(d *folder, e *format.Entry, detail string) {
	c.replace(d, e, Change{Path: e.Path, Kind: Content, Type: e.Type, Entries: 1, Bytes: e.Size, Detail: detail})
}

// work compares a file or a part of one.
func (c *comparer) work(w *worker, j *job) error {
	if j.large != nil {
		return c.part(w, j)
	}
	e := &j.entry
	fd, err := c.openLive(j.dir.fd, j.name)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOENT) {
		// It has gone or become something else since it was listed.
		c.content(j.dir, e, "it changed while it was compared")
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", e.Path, err)
	}
	var l live
	if err = unix.Fstat(fd, &l.st); err == nil {
		err = c.judge(w, j, fd, &l)
	}
	c.r.meter.files.Add(1)
	c.r.meter.bytes.Add(e.Size)
	if err != nil {
		err = fmt.Errorf("compare %s: %w", e.Path, err)
	}
	return join(err, unix.Close(fd))
}

func (c *comparer) judge(w *worker, j *job, fd int, l *live) error {
	e := &j.entry
	if detail := unlike(e, &l.st); detail != "" {
		c.content(j.dir, e, detail)
		return nil
	}
	same, err := w.sameBlocks(fd, e, 0, e.BlockCount())
	if err != nil {
		return err
	}
	return c.verdict(w, j, fd, l, same)
}

// part compares some blocks of a large file; the last one comes to the verdict.
func (c *comparer) part(w *worker, j *job) error {
	l := j.large
	var err error
	if !l.wrong.Load() {
		var same bool
		if same, err = w.sameBlocks(l.fd, l.entry, j.from, j.to); !same {
			l.wrong.Store(true)
		}
	}
	if l.left.Add(-1) > 0 {
		return err
	}
	if err == nil {
		err = c.verdict(w, j, l.fd, &l.state, !l.wrong.Load())
	}
	c.r.meter.files.Add(1)
	c.r.meter.bytes.Add(l.entry.Size)
	if err != nil {
		err = fmt.Errorf("compare %s: %w", l.entry.Path, err)
	}
	return join(err, unix.Close(l.fd))
}

// verdict decides about a file whose blocks have been compared.
func (c *comparer) verdict(w *worker, j *job, fd int, l *live, same bool) (err error) {
	e := j.what()
	if same && e.Data != nil {
		if same, err = w.holesEmpty(fd, e); err != nil {
			return err
		}
	}
	if !same {
		c.content(j.dir, e, "its content differs")
		return nil
	}
	if first := c.inode.claim(&l.st, e.Path); first != "" {
		c.content(j.dir, e, "is one file with "+first+", and becomes one of its own")
		return nil
	}
	if l.xattrs, err = (handle{fd: fd}).xattrs(w.buf, e.Xattrs); err != nil {
		return err
	}
	detail := differs(e, &l.st, l.xattrs)
	if detail == "" {
		c.r.changes.same(e.Size)
		return nil
	}
	change := Change{Path: e.Path, Kind: Metadata, Type: e.Type, Entries: 1, Detail: detail}
	if l.st.Nlink > 1 || privileged(e, &l.st, l.xattrs) {
		// Its other names may be nothing that the golden speaks of: they keep what they have. And nothing
		// is given rights in place: whoever may write to it could have written something else by then.
		c.replace(j.dir, e, change)
		return nil
	}
	c.r.changes.add(change)
	want, old := metaOf(e), liveMeta(&l.st, l.xattrs)
	u := unit{Meta: &metaChange{Ino: l.st.Ino, Old: old, New: &want, Changed: changedAt(&l.st)}}
	return c.r.spoolUnit(u, e.Path, "")
}

// other compares a link or a pipe.
func (c *comparer) other(d *liveDir, it item, base string) error {
	st, ok, err := statAt(d.fd, base)
	if err != nil || !ok {
		return busy(it.Path, errors.Join(err, unix.ENOENT))
	}
	if it.Type == format.TypeSymlink {
		n, err := unix.Readlinkat(d.fd, base, c.buf)
		if err != nil {
			return busy(it.Path, err)
		}
		if string(c.buf[:n]) != it.Link {
			c.content(d.folder, it.Entry, fmt.Sprintf("link to %q → %q", c.buf[:n], it.Link))
			return nil
		}
	}
	if first := c.inode.claim(&st, it.Path); first != "" {
		c.content(d.folder, it.Entry, "is one "+string(it.Type)+" with "+first+", and becomes one of its own")
		return nil
	}
	xattrs, err := handle{at: d.fd, n: base}.xattrs(c.buf, it.Xattrs)
	if err != nil {
		return busy(it.Path, err)
	}
	if detail := differs(it.Entry, &st, xattrs); detail != "" {
		c.replace(d.folder, it.Entry, Change{Path: it.Path, Kind: Metadata, Type: it.Type, Entries: 1, Detail: detail})
		return nil
	}
	c.r.changes.same(0)
	return nil
}
