package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// survey looks, before the first rename, whether each of them can be done, and lists what has to be
// carried over. With write the result becomes the list that the swap goes by.
func (s *Staged) survey(write bool) error {
	m := newMover(s)
	defer m.close()
	var w *unitWriter
	if write {
		var err error
		if w, err = createUnits(s.j.path(swapFile)); err != nil {
			return err
		}
		defer w.abort()
	}
	for u, err := range readUnits(s.j.path(stagedFile), s.j.Units) {
		if err != nil {
			return err
		}
		site, err := m.site(u)
		if err == nil {
			err = m.ready(site, u, write)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(string(site.Base), string(u.Target)), err)
		}
		if w == nil {
			continue
		}
		if err := w.write(u); err != nil {
			return err
		}
	}
	if w == nil {
		return nil
	}
	_, err := w.finish()
	return err
}

// errChanged says that the live tree is not what it was when it was compared.
var errChanged = errors.New("it has changed since the restore was staged")

func changed() error {
	return shivx.Hint(errChanged, "make sure that nothing changes the files meanwhile, then restore again; nothing was changed")
}

func (m *mover) ready(s *site, u *unit, write bool) error {
	if u.Meta != nil {
		return m.readyMeta(s, u)
	}
	real := filepath.Join(string(s.Base), string(u.Target))
	if slices.Contains(m.s.places.pinned, real) || slices.Contains(m.s.places.mounts, real) {
		return shivx.Hint(fmt.Errorf("%w: something is mounted there", unix.EBUSY), "unmount it, then restore again")
	}
	if own := m.s.places.own.in(m.s.places.logical(real)); own != "" {
		return shivx.Hint(fmt.Errorf("%w: it is or holds %s, which ShivX itself works with", unix.EBUSY, own), "restore to another folder with --to")
	}
	fd, base, err := m.parent(s, string(u.Target))
	if absent(err) || errors.Is(err, unix.ELOOP) {
		return changed()
	}
	if err != nil {
		return err
	}
	st, there, err := statAt(fd, base)
	if err != nil {
		return err
	}
	if u.Old = 0; there {
		u.Old = st.Ino
		if m.s.j.To != "" {
			return shivx.Hint(fs.ErrExist, "choose another folder, or remove it")
		}
	}
	if u.New != 0 {
		if waits, err := inoAt(s.stage, string(u.Staged)); err != nil || waits != u.New {
			return errors.Join(fmt.Errorf("%w: %s", errLost, u.Staged), err)
		}
	}
	if err := movable(fd, base); err != nil {
		return err
	}
	if m.s.j.InPlace || u.New == 0 || kindOf(st.Mode) != unix.DT_DIR {
		return nil
	}
	return m.readyTree(s, u, tree{fd, base}, write)
}

// readyTree lists what is carried over from the tree that is there.
func (m *mover) readyTree(s *site, u *unit, from tree, write bool) error {
	c := carries{
		keep: newKeeper(m.s.j.Exclude, m.s.j.Skipped, m.s.j.Sources, m.s.places), from: from,
		to: tree{s.stage, string(u.Staged)}, make: write, unit: u,
	}
	c.keep.strict = !write // it was looked at when it was staged, and takes its time
	return c.find(m.s.places.logical(filepath.Join(string(s.Base), string(u.Target))))
}

func (m *mover) readyMeta(s *site, u *unit) error {
	fd, err := openBeneath(s.base, string(u.Target), openPlace)
	if absent(err) || errors.Is(err, unix.ELOOP) {
		return changed()
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && !m.unchanged(u.Meta, &st) {
		err = changed()
	}
	if err == nil {
		err = mutable(fd, "")
	}
	return join(err, unix.Close(fd))
}

// movable says whether a name, if it is there, can be renamed out of its folder.
func movable(fd int, base string) error {
	if err := mutable(fd, ""); err != nil {
		return err
	}
	return mutable(fd, base)
}

// mutable refuses what nobody can change, not even root.
func mutable(fd int, base string) error {
	var st unix.Statx_t
	err := again(func() error {
		return unix.Statx(fd, base, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, 0, &st)
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	if err == nil && st.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0 {
		err = shivx.Hint(fmt.Errorf("%w: it, or its folder, is immutable or append-only", unix.EPERM),
			"look with lsattr, and change that with chattr -i -a, then restore again; nothing was changed")
	}
	return err
}

// surveyBack lists what the undoing has to carry over: what was carried before, and what the services
// have made since that the golden leaves out.
func (s *Staged) surveyBack() error {
	m := newMover(s)
	defer m.close()
	w, err := createUnits(s.j.path(undoFile))
	if err != nil {
		return err
	}
	defer w.abort()
	for u, err := range readUnits(s.j.path(swapFile), s.j.Units) {
		if err != nil {
			return err
		}
		if err := m.readyBack(u); err != nil {
			return fmt.Errorf("%s: %w", u.Target, err)
		}
		if err := w.write(u); err != nil {
			return err
		}
	}
	_, err = w.finish()
	return err
}

func (m *mover) readyBack(u *unit) error {
	s, err := m.site(u)
	if err != nil || u.Meta != nil || m.s.j.InPlace || u.New == 0 || u.Old == 0 {
		return err
	}
	fd, base, err := m.parent(s, string(u.Target))
	if err != nil {
		return err
	}
	st, there, err := statAt(fd, base)
	if err != nil || !there || st.Ino != u.New || kindOf(st.Mode) != unix.DT_DIR {
		return err
	}
	from := m.whereOld(s, u)
	if old, there, err := statAt(s.stage, from); err != nil || !there || kindOf(old.Mode) != unix.DT_DIR {
		return err
	}
	c := carries{
		keep: newKeeper(m.s.j.Exclude, m.s.j.Skipped, m.s.j.Sources, m.s.places), from: tree{fd, base}, to: tree{s.stage, from},
		make: true, back: true, unit: u,
	}
	return c.find(m.s.places.logical(filepath.Join(string(s.Base), string(u.Target))))
}
