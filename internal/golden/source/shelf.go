package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// shelf is the folder of an export that another user has filled. What that user may still have open there
// could be swapped for links at any moment, so nothing is changed but by names below an open folder, which
// lead nowhere else.
type shelf struct {
	*os.Root
	path string
}

// takeOver closes the folder at path to the user who has filled it.
func takeOver(path string, from *account) (*shelf, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	if from != nil {
		if err := root.Lchown(".", os.Geteuid(), os.Getegid()); err != nil {
			return nil, errors.Join(err, root.Close())
		}
	}
	return &shelf{root, path}, nil
}

// rel returns the name below the folder of a path in it.
func (s *shelf) rel(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, s.path), "/")
}

// link makes the links from a data folder to its tablespaces, which are named by spaces.
func (s *shelf) link(data string, spaces map[string]string, target func(live string) string) error {
	for oid, live := range spaces {
		link := filepath.Join(s.rel(data), "pg_tblspc", oid)
		if err := errors.Join(s.RemoveAll(link), s.Symlink(target(live), link)); err != nil {
			return err
		}
	}
	return nil
}

// adopt gives the folder at path and all below it the owner of the live folder, and itself the mode and the
// extended attributes of that as well.
func (s *shelf) adopt(path, live string) error {
	like, err := openLive(filepath.Dir(live), filepath.Base(live))
	if err != nil {
		return err
	}
	defer like.Close()
	info, err := like.Stat()
	if err != nil {
		return err
	}
	want, base := ownerOf(info), s.rel(path)
	err = fs.WalkDir(s.FS(), base, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || ownerOf(info) == want || os.Geteuid() != 0 {
			return err
		}
		return s.Lchown(p, want.uid, want.gid)
	})
	if err != nil {
		return err
	}
	f, err := s.Open(base)
	if err != nil {
		return err
	}
	defer f.Close()
	fd := int(f.Fd())
	if err := unix.Fchmod(fd, info.Sys().(*syscall.Stat_t).Mode&0o7777); err != nil {
		return &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	return eachAttribute(like, func(name string, value []byte) error { return unix.Fsetxattr(fd, name, value, 0) })
}
