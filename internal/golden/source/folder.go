package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// folder is the private folder of one export. It is locked as long as it is in use: a folder without
// a lock was left by a process that was killed, and is removed by the next export beside it.
type folder struct {
	path string
	lock *os.File
	// killed says that a process was killed whose folder had the same prefix.
	killed bool
}

// exportPrefix begins the name of every folder but those of hooks, which must know of their own.
const exportPrefix = "export-"

// newFolder makes a folder below base, owned by the user as when there is one. Its name begins with
// prefix; what killed processes have left under names that do is removed before.
func newFolder(base, prefix string, as *account) (*folder, error) {
	// Others may pass through base to reach the folders that are theirs, and see no names.
	if err := os.MkdirAll(base, 0o711); err != nil {
		return nil, fmt.Errorf("make a folder for exports: %w", err)
	}
	gate, err := lockFolder(base, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer gate.Close() // no sweep between the making of a folder and its lock
	f := &folder{}
	if f.killed, err = sweep(base, prefix); err != nil {
		return nil, err
	}
	if f.path, err = os.MkdirTemp(base, prefix); err != nil {
		return nil, fmt.Errorf("make a folder for the export: %w", err)
	}
	if f.lock, err = lockFolder(f.path, unix.LOCK_EX|unix.LOCK_NB); err == nil && as != nil {
		err = os.Chown(f.path, as.uid, as.gid)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a folder for the export: %w", err), f.remove())
	}
	return f, nil
}

// remove removes the folder and all in it.
func (f *folder) remove() error {
	err := os.RemoveAll(f.path)
	if f.lock != nil {
		_ = f.lock.Close()
	}
	if err != nil {
		return shivx.Hint(fmt.Errorf("remove an export: %w", err), "remove "+f.path+" by hand: it holds a copy of a database")
	}
	return nil
}

// close is remove for Export.Close.
func (f *folder) close(context.Context) error { return f.remove() }

// lockFolder opens a folder and locks it until it is closed, which the end of the process does, too.
func lockFolder(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return f, nil
}

// sweep removes the folders that killed processes have left below base, and says whether there were any.
func sweep(base, prefix string) (bool, error) {
	list, err := os.ReadDir(base)
	if err != nil {
		return false, err
	}
	killed := false
	for _, d := range list {
		if !d.IsDir() || !strings.HasPrefix(d.Name(), prefix) {
			continue
		}
		f := folder{path: filepath.Join(base, d.Name())}
		if f.lock, err = lockFolder(f.path, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			continue // in use
		}
		if err := f.remove(); err != nil {
			return false, err
		}
		killed = true
	}
	return killed, nil
}

// reserve is what an export leaves free of its file system, in bytes.
const reserve = 64 << 20

// room fails when the file system of dir, which exists, lacks space for size bytes of name.
func room(dir, name string, size int64) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	free := int64(s.Bavail) * s.Bsize
	missing := size + reserve - free
	if missing <= 0 {
		return nil
	}
	return shivx.Hint(fmt.Errorf("the export of %s needs %s in %s, where %s are free: %s are missing",
		name, mega(size+reserve), dir, mega(free), mega(missing)),
		"free some space, or keep exports in a folder on another file system")
}

// mega writes a number of bytes in MB, rounded up.
func mega(n int64) string { return fmt.Sprintf("%d MB", (n+1<<20-1)>>20) }
