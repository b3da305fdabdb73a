package restore

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// tree is a name in an open folder.
type tree struct {
	at   int
	base string
}

func (t tree) path(rel string) string {
	if rel == "." {
		return t.base
	}
	return t.base + "/" + rel
}

// open opens a folder in the tree.
func (t tree) open(rel string) (int, error) {
	return openBeneath(t.at, t.path(rel), openPlace|unix.O_DIRECTORY)
}

// carry renames what a golden leaves out from one tree to the same places in another. What is not
// there was carried already, or went away; what is there already stays.
func (m *mover) carry(from, to tree, list []name) error {
	for _, c := range list {
		dir, base := split(string(c))
		src, err := from.open(dir)
		if absent(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("carry over %s: %w", c, err)
		}
		dst, err := to.open(dir)
		if err == nil {
			err = move(src, base, dst, base)
			_ = unix.Close(dst)
		}
		_ = unix.Close(src)
		if err != nil && !absent(err) && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("carry over %s: %w", c, err)
		}
		m.s.j.mark("carried")
	}
	return nil
}

func absent(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

// touchAll gives folders in a tree the times that they are to have.
func touchAll(t tree, list []touched, which func(touched) *instant) error {
	for _, d := range list {
		when := which(d)
		if when == nil {
			continue
		}
		fd, err := openBeneath(t.at, t.path(string(d.Path)), openFolder)
		if absent(err) {
			continue
		}
		if err == nil {
			err = join(handle{fd: fd}.touch(*when), unix.Close(fd))
		}
		if err != nil {
			return fmt.Errorf("set the time of %s: %w", d.Path, err)
		}
	}
	return nil
}

// carries finds what in the tree from has to be carried to the tree to, and makes, where make is set,
// the folders for it. back says that from is the new state and to the old one.
type carries struct {
	keep     keeper
	from, to tree
	make     bool
	back     bool
	unit     *unit
	// listed and known are what the unit has: paths to carry, and folders whose times are noted.
	listed, known map[string]bool
}

// find notes in the unit what has to be carried. logical is the path that the golden has for the tree.
func (c *carries) find(logical string) error {
	c.listed, c.known = map[string]bool{}, map[string]bool{}
	for _, rel := range c.unit.Carry {
		c.listed[string(rel)] = true
	}
	for _, t := range c.unit.Touch {
		c.known[string(t.Path)] = true
	}
	s, err := c.keep.scan(c.from.at, c.from.base, logical, false)
	if err != nil {
		return err
	}
	for _, p := range s.kept {
		rel := strings.TrimPrefix(p, logical+"/")
		if err := c.note(rel); err != nil {
			return shivx.Hint(fmt.Errorf("carry over %s, which the golden leaves out: %w", p, err), "move "+p+" away, then restore again")
		}
	}
	return nil
}

func (c *carries) note(rel string) error {
	if c.listed[rel] {
		return nil
	}
	dir, base := split(rel)
	src, err := openBeneath(c.from.at, c.from.path(dir), openFolder)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(src) }()
	if err := movable(src, base); err != nil {
		return err
	}
	dst, err := c.to.open(dir)
	if errors.Is(err, unix.ENOENT) && c.make {
		if err := c.scaffold(dir); err != nil {
			return err
		}
		dst, err = c.to.open(dir)
	}
	if errors.Is(err, unix.ENOENT) && !c.make {
		return nil
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return fmt.Errorf("%s is not a folder in the golden", filepath.Join(c.from.base, dir))
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dst) }()
	if _, there, err := statAt(dst, base); err != nil || there {
		return err // what the golden has comes first
	}
	c.unit.Carry = append(c.unit.Carry, name(rel))
	return c.touch(dir, src, dst)
}

// touch notes the times of a folder that something is carried out of and of the one it comes into.
func (c *carries) touch(dir string, src, dst int) error {
	if c.known[dir] {
		return nil
	}
	c.known[dir] = true
	var from, to unix.Stat_t
	if err := errors.Join(unix.Fstat(src, &from), unix.Fstat(dst, &to)); err != nil {
		return err
	}
	if c.back {
		from, to = to, from
	}
	c.unit.Touch = append(c.unit.Touch, touched{
		Path: name(dir), Old: &instant{from.Mtim.Sec, from.Mtim.Nsec}, New: &instant{to.Mtim.Sec, to.Mtim.Nsec},
	})
	return nil
}

// scaffold makes a folder that the one tree has in the other, like it, and those above it.
func (c *carries) scaffold(dir string) error {
	above, _ := split(dir)
	if dir == "." {
		return unix.ENOENT
	}
	up, err := c.to.open(above)
	if errors.Is(err, unix.ENOENT) {
		if err := c.scaffold(above); err != nil {
			return err
		}
		up, err = c.to.open(above)
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(up) }()
	var st unix.Stat_t
	if err := unix.Fstat(up, &st); err != nil {
		return err
	}
	_, base := split(dir)
	if err := unix.Mkdirat(up, base, 0o700); err != nil {
		return err
	}
	if err := c.like(dir); err != nil {
		return err
	}
	fd, err := openAt(up, ".", openFolder, 0)
	if err != nil {
		return err
	}
	return join(handle{fd: fd}.touch(instant{st.Mtim.Sec, st.Mtim.Nsec}), unix.Close(fd))
}

// like gives a folder that was made the metadata of its model.
func (c *carries) like(dir string) error {
	model, err := openBeneath(c.from.at, c.from.path(dir), openFolder)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(model) }()
	made, err := openBeneath(c.to.at, c.to.path(dir), openFolder)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(made) }()
	var st, fresh unix.Stat_t
	if err := errors.Join(unix.Fstat(model, &st), unix.Fstat(made, &fresh)); err != nil {
		return err
	}
	xattrs, err := handle{fd: model}.xattrs(make([]byte, 128<<10), nil)
	if err != nil {
		return err
	}
	return handle{fd: made}.dress(liveMeta(&st, xattrs), liveMeta(&fresh, nil), false)
}
