package builtin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/plugins/sdk"
)

// identity names a file on a host, whatever its path.
type identity struct{ dev, ino uint64 }

// tree is a folder of a rule, open. Whatever happens to paths meanwhile, nothing outside of it is reached: each folder
// below is opened by openat2 without following links and without leaving the file system.
type tree struct {
	path string
	fd   int
	dev  uint64
	// top says that the folder is the root of a file system, or a mount.
	top bool
	// own are folders of the agent, which must not turn up below.
	own map[identity]string
}

// openTree opens the folder of a rule; nil when there is none.
func openTree(folder string, own []string) (*tree, error) {
	if err := checkFolder(folder); err != nil {
		return nil, err
	}
	if err := guard(folder, own); err != nil {
		return nil, err
	}
	top, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /: %w", err)
	}
	defer func() { _ = unix.Close(top) }()
	fd, err := openBelow(top, strings.TrimPrefix(folder, "/"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, nil //nolint:nilnil // a folder that is not there is an answer
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return nil, sdk.Failf("name the folder itself: "+realPath(folder), "%s is no folder, or its path leads through a symbolic link", folder)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return nil, sdk.Failf("it needs openat2(2) of Linux 5.6; use a command", "%s cannot be opened in a safe way: %v", folder, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", folder, err)
	}
	t := &tree{path: folder, fd: fd, own: map[identity]string{}}
	var st unix.Stat_t
	var more unix.Statx_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &more)); err != nil {
		t.close()
		return nil, fmt.Errorf("look at %s: %w", folder, err)
	}
	t.dev, t.top = st.Dev, more.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	for _, o := range own {
		if unix.Stat(o, &st) == nil {
			t.own[identity{st.Dev, st.Ino}] = o
		}
	}
	return t, nil
}

func (t *tree) close() {
	if t != nil {
		_ = unix.Close(t.fd)
	}
}

// openBelow opens a path below at without following any link; resolve has further flags of openat2(2).
func openBelow(at int, rel string, flags int, resolve uint64) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | resolve,
	}
	for range 100 {
		fd, err = unix.Openat2(at, rel, &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) { // somebody renamed something at that moment
			break
		}
	}
	return fd, err
}

// folder opens a folder of the tree; "." is the tree itself.
func (t *tree) folder(rel string) (int, error) {
	return openBelow(t.fd, rel, unix.O_RDONLY|unix.O_DIRECTORY, unix.RESOLVE_NO_XDEV)
}

// found is a regular file of a tree.
type found struct {
	identity
	// dir is the folder below the tree's, "." for itself.
	dir, name string
	// bytes are those on the disk, size those to be read.
	bytes, size int64
	changed     time.Time
	names       uint64
}

func (f found) rel() string { return path.Join(f.dir, f.name) }

func foundIn(dir, name string, st unix.Stat_t) found {
	return found{
		identity: identity{st.Dev, st.Ino}, dir: dir, name: name, bytes: st.Blocks * 512, size: st.Size,
		changed: time.Unix(st.Mtim.Unix()), names: uint64(st.Nlink),
	}
}

// find lists the regular files whose path below the tree matches; aside is told what was passed over, and why.
func (t *tree) find(ctx context.Context, match string, aside func(string, ...any)) ([]found, error) {
	var list []found
	deepest := strings.Count(match, "/")
	if strings.Contains(match, "**") {
		deepest = -1
	}
	folders := []string{"."}
	for len(folders) > 0 {
		dir := folders[len(folders)-1]
		folders = folders[:len(folders)-1]
		fd, err := t.folder(dir)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
			continue // swapped or removed meanwhile
		case errors.Is(err, unix.EXDEV):
			aside("%s is another file system; it was left alone", path.Join(t.path, dir))
			continue
		case errors.Is(err, unix.EACCES), errors.Is(err, unix.ENAMETOOLONG):
			aside("%s was left alone: %v", path.Join(t.path, dir), err)
			continue
		case err != nil:
			return nil, fmt.Errorf("open %s: %w", path.Join(t.path, dir), err)
		}
		err = t.list(ctx, fd, dir, func(name string, st unix.Stat_t) {
			rel := path.Join(dir, name)
			switch st.Mode & unix.S_IFMT {
			case unix.S_IFDIR:
				if deepest < 0 || strings.Count(rel, "/") < deepest {
					folders = append(folders, rel)
				}
			case unix.S_IFREG:
				if doublestar.MatchUnvalidated(match, rel) && st.Dev == t.dev {
					list = append(list, foundIn(dir, name, st))
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// list shows what an open folder holds, and closes it.
func (t *tree) list(ctx context.Context, fd int, dir string, show func(string, unix.Stat_t)) error {
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("look at %s: %w", path.Join(t.path, dir), err)
	}
	if own, is := t.own[identity{st.Dev, st.Ino}]; is {
		return sdk.Failf("name another folder", "%s holds files of the agent itself: %s", path.Join(t.path, dir), own)
	}
	for ctx.Err() == nil {
		names, err := f.Readdirnames(1000)
		for _, name := range names {
			if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
				show(name, st)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", path.Join(t.path, dir), err)
		}
	}
	return ctx.Err()
}

// errChanged says that a file is not what was found.
var errChanged = errors.New("it has changed meanwhile")

// remove unlinks the file if it is the one that was found, and was not written since.
func (t *tree) remove(f found) error {
	fd, err := t.folder(f.dir)
	if err != nil {
		return errChanged
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstatat(fd, f.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return errChanged
	}
	now := foundIn(f.dir, f.name, st)
	if st.Mode&unix.S_IFMT != unix.S_IFREG || now.identity != f.identity || !now.changed.Equal(f.changed) || now.names != f.names {
		return errChanged
	}
	return unix.Unlinkat(fd, f.name, 0)
}
