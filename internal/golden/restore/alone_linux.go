package restore

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// Journals in different folders do not know of each other, and two restores of the same paths would undo one
// another. So each holds a lock on its staging folders as long as its process lives, and looks for those of
// others beside them. The folders above are not locked: whoever may read one could lock it first, and so keep
// a restore away; the staging folders are closed to all others.

// lock locks the staging folders that are there. The error is ErrBusy when another process has one.
func (p *places) lock() error {
	for _, s := range p.sites {
		if !s.used {
			continue
		}
		ok, err := s.open()
		if err == nil && ok {
			err = s.openStage()
		}
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil && ok && locked(s.stage) {
			err = busyAt(s, string(s.Stage))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// alone says whether no other restore is under way at the sites. The own staging folders are there by now and
// locked, so that of two that begin at the same time one sees the other.
func (p *places) alone() error {
	for _, s := range p.sites {
		if !s.used {
			continue
		}
		if err := s.alone(); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) alone() error {
	dir, err := openAt(s.base, ".", openFolder, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	list, err := children(dir, make([]byte, 32<<10))
	if err != nil {
		return fmt.Errorf("list %s: %w", s.Base, err)
	}
	k := keeper{}
	for _, n := range list {
		if n.name == string(s.Stage) || !strings.HasPrefix(n.name, StagePrefix) || !k.ours(dir, n) {
			continue
		}
		fd, err := openAt(dir, n.name, openFolder, 0)
		if err != nil {
			continue // it has just been removed
		}
		taken := locked(fd)
		_ = unix.Close(fd)
		if taken {
			return busyAt(s, n.name)
		}
	}
	return nil
}

// locked takes the lock of an open folder, or says that another has it. Where a file system has no locks
// nobody has any.
func locked(fd int) bool {
	return errors.Is(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

func busyAt(s *site, stage string) error {
	return shivx.Hint(fmt.Errorf("%w: it has %s", ErrBusy, filepath.Join(string(s.Base), stage)),
		"wait until it is done, or end it; its journal may be in another folder")
}
