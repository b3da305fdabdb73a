package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// spreadRoot is a root that is a mount point. It cannot be renamed: its children are, each by itself.
type spreadRoot struct {
	ino   uint64
	old   meta
	names map[string]bool
}

// checkWhole looks at the roots that did not exist, and at those that are mount points.
func (r *run) checkWhole(tops []top) error {
	types := map[string]format.Type{}
	for _, t := range tops {
		types[t.path] = t.typ
	}
	r.spread = map[string]*spreadRoot{}
	for _, root := range r.places.roots {
		path := string(root.Path)
		typ, there := types[path]
		if !there {
			// What is there now is moved away at a site where nothing else may happen.
			if _, err := os.Lstat(string(root.Real)); err == nil {
				s, _ := r.places.at(path)
				r.places.use(s)
			}
			continue
		}
		if !root.mount {
			continue
		}
		if typ != format.TypeDir {
			return shivx.Hint(fmt.Errorf("%s is a %s in the golden, and a file system is mounted there", path, typ), "unmount it")
		}
		s, _ := r.places.at(path)
		if _, err := s.open(); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(s.base, &st); err != nil {
			return fmt.Errorf("look at %s: %w", path, err)
		}
		xattrs, err := handle{fd: s.base}.xattrs(make([]byte, 128<<10), nil)
		if err != nil {
			return fmt.Errorf("read the attributes of %s: %w", path, err)
		}
		spread := &spreadRoot{ino: st.Ino, old: liveMeta(&st, xattrs), names: map[string]bool{}}
		r.places.remember(path, &metaChange{Old: spread.old})
		r.spread[path] = spread
	}
	return nil
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
		if spread := r.spread[it.Path]; spread != nil {
			want := metaOf(it.Entry)
			u := unit{Meta: &metaChange{Ino: spread.ino, Old: spread.old, New: &want}}
			r.places.remember(it.Path, u.Meta)
			if err := r.spoolUnit(u, it.Path, ""); err != nil {
				return err
			}
			continue
		}
		if spread := r.spread[filepath.Dir(it.Path)]; spread != nil {
			spread.names[filepath.Base(it.Path)] = true
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
// that did not exist, and children of roots that are mount points.
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
	for path, spread := range r.spread {
		if err := c.clearSpread(path, spread); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparer) clearSpread(path string, spread *spreadRoot) error {
	s, _ := c.r.places.at(path)
	fd, err := openAt(s.base, ".", openFolder, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
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
