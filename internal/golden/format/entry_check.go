package format

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of an entry, in bytes. They are far above what Linux allows, so that a reader may refuse
// more; those of extended attributes are those of Linux.
const (
	MaxPath       = 1 << 16
	MaxXattrName  = 255
	MaxXattrValue = 1 << 16
)

// check says what is wrong with an entry, whether it is to be written or has been read.
func (e *Entry) check() error {
	if err := CheckPath(e.Path); err != nil {
		return err
	}
	if e.Mode > MaxMode {
		return fmt.Errorf("mode %#o is more than the permission bits", e.Mode)
	}
	if e.Type != TypeFile && (e.Size != 0 || e.Sum != Hash{} || len(e.Blocks) > 0 || e.Data != nil) {
		return fmt.Errorf("content of a %s", e.Type)
	}
	switch e.Type {
	case TypeFile:
		if err := e.checkContent(); err != nil {
			return err
		}
		fallthrough
	case TypeDir, TypeFIFO:
		if e.Link != "" {
			return fmt.Errorf("link of a %s", e.Type)
		}
	case TypeSymlink:
		if e.Link == "" || len(e.Link) > MaxPath || strings.IndexByte(e.Link, 0) >= 0 {
			return errors.New("link is empty, too long or has a NUL")
		}
	case TypeHardlink:
		if err := e.checkHardlink(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown type %q", e.Type)
	}
	return e.checkXattrs()
}

func (e *Entry) checkHardlink() error {
	if err := CheckPath(e.Link); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if ComparePaths(e.Link, e.Path) >= 0 {
		return fmt.Errorf("link to %q, which does not come before", e.Link)
	}
	if e.Mode != 0 || e.UID != 0 || e.GID != 0 || !e.ModTime.IsZero() || len(e.Xattrs) > 0 {
		return errors.New("a hard link has its path, link and hint only")
	}
	return nil
}

func (e *Entry) checkContent() error {
	if e.Size < 0 {
		return fmt.Errorf("size %d", e.Size)
	}
	var end int64
	for _, x := range e.Data {
		if x.Length <= 0 || x.Offset < end || x.Offset > e.Size || x.Length > e.Size-x.Offset {
			return fmt.Errorf("data of %d bytes at %d: empty, out of order or beyond size %d", x.Length, x.Offset, e.Size)
		}
		end = x.Offset + x.Length
	}
	want := e.BlockCount()
	if want == 0 && e.Sum != Sum(nil) {
		return errors.New("no data, but not the hash of nothing")
	}
	if want == 1 {
		want = 0
	}
	if len(e.Blocks) != want {
		return fmt.Errorf("%d blocks for %d bytes of data", len(e.Blocks), e.Stored())
	}
	return nil
}

func (e *Entry) checkXattrs() error {
	for i := range e.Xattrs {
		x := &e.Xattrs[i]
		if x.Name == "" || len(x.Name) > MaxXattrName || strings.IndexByte(x.Name, 0) >= 0 {
			return fmt.Errorf("attribute %q: name is empty, too long or has a NUL", x.Name)
		}
		if len(x.Value) > MaxXattrValue {
			return fmt.Errorf("attribute %q: value of %d bytes", x.Name, len(x.Value))
		}
		if i > 0 && e.Xattrs[i-1].Name >= x.Name {
			return fmt.Errorf("attribute %q twice or out of order", x.Name)
		}
	}
	return nil
}

// CheckPath says whether path is absolute, clean and of a length that can be: no empty part, no "."
// or "..", no slash at the end, no NUL.
func CheckPath(path string) error {
	if path == "" || path[0] != '/' || len(path) > MaxPath {
		return fmt.Errorf("path %.100q is not absolute or too long", path)
	}
	if path == "/" {
		return nil
	}
	from := 1
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			if path[i] == 0 {
				return fmt.Errorf("path %.100q has a NUL", path)
			}
			continue
		}
		if part := path[from:i]; part == "" || part == "." || part == ".." {
			return fmt.Errorf("path %.100q is not clean", path)
		}
		from = i + 1
	}
	return nil
}

// Below says whether path is root or below it; both are clean.
func Below(root, path string) bool {
	return path == root || root == "/" || strings.HasPrefix(path, root) && path[len(root)] == '/'
}
