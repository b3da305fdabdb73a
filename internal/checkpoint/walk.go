package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// Names with these prefixes are the store's own, beside or in the state it restores.
const (
	stagePrefix = ".shivx-restore-"
	keptPrefix  = ".shivx-kept-"
)

// entry is one live entry of the state.
type entry struct {
	// path is the logical path: below the state path as configured.
	path string
	// real is where it lies, with symbolic links above it resolved.
	real string
	typ  FileType
	sign signature
	stat syscall.Stat_t
}

// signature changes whenever the entry does, so far as the file system tells.
type signature struct {
	dev, ino     uint64
	mode         uint32
	size         int64
	mtime, ctime int64
}

// tree is what a walk found.
type tree struct {
	entries []entry
	missing []string
	skipped []string
	// excluded are the topmost entries left out, those skipped among them.
	excluded []entry
}

// cleanPaths returns the state paths cleaned, sorted, without those inside another.
func cleanPaths(paths []string) ([]string, error) {
	var clean []string
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			return nil, fmt.Errorf("state path %q is not absolute", p)
		}
		if p = filepath.Clean(p); p == "/" {
			return nil, errors.New(`state path "/" is too much; name the folders of the component`)
		}
		clean = append(clean, p)
	}
	slices.Sort(clean)
	clean = slices.Compact(clean)
	return slices.DeleteFunc(slices.Clone(clean), func(p string) bool {
		return slices.ContainsFunc(clean, func(q string) bool { return p != q && within(p, q) })
	}), nil
}

// within says whether path is root or lies below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

// checkPatterns finds glob patterns that cannot be used.
func checkPatterns(patterns []string) error {
	for _, p := range patterns {
		if !doublestar.ValidatePattern(p) {
			return fmt.Errorf("%q is not a glob pattern", p)
		}
	}
	return nil
}

func isExcluded(rel string, patterns []string) bool {
	for _, p := range patterns {
		if ok, _ := doublestar.Match(p, rel); ok {
			return true
		}
	}
	return false
}

// walk lists the state below paths, in order of path.
func walk(ctx context.Context, paths, exclude []string) (tree, error) {
	var t tree
	for _, root := range paths {
		real, err := filepath.EvalSymlinks(root)
		if errors.Is(err, fs.ErrNotExist) {
			t.missing = append(t.missing, root)
			continue
		}
		if err != nil {
			return t, fmt.Errorf("walk %s: %w", root, err)
		}
		if err := t.walkFrom(ctx, root, root, real, exclude); err != nil {
			return t, fmt.Errorf("walk %s: %w", root, err)
		}
	}
	return t, nil
}

// walkFrom lists what lies at and below path, which really is at real; patterns are relative to root.
func (t *tree) walkFrom(ctx context.Context, root, path, real string, exclude []string) error {
	return filepath.WalkDir(real, func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			// What goes away during the walk is not there.
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		below, _ := filepath.Rel(real, p)
		logical := filepath.Join(path, below)
		rel, _ := filepath.Rel(root, logical)
		if strings.HasPrefix(d.Name(), stagePrefix) || strings.HasPrefix(d.Name(), keptPrefix) {
			return skip(d)
		}
		e, ok, err := look(logical, p)
		if err != nil || (!ok && e.path == "") {
			return err
		}
		if rel != "." && isExcluded(rel, exclude) {
			t.excluded = append(t.excluded, e)
			return skip(d)
		}
		if !ok {
			t.skipped = append(t.skipped, e.path)
			t.excluded = append(t.excluded, e)
			return nil
		}
		t.entries = append(t.entries, e)
		return nil
	})
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// look stats one entry; ok is false for what is not copied, and the entry is empty when it is gone.
func look(path, real string) (e entry, ok bool, err error) {
	info, err := os.Lstat(real)
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, false, nil
	}
	if err != nil {
		return entry{}, false, err
	}
	st, isUnix := info.Sys().(*syscall.Stat_t)
	if !isUnix {
		return entry{}, false, fmt.Errorf("stat %s: not a Unix file system", real)
	}
	e = entry{path: path, real: real, stat: *st, sign: signatureOf(st)}
	switch {
	case info.Mode().IsRegular():
		e.typ = TypeFile
	case info.IsDir():
		e.typ = TypeDir
	case info.Mode()&fs.ModeSymlink != 0:
		e.typ = TypeSymlink
	default:
		return e, false, nil
	}
	return e, true, nil
}

func signatureOf(st *syscall.Stat_t) signature {
	return signature{
		dev: uint64(st.Dev), ino: st.Ino, mode: st.Mode, size: st.Size,
		mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(),
	}
}

// file is the manifest entry of e, without content.
func (e entry) file() File {
	f := File{
		Path: e.path, Type: e.typ, Mode: e.stat.Mode & 0o7777,
		UID: int(e.stat.Uid), GID: int(e.stat.Gid), ModTime: modTime(e.stat.Mtim),
	}
	if e.typ == TypeFile {
		f.Size, f.Stored = e.stat.Size, storedName(e.path)
	}
	return f
}

// modTime keeps times within what JSON can hold.
func modTime(ts syscall.Timespec) time.Time {
	t := time.Unix(ts.Sec, ts.Nsec).UTC()
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Unix(0, 0).UTC()
	}
	return t
}

// storedName is where the copy of an absolute path lies in a checkpoint.
func storedName(path string) string { return "files" + path }
