package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// checkSites says whether every site can be written to and has the room that is needed. Nothing is
// written for that.
func (p *places) checkSites() error {
	type room struct {
		at                                 string
		bytes, inodes, freeBytes, freeInos int64
	}
	rooms := map[uint64]*room{}
	for _, s := range p.sites {
		if !s.used {
			continue
		}
		at := existing(string(s.Base))
		var fs unix.Statfs_t
		var st unix.Stat_t
		if err := errors.Join(unix.Statfs(at, &fs), unix.Stat(at, &st)); err != nil {
			return fmt.Errorf("look at %s: %w", at, err)
		}
		if fs.Flags&unix.ST_RDONLY != 0 {
			return shivx.Hint(fmt.Errorf("write to %s: %w", at, unix.EROFS), "mount the file system so that it can be written to")
		}
		if err := unix.Faccessat(unix.AT_FDCWD, at, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
			return shivx.Hint(fmt.Errorf("write to %s: %w", at, err), "restore as root")
		}
		if err := mutable(unix.AT_FDCWD, at); err != nil {
			return fmt.Errorf("write to %s: %w", at, err)
		}
		r := rooms[uint64(st.Dev)]
		if r == nil {
			r = &room{at: at, freeBytes: int64(fs.Bavail) * fs.Bsize, freeInos: int64(fs.Ffree)}
			if fs.Files == 0 {
				r.freeInos = 1 << 62 // as many as there is room for
			}
			rooms[uint64(st.Dev)] = r
		}
		r.bytes += s.bytes
		r.inodes += s.inodes + stageInodes
	}
	for _, r := range rooms {
		if r.bytes > r.freeBytes {
			return shivx.Hint(fmt.Errorf("restore to %s: %w: %d MB are needed, %d MB are free",
				r.at, unix.ENOSPC, r.bytes>>20, r.freeBytes>>20), "make room there, or restore in place; nothing was changed")
		}
		if r.inodes > r.freeInos {
			return shivx.Hint(fmt.Errorf("restore to %s: %w: %d files more are needed, %d can be made",
				r.at, unix.ENOSPC, r.inodes, r.freeInos), "remove files there, or restore in place; nothing was changed")
		}
	}
	return nil
}

// stageInodes is how many folders a staging folder has by itself.
const stageInodes = 3

// existing returns the longest part of a path that exists.
func existing(path string) string {
	for path != "/" {
		if _, err := os.Lstat(path); err == nil {
			break
		}
		path = filepath.Dir(path)
	}
	return path
}

// missingAbove lists the folders that must be made for path to exist, the topmost first.
func missingAbove(path string) []name {
	var list []name
	for exists := existing(path); path != exists; path = filepath.Dir(path) {
		list = append([]name{name(path)}, list...)
	}
	return list
}

// checkName refuses the name of a restore whose staging folders are still there: they hold its state, and its
// journal may lie elsewhere.
func (p *places) checkName(id string) error {
	for _, s := range p.sites {
		if !s.used {
			continue
		}
		ok, err := s.open()
		if err == nil && ok {
			_, ok, err = statAt(s.base, StagePrefix+id)
		}
		if err == nil && ok {
			err = s.notFree(id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *site) notFree(id string) error {
	return shivx.Hint(fmt.Errorf("%s is there already: %w", filepath.Join(string(s.Base), StagePrefix+id), unix.EEXIST),
		"a restore of this name has not ended: resume it, from the folder that its journal is in")
}

// claim chooses the names of the staging folders and lists the folders that have to be made.
func (p *places) claim(id string, tops []top) {
	seen := map[name]bool{}
	add := func(list []name) {
		for _, m := range list {
			if !seen[m] {
				seen[m] = true
				p.made = append(p.made, m)
			}
		}
	}
	for _, s := range p.sites {
		if s.used {
			s.Stage = name(StagePrefix + id)
			add(missingAbove(string(s.Base)))
		}
	}
	if p.to != "" {
		for _, t := range tops {
			add(missingAbove(filepath.Dir(p.real(t.path))))
		}
	}
}

// make makes them.
func (p *places) make() error {
	for _, m := range p.made {
		if err := makeFolder(string(m)); err != nil {
			return fmt.Errorf("make %s: %w", m, err)
		}
	}
	for _, s := range p.sites {
		if !s.used {
			continue
		}
		if ok, err := s.open(); err != nil || !ok {
			return errors.Join(fmt.Errorf("open %s", s.Base), err)
		}
		if err := s.makeStage(); err != nil {
			return fmt.Errorf("make the staging folder in %s: %w", s.Base, err)
		}
	}
	if err := p.lock(); err != nil {
		return err
	}
	return p.alone()
}

// makeFolder makes a folder without following links on the way to it.
func makeFolder(path string) error {
	at, err := openReal(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(at) }()
	return unix.Mkdirat(at, filepath.Base(path), 0o755)
}

// makeStage makes the staging folder, closed to others. What it inherits from the folder it lies in
// would be inherited by all that is built in it: so that is removed.
func (s *site) makeStage() error {
	if err := unix.Mkdirat(s.base, string(s.Stage), 0o700); err != nil {
		s.Stage = "" // what is there is not ours to remove
		return err
	}
	if err := s.openStage(); err != nil {
		return err
	}
	for _, acl := range []string{"system.posix_acl_default", "system.posix_acl_access"} {
		if err := unix.Fremovexattr(s.stage, acl); err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("remove %s: %w", acl, err)
		}
	}
	if err := unix.Fchown(s.stage, os.Geteuid(), os.Getegid()); err != nil {
		return err
	}
	if err := unix.Fchmod(s.stage, 0o700); err != nil {
		return err
	}
	return errors.Join(makeApart(s.stage, comingDir), unix.Mkdirat(s.stage, asideDir, 0o700))
}

// openStage opens the staging folder, which must be ours.
func (s *site) openStage() error {
	if s.stage >= 0 {
		return nil
	}
	fd, err := openAt(s.base, string(s.Stage), openFolder, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	if int(st.Uid) != os.Geteuid() {
		return errors.Join(fmt.Errorf("%s belongs to user %d", filepath.Join(string(s.Base), string(s.Stage)), st.Uid), unix.Close(fd))
	}
	s.stage = fd
	return nil
}

// sync makes all that was written durable: one call for each file system.
func (p *places) sync() error {
	done := map[uint64]bool{}
	for _, s := range p.sites {
		if s.stage < 0 {
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstat(s.stage, &st); err != nil {
			return err
		}
		if done[uint64(st.Dev)] {
			continue
		}
		done[uint64(st.Dev)] = true
		if err := unix.Syncfs(s.stage); err != nil {
			return shivx.Hint(fmt.Errorf("sync the file system of %s: %w", s.Base, err), "look for errors of the disk in the kernel's log")
		}
	}
	return nil
}

// flagFold is the flag of a folder that takes names that differ in case for one.
const flagFold = 0x40000000

// folds says whether names in an open folder of the site may not differ in case only.
func (s *site) folds(dir int) bool {
	if flags, err := unix.IoctlGetUint32(dir, unix.FS_IOC_GETFLAGS); err == nil && flags&flagFold != 0 {
		return true
	}
	_, there, err := statAt(s.base, strings.ToUpper(string(s.Stage)))
	return err == nil && there
}

func collision(path, dir string) error {
	return shivx.Hint(fmt.Errorf("%s: %w: another name in the same folder is the same to the file system", path, unix.EEXIST),
		"the file system of "+dir+" takes names that differ in case only for one; restore to one that does not, or in parts with --to")
}
