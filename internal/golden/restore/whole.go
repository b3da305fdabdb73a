package restore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// spreadFolder is a folder that cannot be exchanged, because it is a mount point or something in it must not be
// moved. Its children are, each by itself.
type spreadFolder struct {
	ino   uint64
	old   meta
	names map[string]bool
}

// checkWhole looks at the folders that are spread and that the golden has.
func (r *run) checkWhole(has map[string]format.Type) error {
	r.spread = map[string]*spreadFolder{}
	for path, typ := range has {
		if typ != format.TypeDir {
			return r.noFolder(path, typ)
		}
		f, err := r.openSpread(path)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		err = unix.Fstat(f, &st)
		var xattrs []xattr
		if err == nil {
			xattrs, err = handle{fd: f}.xattrs(make([]byte, 128<<10), nil)
		}
		if err = join(err, unix.Close(f)); err != nil {
			return fmt.Errorf("look at %s: %w", path, err)
		}
		spread := &spreadFolder{ino: st.Ino, old: liveMeta(&st, xattrs), names: map[string]bool{}}
		r.places.remember(path, &metaChange{Old: spread.old})
		r.spread[path] = spread
	}
	return nil
}

// noFolder refuses a golden that has something else in the place of a folder that is spread.
func (r *run) noFolder(path string, typ format.Type) error {
	if own := r.places.own.in(path); own != "" {
		return shivx.Hint(fmt.Errorf("%s is a %s in the golden, and a folder here that holds %s, which ShivX itself works with", path, typ, own),
			"restore to another folder with --to")
	}
	return shivx.Hint(fmt.Errorf("%s is a %s in the golden, and a file system is mounted there", path, typ), "unmount it")
}

func (r *run) openSpread(path string) (int, error) {
	s, rel := r.places.at(path)
	ok, err := s.open()
	if err == nil && !ok {
		err = unix.ENOENT
	}
	fd := -1
	if err == nil {
		fd, err = openBeneath(s.base, rel, openFolder)
	}
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// feedWhole hands the builder every entry.
func (r *run) feedWhole(ctx context.Context, b *builder) error {
	seen := map[string]bool{}
	for it, err := range r.items(ctx) {
		if err != nil {
			return err
		}
		if it.above {
			continue
		}
		if it.top {
			seen[it.Path] = true
		}
		if spread := r.spread[filepath.Dir(it.Path)]; spread != nil {
			spread.names[filepath.Base(it.Path)] = true
		}
		if spread := r.spread[it.Path]; spread != nil {
			want := metaOf(it.Entry)
			u := unit{Meta: &metaChange{Ino: spread.ino, Old: spread.old, New: &want}}
			r.places.remember(it.Path, u.Meta)
			if err := r.spoolUnit(u, it.Path, ""); err != nil {
				return err
			}
			continue
		}
		if err := b.add(it); err != nil {
			return err
		}
	}
	if r.places.to != "" {
		return nil
	}
	return r.removeExtra(seen)
}

// removeExtra has removed what the golden does not have and no exchange of a root takes along: roots
// that did not exist, and children of folders that are spread.
func (r *run) removeExtra(seen map[string]bool) (err error) {
	c := r.newComparer()
	c.seen = seen
	defer func() {
		for _, d := range c.bases {
			err = errors.Join(err, d.release())
		}
	}()
	if err := c.absentRoots(); err != nil {
		return err
	}
	alone := func(database string) bool {
		return slices.Contains(r.h.Roots, database) || r.spread[filepath.Dir(database)] != nil
	}
	if err := c.removeLogs(alone); err != nil {
		return err
	}
	for path, spread := range r.spread {
		if c.keep.skipped[path] {
			continue // the golden has the folder and not what is in it
		}
		if err := c.clearSpread(path, spread); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparer) clearSpread(path string, spread *spreadFolder) error {
	fd, err := c.r.openSpread(path)
	if err != nil {
		return err
	}
	d := newFolder(fd, nil, nil)
	list, err := children(fd, c.buf)
	for _, n := range list {
		if err == nil && !spread.names[n.name] {
			err = c.extraAt(d, n, filepath.Join(path, n.name))
		}
	}
	return join(err, d.release())
}
