package integrity

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// folder is a disk that writes into one folder.
type folder struct{ dir string }

var _ disk = folder{}

func (d folder) put(name string, write func(io.Writer) error) error {
	path := filepath.Join(d.dir, name)
	// What is there may be another's, or a link; it is never written through.
	if err := d.drop(name); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return d.sync()
}

func (d folder) move(from, to string) error {
	if err := os.Rename(filepath.Join(d.dir, from), filepath.Join(d.dir, to)); err != nil {
		return err
	}
	return d.sync()
}

func (d folder) drop(name string) error {
	if err := os.Remove(filepath.Join(d.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d folder) sync() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
