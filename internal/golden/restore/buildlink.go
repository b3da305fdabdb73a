package restore

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// makeLinks makes the hard links that wait. What they are other names of is complete by then.
func (b *builder) makeLinks() error {
	if len(b.links) == 0 {
		return nil
	}
	if err := b.crew.drain(); err != nil {
		return err
	}
	live, err := b.liveTargets()
	if err != nil {
		return err
	}
	for _, l := range b.links {
		if err := b.makeLink(l, live); err != nil {
			return b.failure(l.entry, err)
		}
	}
	for _, l := range b.links {
		err = join(err, l.dir.release())
	}
	b.links = b.links[:0]
	b.step("links")
	return err
}

// liveTargets returns what the golden has of the live files that links are to be made to.
func (b *builder) liveTargets() (map[string]*format.Entry, error) {
	found := map[string]*format.Entry{}
	for _, l := range b.links {
		if _, staged := b.set.find(l.entry.Link); !staged && b.live {
			found[l.entry.Link] = nil
		}
	}
	missing := len(found)
	if missing == 0 {
		return found, nil
	}
	for it, err := range b.r.items(b.ctx) {
		if err != nil {
			return nil, err
		}
		if e, wanted := found[it.Path]; wanted && e == nil {
			found[it.Path] = cloneEntry(&format.Entry{}, it.Entry)
			missing--
		}
		if missing == 0 {
			break
		}
	}
	return found, nil
}

func (b *builder) makeLink(l link, live map[string]*format.Entry) error {
	at, rel := 0, ""
	if top, ok := b.set.find(l.entry.Link); ok {
		t := b.tops[b.set[top]]
		at, rel = b.coming[t.site].fd, t.name+strings.TrimPrefix(l.entry.Link, top)
	} else if live[l.entry.Link] == nil {
		return fmt.Errorf("%w: it is a hard link to %s, which is no file", format.ErrDamaged, l.entry.Link)
	} else {
		s, below := b.r.places.at(l.entry.Link)
		if ok, err := s.open(); err != nil || !ok {
			return errors.Join(err, unix.ENOENT)
		}
		at, rel = s.base, below
	}
	dir, base := split(rel)
	fd, err := openBeneath(at, dir, openPlace|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Linkat(fd, base, l.dir.fd, l.name, 0); err != nil {
		if errors.Is(err, unix.EXDEV) {
			return shivx.Hint(fmt.Errorf("link to %s: %w", l.entry.Link, err), "both names were on one file system; they must be again")
		}
		return fmt.Errorf("link to %s: %w", l.entry.Link, err)
	}
	st, _, err := statAt(l.dir.fd, l.name)
	if err == nil && !linkable(kindOf(st.Mode)) {
		err = fmt.Errorf("%w: it is a hard link to a %s", format.ErrDamaged, kindName(kindOf(st.Mode)))
	}
	if want := live[l.entry.Link]; err == nil && want != nil {
		err = b.checkLinked(l, want, &st)
	}
	return err
}

// checkLinked refuses a link to what is no longer what was compared. Whoever may change the folder of that could
// have put another file there, which would come to a place that is not his.
func (b *builder) checkLinked(l link, want *format.Entry, st *unix.Stat_t) error {
	now, err := b.isStill(l, want, st)
	if err != nil {
		return err
	}
	if !now {
		return fmt.Errorf("link to %s: %w", l.entry.Link, changed())
	}
	b.linked[inode{uint64(st.Dev), st.Ino}] = *changedAt(st)
	return nil
}

func (b *builder) isStill(l link, want *format.Entry, st *unix.Stat_t) (bool, error) {
	if kindOf(st.Mode) != kindFor(want.Type) {
		return false, nil
	}
	if want.Type != format.TypeFile {
		if want.Type == format.TypeSymlink {
			buf := make([]byte, len(want.Link)+1)
			n, err := unix.Readlinkat(l.dir.fd, l.name, buf)
			if err != nil || string(buf[:n]) != want.Link {
				return false, err
			}
		}
		xattrs, err := handle{at: l.dir.fd, n: l.name}.xattrs(make([]byte, chunk), want.Xattrs)
		return err == nil && !otherRights(want, st, xattrs), err
	}
	fd, err := openAt(l.dir.fd, l.name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	same, err := sameFile(fd, want, st)
	return same, join(err, unix.Close(fd))
}

// sameFile says whether an open file has the content of an entry and its rights, and keeps them meanwhile.
func sameFile(fd int, want *format.Entry, st *unix.Stat_t) (bool, error) {
	w := &worker{buf: make([]byte, chunk), block: make([]byte, 0, format.BlockSize), sums: newSums()}
	xattrs, err := handle{fd: fd}.xattrs(w.buf, want.Xattrs)
	if err != nil || unlike(want, st) != "" || otherRights(want, st, xattrs) {
		return false, err
	}
	same, err := w.sameBlocks(fd, want, 0, want.BlockCount())
	if same && err == nil && want.Data != nil {
		same, err = w.holesEmpty(fd, want)
	}
	var after unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &after)
	}
	return same && after.Ctim == st.Ctim, err
}

// linkable says whether a golden has hard links to what is of that kind.
func linkable(kind uint8) bool {
	return kind == unix.DT_REG || kind == unix.DT_LNK || kind == unix.DT_FIFO
}
