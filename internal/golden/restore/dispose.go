package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// dispose removes the staging folders and ends the journal. restored says that the new state stays.
func (s *Staged) dispose(restored bool) error {
	if s.places != nil {
		for _, site := range s.j.Sites {
			if err := site.dispose(restored, s.j.mark); err != nil {
				return fmt.Errorf("remove %s: %w", filepath.Join(string(site.Base), string(site.Stage)), err)
			}
		}
	}
	if !restored {
		for _, made := range slices.Backward(s.j.Made) {
			if err := removeEmpty(string(made)); err != nil {
				return err
			}
			s.j.mark("removed a folder above")
		}
	}
	if err := s.j.remove(); err != nil {
		return err
	}
	return s.release()
}

func removeEmpty(path string) error {
	at, err := openReal(filepath.Dir(path))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(at) }()
	err = unix.Unlinkat(at, filepath.Base(path), unix.AT_REMOVEDIR)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return nil // somebody uses it by now
	}
	return err
}

// dispose removes the staging folder of one site.
func (s *site) dispose(restored bool, mark func(string)) error {
	if s.Stage == "" {
		return nil
	}
	if ok, err := s.open(); err != nil || !ok {
		return err
	}
	err := s.openStage()
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err == nil {
		if err := noMounts(filepath.Join(string(s.Base), string(s.Stage))); err != nil {
			return err
		}
		if err := removeTree(s.base, string(s.Stage), mark); err != nil {
			return err
		}
		// Or else a power failure could bring it back, with no journal that knows of it.
		if err := unix.Fsync(s.base); err != nil {
			return err
		}
	}
	if t := s.Old; !restored && t != nil {
		return handle{fd: s.base}.touch(*t)
	}
	if t := s.New; restored && t != nil {
		return handle{fd: s.base}.touch(*t)
	}
	return nil
}

// noMounts refuses to remove a tree that something was mounted in.
func noMounts(path string) error {
	all, err := mountPoints("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, m := range all {
		if format.Below(path, m) {
			return shivx.Hint(fmt.Errorf("something is mounted at %s", m), "unmount it, then resume the restore")
		}
	}
	return nil
}

// removeTree removes a name in an open folder and all below it, without following links.
func removeTree(at int, base string, mark func(string)) error {
	err := unix.Unlinkat(at, base, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return err
	}
	fd, openErr := openAt(at, base, openFolder, 0)
	if errors.Is(openErr, unix.EACCES) {
		if openErr = unix.Fchmodat(at, base, 0o700, 0); openErr == nil {
			fd, openErr = openAt(at, base, openFolder, 0)
		}
	}
	if openErr != nil {
		if errors.Is(err, unix.EPERM) {
			return shivx.Hint(fmt.Errorf("%s: %w", base, err), "look with lsattr whether it is immutable, and change that with chattr -i -a")
		}
		return openErr
	}
	err = removeChildren(fd, mark)
	if err = join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("%s: %w", base, err)
	}
	mark("removed")
	return unix.Unlinkat(at, base, unix.AT_REMOVEDIR)
}

func removeChildren(fd int, mark func(string)) error {
	list, err := children(fd, make([]byte, 32<<10))
	if err != nil {
		return err
	}
	for _, n := range list {
		if err := removeTree(fd, n.name, mark); err != nil {
			return err
		}
	}
	return nil
}

// keep moves what was replaced into a folder beside, laid out as it was.
func (s *Staged) keep() error {
	m := newMover(s)
	defer m.close()
	kept := map[int]int{}
	defer func() {
		for _, fd := range kept {
			_ = unix.Close(fd)
		}
	}()
	for u, err := range readUnits(s.j.path(swapFile), s.j.Units) {
		if err != nil {
			return err
		}
		if u.Meta != nil || u.Old == 0 {
			continue
		}
		if err := s.keepUnit(m, u, kept); err != nil {
			return fmt.Errorf("%s: %w", u.Target, err)
		}
		s.j.mark("kept")
	}
	for i := range kept {
		s.changes.Kept = append(s.changes.Kept, s.keptFolder(i))
	}
	return s.places.sync()
}

func (s *Staged) keptFolder(site int) string {
	return filepath.Join(string(s.j.Sites[site].Base), KeptPrefix+s.j.ID)
}

func (s *Staged) keepUnit(m *mover, u *unit, kept map[int]int) error {
	site, err := m.site(u)
	if err != nil {
		return err
	}
	to, ok := kept[u.Site]
	if !ok {
		dir := KeptPrefix + s.j.ID
		if err := unix.Mkdirat(site.base, dir, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		if to, err = openAt(site.base, dir, openFolder, 0); err != nil {
			return err
		}
		kept[u.Site] = to
	}
	from := m.whereOld(site, u)
	if from == "" {
		return nil
	}
	dir, base := split(string(u.Target))
	fd, err := makeBeneath(to, dir)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return renameBeneath(site.stage, from, fd, base)
}

// makeBeneath makes and opens a folder below at, and those above it.
func makeBeneath(at int, rel string) (int, error) {
	fd, err := openAt(at, ".", openFolder, 0)
	if err != nil || rel == "." {
		return fd, err
	}
	for part := range strings.SplitSeq(rel, "/") {
		if err := unix.Mkdirat(fd, part, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return -1, errors.Join(err, unix.Close(fd))
		}
		next, err := openAt(fd, part, openFolder, 0)
		_ = unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}

// renameBeneath renames a path below an open folder to a free name in another one.
func renameBeneath(at int, rel string, to int, base string) error {
	dir, last := split(rel)
	fd, err := openBeneath(at, dir, openPlace|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return move(fd, last, to, base)
}

// move renames to a name that is free. File systems that cannot promise that are asked first.
func move(at int, from string, to int, base string) error {
	err := unix.Renameat2(at, from, to, base, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if _, there, err := statAt(to, base); err != nil || there {
		return errors.Join(err, os.ErrExist)
	}
	return unix.Renameat(at, from, to, base)
}
