package restore

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// misfit stages an entry that is missing, or that something of another type stands in place of.
func (c *comparer) misfit(d *liveDir, it item, base string, kind uint8) error {
	if kind == 0 && d.fd >= 0 && !d.unlisted {
		// A name that was not listed but is there differs in case only.
		if _, there, err := statAt(d.fd, base); err != nil {
			return err
		} else if there {
			return collision(it.Path, c.r.places.real(d.path))
		}
	}
	if kind != 0 && it.above {
		return shivx.Hint(fmt.Errorf("%s is a %s", it.Path, kindName(kind)), "restore all of it, for what was asked for lies in it")
	}
	if kind == unix.DT_DIR {
		s, err := c.keep.scan(d.fd, base, it.Path, false)
		if err != nil {
			return err
		}
		if len(s.kept) > 0 {
			return shivx.Hint(fmt.Errorf("%s is a %s in the golden, and a folder here that holds %s, which the golden leaves out",
				it.Path, it.Type, s.kept[0]), "move "+s.kept[0]+" away, then restore again")
		}
	}
	change := Change{Path: it.Path, Kind: Added, Type: it.Type, Entries: 1, Bytes: it.Size}
	if kind != 0 {
		change.Kind, change.Detail = Content, fmt.Sprintf("%s → %s", kindName(kind), typeName(it.Type))
	}
	c.replace(d.folder, it.Entry, change)
	return c.enterMissing(d, it)
}

// replace has an entry staged and put in the place of what is there.
func (c *comparer) replace(d *folder, e *format.Entry, change Change) {
	d.touched.Store(true)
	c.found.top(e, change)
}

// enterMissing goes into a folder that does not exist.
func (c *comparer) enterMissing(d *liveDir, it item) error {
	if it.Type == format.TypeDir {
		c.stack = append(c.stack, &liveDir{folder: newFolder(-1, d.folder, nil), path: it.Path, missing: true})
	}
	return nil
}

// typeName is kindName of an entry's type.
func typeName(t format.Type) string {
	if t == format.TypeDir {
		return "folder"
	}
	return string(t)
}

func kindName(kind uint8) string {
	switch kind {
	case unix.DT_REG:
		return "file"
	case unix.DT_DIR:
		return "folder"
	case unix.DT_LNK:
		return "symlink"
	case unix.DT_FIFO:
		return "fifo"
	case unix.DT_SOCK:
		return "socket"
	}
	return "device"
}
