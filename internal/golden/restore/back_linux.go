package restore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// back brings the old state of a unit back.
func (m *mover) back(s *site, u *unit) error {
	if u.Meta != nil {
		return m.dress(s, u, &u.Meta.Old, false)
	}
	fd, base, err := m.parent(s, string(u.Target))
	if errors.Is(err, unix.ENOENT) && u.Old == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	now, err := inoAt(fd, base)
	if err != nil {
		return err
	}
	if err := m.putBack(s, u, fd, base, now); err != nil {
		return err
	}
	if s.stage >= 0 && u.Old != 0 {
		// What was carried before a swap that did not come to its end.
		if err := m.carry(tree{s.stage, string(u.Staged)}, tree{fd, base}, u.Carry); err != nil {
			return err
		}
	}
	return touchAll(tree{fd, base}, u.Touch, func(t touched) *instant { return t.Old })
}

func (m *mover) putBack(s *site, u *unit, fd int, base string, now uint64) error {
	waits, err := inoAt(s.stage, string(u.Staged))
	if err != nil {
		return err
	}
	from := m.whereOld(s, u)
	switch {
	case u.Old == 0:
		if now == 0 || waits != 0 || s.stage < 0 {
			return nil
		}
		return move(fd, base, s.stage, string(u.Staged))
	case now == u.Old:
		return nil
	case from == "" && (u.New == 0 || waits == u.New):
		return nil // it was not moved, and somebody else did something to it
	case from == "":
		return fmt.Errorf("%w: %s", errLost, u.Staged)
	case now == 0:
		return move(s.stage, from, fd, base)
	}
	if now == u.New {
		if err := m.carry(tree{fd, base}, tree{s.stage, from}, u.Carry); err != nil {
			return err
		}
	}
	done, err := m.atOnce(s.stage, from, fd, base)
	if done || err != nil {
		return err
	}
	free := u.aside()
	if from == free {
		free = string(u.Staged)
	}
	if err := move(fd, base, s.stage, free); err != nil {
		return err
	}
	m.s.j.mark("aside")
	return move(s.stage, from, fd, base)
}
