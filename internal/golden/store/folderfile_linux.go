package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/durable"
)

// writeBackSize is how many bytes are written before the kernel is told to begin to put them on the
// disk, so that little is left to do when everything must be durable.
const writeBackSize = 4 << 20

// folderFile is an unfinished file in tmp.
type folderFile struct {
	folder *Folder
	file   *os.File
	// size is what was written, begun what of it is on its way to the disk.
	size, begun int64
	named       bool
}

func (f *folderFile) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	f.size += int64(n)
	if err != nil {
		return n, explain(err)
	}
	if f.size-f.begun >= writeBackSize {
		f.beginWriteBack()
	}
	return n, nil
}

// beginWriteBack is only a wish: a file system that does not know it, and a failure, which the next
// Sync reports, change nothing.
func (f *folderFile) beginWriteBack() {
	_ = unix.SyncFileRange(int(f.file.Fd()), f.begun, f.size-f.begun, unix.SYNC_FILE_RANGE_WRITE)
	f.begun = f.size
}

func (f *folderFile) Publish(ctx context.Context, name string) error {
	return f.publish(ctx, name, strings.HasPrefix(name, goldensDir))
}

func (f *folderFile) Replace(ctx context.Context, name string) error {
	return f.publish(ctx, name, true)
}

func (f *folderFile) publish(ctx context.Context, name string, replace bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path, err := f.folder.join(name)
	if err != nil {
		return err
	}
	golden := strings.HasPrefix(name, goldensDir)
	if err := f.folder.makeParents(path, golden); err != nil {
		return explain(err)
	}
	if replace {
		err = os.Rename(f.file.Name(), path)
	} else {
		err = renameNew(f.file.Name(), path)
	}
	if err != nil {
		return explain(err)
	}
	f.named = true
	_ = f.file.Close() // its bytes are on the disk: the caller has synced
	if golden {
		return explain(durable.SyncDir(filepath.Dir(path)))
	}
	return nil
}

// renameNew renames a file unless there is one of the new name.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// Network file systems do not know it, but a second name never replaces one either.
		if err = os.Link(from, to); err == nil {
			_ = os.Remove(from) // what stays in tmp is removed by who has the store alone
		}
		return err
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (f *folderFile) Discard() error {
	if f.named {
		return nil
	}
	_ = f.file.Close()
	if err := os.Remove(f.file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
