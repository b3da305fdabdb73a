package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/durable"
)

// names of what a folder holds besides objects
const (
	tmpName  = "tmp"
	lockName = "lock"
)

// Folder is a backend in a local folder. Only its owner may read it: it holds what the most secret
// of the files in it hold.
type Folder struct {
	path string
	// dir was opened before anything was written: so its syncfs reports each failed write-back.
	dir *os.File
}

var (
	_ Backend = (*Folder)(nil)
	_ Locker  = (*Folder)(nil)
)

// OpenFolder returns the backend in the folder of path, which exists.
func OpenFolder(path string) (*Folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, shivx.Hint(fmt.Errorf("open the store: %w", err), "check the path of the store, and that its disk is mounted")
	}
	return &Folder{path: path, dir: dir}, nil
}

// MakeFolder makes the folder of path and those above it, unless they exist, and opens it.
func MakeFolder(path string) (*Folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, shivx.Hint(fmt.Errorf("make the store's folder: %w", err), "check the path of the store, and who may write there")
	}
	return OpenFolder(path)
}

// String returns the path.
func (f *Folder) String() string { return f.path }

// Close ends the use of the folder.
func (f *Folder) Close() error { return f.dir.Close() }

func (f *Folder) join(name string) (string, error) {
	if !fs.ValidPath(name) || name == "." {
		return "", fmt.Errorf("name %q: not that of an object", name)
	}
	return filepath.Join(f.path, filepath.FromSlash(name)), nil
}

// Create begins a file in tmp.
func (f *Folder) Create(ctx context.Context) (File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir := filepath.Join(f.path, tmpName)
	file, err := os.CreateTemp(dir, "*")
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(dir, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			file, err = os.CreateTemp(dir, "*")
		}
	}
	if err != nil {
		return nil, explain(err)
	}
	return &folderFile{folder: f, file: file}, nil
}

// Open opens an object.
func (f *Folder) Open(ctx context.Context, name string) (Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, err := f.join(name)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &folderObject{File: file, size: info.Size()}, nil
}

type folderObject struct {
	*os.File
	size int64
}

func (o *folderObject) Size() int64 { return o.size }

// List walks the folders below prefix.
func (f *Folder) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		dir := prefix[:strings.LastIndexByte(prefix, '/')+1]
		if _, err := f.list(ctx, dir, prefix, yield); err != nil {
			yield(ObjectInfo{}, err)
		}
	}
}

// list yields what is in dir, "" or ending in a slash; it returns false when no more is wanted.
func (f *Folder) list(ctx context.Context, dir, prefix string, yield func(ObjectInfo, error) bool) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	entries, err := os.ReadDir(filepath.Join(f.path, filepath.FromSlash(dir)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	key := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/" // where all that is below it sorts
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(key(a), key(b)) })
	for _, e := range entries {
		name := dir + key(e)
		if dir == "" && (name == tmpName+"/" || name == lockName) {
			continue
		}
		if e.IsDir() {
			if !strings.HasPrefix(name, prefix) && !strings.HasPrefix(prefix, name) {
				continue
			}
			if more, err := f.list(ctx, name, prefix, yield); !more || err != nil {
				return false, err
			}
			continue
		}
		if !e.Type().IsRegular() || !strings.HasPrefix(name, prefix) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return false, err
		}
		if !yield(ObjectInfo{Name: name, Size: info.Size()}, nil) {
			return false, nil
		}
	}
	return true, nil
}

// Remove removes objects.
func (f *Folder) Remove(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		path, err := f.join(name)
		if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return explain(err)
		}
	}
	return nil
}

// Sync makes all of the file system durable, which is far faster than file after file.
func (f *Folder) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := unix.Syncfs(int(f.dir.Fd())); err != nil {
		return explain(&fs.PathError{Op: "syncfs", Path: f.path, Err: err})
	}
	return nil
}

// explain adds what an operator can do about the common failures of a disk.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return shivx.Hint(err, "free space on the disk of the store, or remove old goldens with shivx golden prune")
	case errors.Is(err, unix.EROFS):
		return shivx.Hint(err, "mount the disk of the store writable")
	case errors.Is(err, fs.ErrPermission):
		return shivx.Hint(err, "run as the user who owns the store")
	case errors.Is(err, unix.EIO):
		return shivx.Hint(err, "the disk of the store fails: look at the kernel's log, and keep the next backup on another disk")
	}
	return err
}

// makeParents makes the folders above path, and makes them durable where durably is set.
func (f *Folder) makeParents(path string, durably bool) error {
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if dir == f.path {
		return fmt.Errorf("the store's folder %s is gone", f.path)
	}
	if err := f.makeParents(dir, durably); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !durably {
		return nil
	}
	return durable.SyncDir(filepath.Dir(dir))
}
