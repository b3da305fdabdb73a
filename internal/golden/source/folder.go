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
	"github.com/shivx/shivx/internal/durable"
)

// folder is the private folder of one export. It is locked as long as it is in use: a folder without
// a lock was left by a process that was killed.
type folder struct {
	path string
	lock *os.File
}

// exportPrefix begins the name of every folder but those of hooks, which must know of their own.
const exportPrefix = "export-"

// newFolder makes a folder below base, owned by the user as when there is one. Its name begins with
// prefix. The exports that killed processes have left are removed before.
func newFolder(base, prefix string, as *account) (*folder, error) {
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for exports: %w", err)
	}
	gate, err := lockFolder(base, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer func() { _ = durable.Unlock(gate) }() // no sweep between the making of a folder and its lock
	stale, err := leftIn(base, exportPrefix)
	for _, f := range stale {
		err = errors.Join(err, f.remove())
	}
	if err != nil {
		return nil, err
	}
	f := &folder{}
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
		_ = durable.Unlock(f.lock)
	}
	if err != nil {
		return shivx.Hint(fmt.Errorf("remove an export: %w", err), "remove "+f.path+" by hand: it holds a copy of a database")
	}
	return nil
}

// close is remove for Export.Close.
func (f *folder) close(context.Context) error { return f.remove() }

// lockFolder opens a folder and locks it until durable.Unlock, or until the process ends.
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

// left takes over the folders that killed processes have left below base, which need not exist, and locks them.
func left(base, prefix string) ([]*folder, error) {
	gate, err := lockFolder(base, unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = durable.Unlock(gate) }()
	return leftIn(base, prefix)
}

// leftIn is left for who has base locked.
func leftIn(base, prefix string) ([]*folder, error) {
	list, err := os.ReadDir(base)
	if err != nil {
		return nil, err
	}
	var stale []*folder
	for _, d := range list {
		if !d.IsDir() || !strings.HasPrefix(d.Name(), prefix) {
			continue
		}
		f := &folder{path: filepath.Join(base, d.Name())}
		if f.lock, err = lockFolder(f.path, unix.LOCK_EX|unix.LOCK_NB); err == nil { // or else it is in use
			stale = append(stale, f)
		}
	}
	return stale, nil
}

// reserve is what an export leaves free of its file system, in bytes.
const reserve = 64 << 20

// spareFiles is how many files an export must be able to make at least. SQLite does not say why it cannot.
const spareFiles = 8

// room fails when the file system of dir, which exists, lacks space for size bytes of name.
func room(dir, name string, size int64) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	if s.Files > 0 && s.Ffree < spareFiles { // some count none
		return shivx.Hint(fmt.Errorf("the export of %s to %s: %w: no more files can be made", name, dir, unix.ENOSPC),
			"remove some files, or keep exports in a folder on another file system")
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
