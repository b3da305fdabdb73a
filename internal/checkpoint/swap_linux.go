package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// unit is one rename: the whole target, or one entry of a mount point.
type unit struct {
	Staged string `json:"staged"`
	Target string `json:"target"`
	// Dev and Ino identify the new content wherever it lies; 0 when the target is to vanish.
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// errLost says that staged content was removed by somebody else.
var errLost = errors.New("the new content is no longer where it was staged")

// listUnits writes down what is to be swapped.
func (st *site) listUnits() error {
	st.Units = nil
	if !st.Mount {
		return st.addUnit(st.staged(), st.Target)
	}
	names := map[string]bool{}
	entries, err := os.ReadDir(st.staged())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		names[e.Name()] = true
	}
	for _, e := range st.live.entries {
		if filepath.Dir(e.real) == st.Target {
			names[filepath.Base(e.real)] = true
		}
	}
	if err := os.Mkdir(st.staged(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	delete(names, "lost+found")
	for name := range names {
		if err := st.addUnit(filepath.Join(st.staged(), name), filepath.Join(st.Target, name)); err != nil {
			return err
		}
	}
	return nil
}

func (st *site) addUnit(staged, target string) error {
	u := unit{Staged: staged, Target: target}
	var err error
	u.Dev, u.Ino, err = identity(staged)
	if err != nil {
		return err
	}
	st.Units = append(st.Units, u)
	return nil
}

// identity returns zeros for what does not exist.
func identity(path string) (dev, ino uint64, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return uint64(st.Dev), st.Ino, nil
}

// swap brings every path to its new content; what is there already is left.
func (r *restoring) swap(j journal) error {
	for _, st := range j.Sites {
		for _, u := range st.Units {
			if err := u.swap(); err != nil {
				return fmt.Errorf("swap %s: %w", u.Target, err)
			}
		}
		if st.Mount && !st.Gone && st.rootMeta.Path != "" {
			if err := dress(st.Target, st.rootMeta); err != nil {
				return err
			}
		}
		if err := errors.Join(syncPath(filepath.Dir(st.Target)), syncPath(filepath.Dir(st.Stage))); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		if st.Gone {
			r.changes.Removed = append(r.changes.Removed, st.Path)
		} else {
			r.changes.Restored = append(r.changes.Restored, st.Path)
		}
	}
	return nil
}

func (u unit) swap() error {
	dev, ino, err := identity(u.Target)
	if err != nil || (dev == u.Dev && ino == u.Ino) {
		return err
	}
	if u.Ino == 0 {
		return os.Rename(u.Target, u.Staged)
	}
	if dev, ino, err := identity(u.Staged); err != nil || dev != u.Dev || ino != u.Ino {
		return errors.Join(fmt.Errorf("%w: nothing at %s", errLost, u.Staged), err)
	}
	if ino == 0 {
		return os.Rename(u.Staged, u.Target)
	}
	err = unix.Renameat2(unix.AT_FDCWD, u.Staged, unix.AT_FDCWD, u.Target, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// The file system cannot exchange: for an instant there is neither.
		if err := os.Rename(u.Target, u.Staged+".old"); err != nil {
			return err
		}
		return os.Rename(u.Staged, u.Target)
	}
	return err
}

// dispose keeps or removes the staging folders, which after a swap hold the old state, and
// ends the journal.
func (r *restoring) dispose(j journal) error {
	for _, st := range j.Sites {
		if !j.Swapping || !j.Keep {
			if err := os.RemoveAll(st.Stage); err != nil {
				return err
			}
			continue
		}
		kept, err := keepFolder(st.Stage, j.Checkpoint)
		if err != nil {
			return err
		}
		if kept != "" {
			r.changes.Kept = append(r.changes.Kept, kept)
		}
	}
	if err := os.Remove(r.journalPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncPath(r.home)
}

// keepFolder renames a staging folder to a name of its own, "" when it is gone or holds nothing.
func keepFolder(stage, id string) (string, error) {
	if err := os.Remove(stage); err == nil || errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	for n := 1; ; n++ {
		kept := filepath.Join(filepath.Dir(stage), keptPrefix+id+"-"+strconv.Itoa(n))
		err := unix.Renameat2(unix.AT_FDCWD, stage, unix.AT_FDCWD, kept, unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return kept, err
		}
	}
}
