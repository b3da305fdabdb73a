package restore

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// liveDir is a folder of the live tree that the walk is in.
type liveDir struct {
	*folder
	path string
	// missing: the golden has it and the host does not, or has something else there; so all below it
	// is staged with it.
	missing bool
	// above: it is only on the way to what was asked for.
	above bool
	// names are the live children not yet passed; unlisted: they are looked up one by one.
	names    []child
	unlisted bool

	entry format.Entry
	state live
}

// live describes a file of the live tree.
type live struct {
	st     unix.Stat_t
	xattrs []xattr
}

// comparer walks the live tree beside the golden's entries.
type comparer struct {
	r     *run
	crew  *crew
	keep  keeper
	buf   []byte
	stack []*liveDir
	// bases are the folders above roots, by the site.
	bases map[*site]*liveDir
	links []link
	found *findings
	inode inodes
	// seen are the roots that the golden has entries of.
	seen map[string]bool
	// atime is set once the system has refused to read without noting the time of it.
	atime atomic.Bool
}

func (r *run) newComparer() *comparer {
	keep := newKeeper(r.h.Exclude, skippedIn(r.h), r.h.Sources, r.places)
	keep.strict = true
	return &comparer{
		r: r, keep: keep, buf: make([]byte, 128<<10),
		bases: map[*site]*liveDir{}, seen: map[string]bool{}, found: &findings{r: r}, inode: newInodes(),
	}
}

// compare finds what differs between the live tree and the golden. What is to be removed and what
// needs other metadata goes to the spool at once, what is to be staged into the findings.
func (r *run) compare(ctx context.Context) (*findings, error) {
	c := r.newComparer()
	if r.sel.only != nil {
		// Which files hard links stand for must be known before the files pass.
		if err := r.note(ctx); err != nil {
			return nil, err
		}
	}
	defer r.meter.begin("compare", r.h.Bytes)()
	c.crew = newCrew(ctx, r.o.Workers, c.work)
	err := c.walk(ctx)
	if err != nil {
		c.crew.cancel(err)
	}
	for len(c.stack) > 0 {
		if leaveErr := c.pop(err == nil); err == nil && leaveErr != nil {
			err = leaveErr
			c.crew.cancel(err)
		}
	}
	if err == nil {
		err = c.absentRoots()
	}
	if err == nil {
		err = c.settleLinks()
	}
	c.found.finish()
	err = join(err, c.dropLinks())
	if closeErr := c.crew.close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = c.removeLogs(c.found.replaces)
	}
	for _, b := range c.bases {
		if closeErr := b.release(); err == nil {
			err = closeErr
		}
	}
	return c.found, err
}

// note runs over the entries once, to learn what a selection needs.
func (r *run) note(ctx context.Context) error {
	for _, err := range r.items(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *comparer) walk(ctx context.Context) error {
	for it, err := range c.r.items(ctx) {
		if err != nil {
			return err
		}
		if err := c.crew.failed(); err != nil {
			return err
		}
		for len(c.stack) > 0 && !format.Below(c.stack[len(c.stack)-1].path, it.Path) {
			if err := c.pop(true); err != nil {
				return err
			}
		}
		if err := c.visit(it); err != nil {
			return err
		}
	}
	return nil
}

// pop leaves a folder; what the golden does not have of it is extra.
func (c *comparer) pop(whole bool) error {
	d := c.stack[len(c.stack)-1]
	c.stack = c.stack[:len(c.stack)-1]
	var err error
	for _, n := range d.names {
		if err == nil && whole {
			err = c.extra(d, n)
		}
	}
	return join(err, d.release())
}

func join(err, next error) error {
	if err != nil {
		return err
	}
	return next
}

// parent returns the folder that an item lies in.
func (c *comparer) parent(it item) (*liveDir, error) {
	if len(c.stack) > 0 {
		return c.stack[len(c.stack)-1], nil
	}
	return c.base(it.Path)
}

// base returns the folder above a root.
func (c *comparer) base(path string) (*liveDir, error) {
	real := filepath.Dir(c.r.places.real(path))
	s := c.r.places.site(real)
	if d := c.bases[s]; d != nil {
		return d, nil
	}
	exists, err := s.open()
	if err != nil {
		return nil, err
	}
	d := &liveDir{path: filepath.Dir(path), above: true, unlisted: true}
	fd := -1
	if exists {
		if fd, err = unix.FcntlInt(uintptr(s.base), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return nil, err
		}
	}
	d.folder = newFolder(fd, nil, nil)
	c.bases[s] = d
	return d, nil
}

// look finds the live child of an item; 0: there is none. Children before it are extra.
func (c *comparer) look(d *liveDir, base string) (uint8, error) {
	if d.fd < 0 {
		return 0, nil
	}
	if d.unlisted {
		st, ok, err := statAt(d.fd, base)
		if err != nil || !ok {
			return 0, err
		}
		return kindOf(st.Mode), nil
	}
	for len(d.names) > 0 && d.names[0].name < base {
		if err := c.extra(d, d.names[0]); err != nil {
			return 0, err
		}
		d.names = d.names[1:]
	}
	if len(d.names) == 0 || d.names[0].name != base {
		return 0, nil
	}
	kind := d.names[0].kind
	d.names = d.names[1:]
	return kind, nil
}

// kinds are what a live child must be for an entry.
func kindFor(t format.Type) uint8 {
	switch t {
	case format.TypeDir:
		return unix.DT_DIR
	case format.TypeSymlink:
		return unix.DT_LNK
	case format.TypeFIFO:
		return unix.DT_FIFO
	case format.TypeFile, format.TypeHardlink:
	}
	return unix.DT_REG
}

func (c *comparer) visit(it item) error {
	d, err := c.parent(it)
	if err != nil {
		return err
	}
	base := it.Path[strings.LastIndexByte(it.Path, '/')+1:]
	if len(c.stack) == 0 {
		c.seen[it.Path] = true
	}
	if d.missing {
		c.found.below(it)
		return c.enterMissing(d, it)
	}
	kind, err := c.look(d, base)
	if err != nil {
		return fmt.Errorf("look at %s: %w", it.Path, err)
	}
	if kind != kindFor(it.Type) && (it.Type != format.TypeHardlink || !linkable(kind)) {
		return c.misfit(d, it, base, kind)
	}
	switch it.Type {
	case format.TypeDir:
		return c.enter(d, it, base)
	case format.TypeHardlink:
		return c.addLink(d, it, base)
	case format.TypeFile:
		return c.addFile(d, it, base)
	case format.TypeSymlink, format.TypeFIFO:
	}
	return c.other(d, it, base)
}
