package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// staged is where the new content of the target is built; after the swap it holds the old.
func (st *site) staged() string { return filepath.Join(st.Stage, filepath.Base(st.Target)) }

// dest is where the entry of a logical path is built.
func (st *site) dest(path string) string { return st.staged() + strings.TrimPrefix(path, st.Path) }

// stage builds the new content beside the target, compares it with the hashes and syncs it.
func (r *restoring) stage(ctx context.Context, st *site) error {
	if err := os.RemoveAll(st.Stage); err != nil {
		return err
	}
	if err := os.Mkdir(st.Stage, 0o700); err != nil {
		return err
	}
	if err := r.build(ctx, st); err != nil {
		return err
	}
	if err := linkExcluded(st); err != nil {
		return err
	}
	for _, f := range slices.Backward(st.files) {
		if f.Type == TypeDir {
			if err := dress(st.dest(f.Path), f); err != nil {
				return err
			}
		}
	}
	entries := len(st.files)
	if len(st.live.excluded) > 0 {
		entries = syncFew + 1
	}
	if err := syncTree(st.Stage, entries); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if err := syncPath(filepath.Dir(st.Stage)); err != nil {
		return err
	}
	return st.listUnits()
}

// build copies what the checkpoint has; folders stay open to us alone until all is in them.
func (r *restoring) build(ctx context.Context, st *site) error {
	var bytes int64
	for _, f := range st.files {
		bytes += f.Size
	}
	if err := checkSpace(st.Stage, bytes); err != nil {
		return err
	}
	r.meter.grow(bytes)
	root, err := os.OpenRoot(r.c.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for _, f := range st.files {
		if f.Type == TypeDir {
			if err := os.Mkdir(st.dest(f.Path), 0o700); err != nil {
				return errors.Join(err, group.Wait())
			}
			continue
		}
		group.Go(func() error { return r.buildOne(ctx, root, st, f) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	r.changes.Files += len(st.files)
	r.changes.Bytes += bytes
	return nil
}

func (r *restoring) buildOne(ctx context.Context, root *os.Root, st *site, f File) error {
	dest := st.dest(f.Path)
	if f.Type == TypeSymlink {
		if err := os.Symlink(f.Link, dest); err != nil {
			return err
		}
		return dress(dest, f)
	}
	src, err := openStored(r.c, root, f)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	got, err := copyContent(ctx, src, dest, r.meter)
	if err != nil {
		return fmt.Errorf("copy %s: %w", f.Path, err)
	}
	if err := matches(r.c, f, got); err != nil {
		return err
	}
	return dress(dest, f)
}

// linkExcluded carries over what the checkpoint left out: the very same files, by hard link,
// so that logs and sockets in a state folder outlive the swap.
func linkExcluded(st *site) error {
	if st.Gone {
		return nil
	}
	for _, e := range st.live.excluded {
		if st.Mount && filepath.Dir(e.real) == st.Target {
			continue
		}
		if err := carry(st, e); err != nil {
			err = fmt.Errorf("carry over %s, which the checkpoint excludes: %w", e.path, err)
			return shivx.Hint(err, "name the folders of the state more closely in state.paths, so that nothing excluded lies in them")
		}
	}
	return nil
}

func carry(st *site, e entry) error {
	if err := carryParents(st, e); err != nil {
		return err
	}
	return filepath.WalkDir(e.real, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		dest := st.staged() + strings.TrimPrefix(p, st.Target)
		if !d.IsDir() {
			return ignoreExisting(unix.Linkat(unix.AT_FDCWD, p, unix.AT_FDCWD, dest, 0))
		}
		return makeLike(dest, p)
	})
}

// carryParents makes the folders above an excluded entry that the checkpoint does not have.
func carryParents(st *site, e entry) error {
	var above []string
	for dir := filepath.Dir(e.real); within(dir, st.Target); dir = filepath.Dir(dir) {
		above = append(above, dir)
	}
	for _, dir := range slices.Backward(above) {
		if err := makeLike(st.staged()+strings.TrimPrefix(dir, st.Target), dir); err != nil {
			return err
		}
	}
	return nil
}

// makeLike makes a folder with the owner and mode of another, unless there is one.
func makeLike(dest, like string) error {
	err := os.Mkdir(dest, 0o700)
	if errors.Is(err, fs.ErrExist) {
		info, err := os.Lstat(dest)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("%s is not a folder in the checkpoint", like)
		}
		return err
	}
	if err != nil {
		return err
	}
	e, _, err := look(like, like)
	if err != nil || e.path == "" {
		return err
	}
	return dress(dest, e.file())
}

func ignoreExisting(err error) error {
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// mountPoints lists where file systems are mounted.
func mountPoints(mountinfo string) ([]string, error) {
	data, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("list mount points: %w", err)
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			points = append(points, unescape.Replace(fields[4]))
		}
	}
	return points, nil
}
