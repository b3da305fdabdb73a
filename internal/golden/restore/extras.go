package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// Prefixes of the names of folders that a restore makes; format says where they matter.
const (
	StagePrefix = format.StagePrefix
	KeptPrefix  = format.KeptPrefix
)

// keeper knows what of a live tree is none of the golden's business and survives a restore.
type keeper struct {
	exclude []string
	// skipped are what the backup could not take, such as other file systems.
	skipped map[string]bool
	// logs and exports are what no pattern saves: files of another state of a database, and what lies in an
	// export, which is of use as a whole only.
	logs    map[string]bool
	exports []string
	places  *places
	buf     []byte
	// strict has scan refuse what nobody can remove.
	strict bool
}

func newKeeper(exclude []string, skipped []name, sources []format.Source, p *places) keeper {
	k := keeper{exclude: exclude, skipped: map[string]bool{}, logs: map[string]bool{}, places: p, buf: make([]byte, 32<<10)}
	for _, path := range skipped {
		k.skipped[string(path)] = true
	}
	for _, src := range sources {
		k.exports = append(k.exports, src.Path)
		for _, log := range src.Logs() {
			k.logs[log] = true
		}
	}
	return k
}

// skippedIn lists what a golden left out because it could not be taken.
func skippedIn(h format.Header) []name {
	var list []name
	for _, n := range h.Skipped {
		list = append(list, name(n.Path))
	}
	return list
}

// keeps says whether a child of the open folder at stays as it is.
func (k *keeper) keeps(at int, n child, path string) bool {
	if k.skipped[path] || k.places.own.keeps(path) && !k.logs[path] {
		return true
	}
	switch n.kind {
	case unix.DT_SOCK, unix.DT_BLK, unix.DT_CHR:
		return true
	case unix.DT_DIR:
		if k.ours(at, n) || k.mount(path) || n.name == "lost+found" && k.mount(filepath.Dir(path)) {
			return true
		}
	default:
		if len(k.places.pinned) > 0 && slices.Contains(k.places.pinned, k.places.real(path)) {
			return true
		}
	}
	excluded := slices.ContainsFunc(k.exclude, func(pattern string) bool {
		ok, _ := doublestar.Match(pattern, path)
		return ok
	})
	return excluded && !k.logs[path] && !slices.ContainsFunc(k.exports, func(e string) bool { return format.Below(e, path) })
}

// ours says whether a folder was made by a restore; those of that name that others made are not.
func (k *keeper) ours(at int, n child) bool {
	if !format.OwnName(n.name) {
		return false
	}
	st, ok, err := statAt(at, n.name)
	return err == nil && ok && format.OwnFolder(n.name, st.Uid, st.Mode, os.Geteuid())
}

func (k *keeper) mount(path string) bool {
	return len(k.places.mounts) > 0 && slices.Contains(k.places.mounts, k.places.real(path))
}

// scanned is what lies at and below a path.
type scanned struct {
	entries, bytes int64
	// kept are the topmost paths that stay.
	kept []string
}

// scan counts what lies at and below a child of the open folder at, and its bytes where sizes are
// asked for.
func (k *keeper) scan(at int, base, path string, sizes bool) (scanned, error) {
	s := scanned{entries: 1}
	fd, err := openAt(at, base, openFolder, 0)
	if err != nil {
		return s, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	list, err := children(fd, k.buf)
	if err != nil {
		return s, fmt.Errorf("list %s: %w", path, err)
	}
	if err := k.removable(fd, "", path); err != nil {
		return s, err
	}
	for _, n := range list {
		p := filepath.Join(path, n.name)
		if k.keeps(fd, n, p) {
			if err := k.keep(&s, fd, n, p); err != nil {
				return s, err
			}
			continue
		}
		below := scanned{entries: 1}
		if n.kind == unix.DT_DIR {
			below, err = k.scan(fd, n.name, p, sizes)
		} else if err = k.removable(fd, n.name, p); sizes && err == nil {
			below.bytes, err = sizeAt(fd, n.name)
		}
		if err != nil {
			return s, err
		}
		s.entries += below.entries
		s.bytes += below.bytes
		s.kept = append(s.kept, below.kept...)
	}
	return s, nil
}

// removable refuses what could be moved aside with the folder that it lies in, but never be removed.
func (k *keeper) removable(at int, base, path string) error {
	if !k.strict {
		return nil
	}
	if err := mutable(at, base); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
}

// keep notes what stays. Of a folder that the backup did not enter the golden may have the folder
// itself: so what is in it stays, name by name.
func (k *keeper) keep(s *scanned, at int, n child, path string) error {
	if !k.skipped[path] || n.kind != unix.DT_DIR {
		s.kept = append(s.kept, path)
		return nil
	}
	fd, err := openAt(at, n.name, openFolder, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	list, err := children(fd, make([]byte, 32<<10))
	for _, below := range list {
		s.kept = append(s.kept, filepath.Join(path, below.name))
	}
	return join(err, unix.Close(fd))
}

func sizeAt(at int, base string) (int64, error) {
	st, _, err := statAt(at, base)
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, err
	}
	return st.Size, err
}

// extra has a live child removed that the golden does not have, unless it stays.
func (c *comparer) extra(d *liveDir, n child) error {
	return c.extraAt(d.folder, n, filepath.Join(d.path, n.name))
}

func (c *comparer) extraAt(d *folder, n child, path string) error {
	if c.keep.keeps(d.fd, n, path) {
		return nil
	}
	change := Change{Path: path, Kind: Removed, Type: typeOf(n.kind), Entries: 1}
	if n.kind == unix.DT_DIR {
		s, err := c.keep.scan(d.fd, n.name, path, true)
		if err != nil {
			return err
		}
		if len(s.kept) > 0 {
			return c.thin(d, n, path)
		}
		change.Entries, change.Bytes = s.entries, s.bytes
	} else {
		var err error
		if change.Bytes, err = sizeAt(d.fd, n.name); err != nil {
			return err
		}
	}
	d.touched.Store(true)
	c.r.changes.add(change)
	return c.r.spoolUnit(unit{}, path, asideDir)
}

// thin removes what it can of a folder in which something stays.
func (c *comparer) thin(d *folder, n child, path string) error {
	fd, err := openAt(d.fd, n.name, openFolder, 0)
	if err != nil {
		return busy(path, err)
	}
	f := &liveDir{path: path, above: true}
	f.folder = newFolder(fd, d, func() error { return c.finish(f) })
	err = unix.Fstat(fd, &f.state.st)
	if err == nil {
		f.state.xattrs, err = handle{fd: fd}.xattrs(c.buf, nil)
	}
	var list []child
	if err == nil {
		list, err = children(fd, c.buf)
	}
	for _, n := range list {
		if err == nil {
			err = c.extraAt(f.folder, n, filepath.Join(path, n.name))
		}
	}
	return join(err, f.release())
}

func typeOf(kind uint8) format.Type {
	switch kind {
	case unix.DT_DIR:
		return format.TypeDir
	case unix.DT_LNK:
		return format.TypeSymlink
	case unix.DT_FIFO:
		return format.TypeFIFO
	}
	return format.TypeFile
}

// absentRoots removes roots that did not exist when the golden was taken.
func (c *comparer) absentRoots() error {
	if c.r.sel.only != nil {
		return nil
	}
	for _, r := range c.r.places.roots {
		if c.seen[string(r.Path)] {
			continue
		}
		if slices.ContainsFunc(c.r.logs, func(l logFile) bool { return l.path == string(r.Path) }) {
			continue // see removeLogs
		}
		if err := c.remove(string(r.Path)); err != nil {
			return err
		}
	}
	return nil
}
