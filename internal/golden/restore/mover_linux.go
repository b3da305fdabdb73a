package restore

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// errLost says that staged content was removed by somebody else.
var errLost = errors.New("the content is no longer where it was put")

// mover does units. Every one can be done again: where it finds what it would bring about, by the
// inode numbers, it does nothing.
type mover struct {
	s *Staged
	// The folder that was opened last; units of one folder follow one another.
	last *site
	dir  string
	fd   int
	buf  []byte
}

func newMover(s *Staged) *mover { return &mover{s: s, fd: -1, buf: make([]byte, 128<<10)} }

func (m *mover) close() {
	if m.fd >= 0 {
		_ = unix.Close(m.fd)
	}
	m.fd, m.last = -1, nil
}

// all does the units of a list: first all renames, then what gives folders their times. With goOn one
// that fails does not keep the others from being done.
func (m *mover) all(suffix string, goOn bool, do func(*site, *unit) error) error {
	var failed []error
	for _, metas := range []bool{false, true} {
		for u, err := range readUnits(m.s.j.path(suffix), m.s.j.Units) {
			if err != nil {
				return errors.Join(append(failed, err)...)
			}
			if (u.Meta != nil) != metas {
				continue
			}
			site, err := m.site(u)
			if err == nil {
				err = m.try(site, u, do)
			}
			if err != nil {
				err = fmt.Errorf("%s/%s: %w", site.Base, u.Target, err)
				if failed = append(failed, err); !goOn || len(failed) == mostFailed {
					return errors.Join(failed...)
				}
			}
			m.s.j.mark("unit")
		}
	}
	return errors.Join(failed...)
}

// try does a unit. Somebody who renames things at that very moment makes it fail; so it is done again
// before that is believed.
func (m *mover) try(s *site, u *unit, do func(*site, *unit) error) error {
	var err error
	for range tries {
		err = do(s, u)
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EEXIST) {
			break
		}
		m.close() // the folder may be another one by now
	}
	return err
}

const tries = 10

// mostFailed is after how many failures the rest is no longer tried.
const mostFailed = 100

// site opens the site of a unit. Its staging folder is gone when an undone restore is being removed.
func (m *mover) site(u *unit) (*site, error) {
	if u.Site < 0 || u.Site >= len(m.s.j.Sites) {
		return &site{}, fmt.Errorf("site %d of %d", u.Site, len(m.s.j.Sites))
	}
	s := m.s.j.Sites[u.Site]
	ok, err := s.open()
	if err == nil && !ok {
		err = unix.ENOENT
	}
	if err != nil {
		return s, err
	}
	if err := s.openStage(); err != nil && !errors.Is(err, unix.ENOENT) {
		return s, err
	}
	return s, nil
}

// parent opens the folder of a path below a site's base and returns the last part.
func (m *mover) parent(s *site, rel string) (int, string, error) {
	dir, base := split(rel)
	if m.last == s && m.dir == dir {
		return m.fd, base, nil
	}
	fd, err := openBeneath(s.base, dir, openPlace|unix.O_DIRECTORY)
	if err != nil {
		return -1, "", err
	}
	m.close()
	m.last, m.dir, m.fd = s, dir, fd
	return fd, base, nil
}

// inoAt returns the inode number of a name in an open folder; 0: it is not there.
func inoAt(at int, rel string) (uint64, error) {
	if at < 0 {
		return 0, nil
	}
	st, ok, err := statAt(at, rel)
	if err != nil || !ok {
		return 0, err
	}
	return st.Ino, nil
}

// aside is where the old content waits on file systems that cannot exchange two names.
func (u *unit) aside() string {
	_, base := split(string(u.Staged))
	number, _, _ := strings.Cut(base, "-")
	return asideDir + "/" + number + ".was"
}

// whereOld returns where below the staging folder the old content is, "" if it is not there.
func (m *mover) whereOld(s *site, u *unit) string {
	if ino, err := inoAt(s.stage, string(u.Staged)); err == nil && ino != 0 && ino != u.New {
		return string(u.Staged)
	}
	if ino, err := inoAt(s.stage, u.aside()); err == nil && ino != 0 {
		return u.aside()
	}
	return ""
}

// forward brings the new state of a unit into place.
func (m *mover) forward(s *site, u *unit) error {
	if u.Meta != nil {
		return m.dress(s, u, u.Meta.New, m.s.was == "")
	}
	fd, base, err := m.parent(s, string(u.Target))
	if err != nil {
		return err
	}
	now, err := inoAt(fd, base)
	if err != nil {
		return err
	}
	waits, err := inoAt(s.stage, string(u.Staged))
	if err != nil {
		return err
	}
	if u.New == 0 {
		if now == 0 || waits != 0 {
			return nil
		}
		return move(fd, base, s.stage, string(u.Staged))
	}
	if now != u.New {
		if waits != u.New {
			return fmt.Errorf("%w: %s", errLost, u.Staged)
		}
		if now != 0 {
			err = m.carry(tree{fd, base}, tree{s.stage, string(u.Staged)}, u.Carry)
		}
		if err == nil {
			err = m.exchange(s, u, fd, base, now != 0)
		}
		if err != nil {
			return err
		}
	}
	return touchAll(tree{fd, base}, u.Touch, func(t touched) *instant { return t.New })
}

// exchange puts what is staged in the place of what is there.
func (m *mover) exchange(s *site, u *unit, fd int, base string, there bool) error {
	if !there {
		return move(s.stage, string(u.Staged), fd, base)
	}
	done, err := m.atOnce(s.stage, string(u.Staged), fd, base)
	if done || err != nil {
		return err
	}
	// For an instant there is neither. Who resumes finds the name free and goes on below.
	if err := move(fd, base, s.stage, u.aside()); err != nil {
		return err
	}
	m.s.j.mark("aside")
	return move(s.stage, string(u.Staged), fd, base)
}

// atOnce exchanges two names in one step; false where the file system cannot.
func (m *mover) atOnce(at int, rel string, fd int, base string) (bool, error) {
	if m.s.apart {
		return false, nil
	}
	err := unix.Renameat2(at, rel, fd, base, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return false, nil
	}
	return true, err
}

// dress gives a file that stays the metadata of one of the states; nil: it has it. With strict it must be as
// it was compared; otherwise a swap is completed that has begun, or undone, and a file that is another one by
// now is left alone. No rights are lent by that, as files that have or need any are replaced.
func (m *mover) dress(s *site, u *unit, want *meta, strict bool) error {
	if want == nil {
		return nil
	}
	fd, err := openBeneath(s.base, string(u.Target), unix.O_RDONLY|unix.O_NONBLOCK)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		if strict {
			err = errChanged
		} else {
			err = nil
		}
	}
	if err != nil || fd < 0 {
		return err
	}
	h := handle{fd: fd}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && strict && !m.unchanged(u.Meta, &st) {
		err = errChanged
	}
	if err == nil && st.Ino == u.Meta.Ino {
		var xattrs []xattr
		if xattrs, err = h.xattrs(m.buf, want.asked()); err == nil {
			err = h.dress(*want, liveMeta(&st, xattrs), false)
		}
	}
	return join(err, unix.Close(fd))
}

// unchanged says whether a file is as it was when it was compared, but for names that were made of it since.
// Once these are moved into place, the kernel takes that for a change as well.
func (m *mover) unchanged(c *metaChange, st *unix.Stat_t) bool {
	if st.Ino != c.Ino || c.Changed == nil {
		return st.Ino == c.Ino
	}
	now := *changedAt(st)
	at, linked := m.s.linked[inode{uint64(st.Dev), st.Ino}]
	return now == *c.Changed || linked && (now == at || m.s.j.State == StateSwapping)
}

// asked returns the attributes as an entry has them.
func (m *meta) asked() []format.Xattr {
	var list []format.Xattr
	for _, x := range m.Xattrs {
		list = append(list, format.Xattr{Name: string(x.Name), Value: x.Value})
	}
	return list
}
