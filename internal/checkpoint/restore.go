package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// Changes says what a restore did to each state path.
type Changes struct {
	// Restored paths hold the checkpoint's content now.
	Restored []string `json:"restored,omitempty"`
	// Removed paths did not exist when the checkpoint was taken.
	Removed []string `json:"removed,omitempty"`
	// Unchanged paths held the checkpoint's content already.
	Unchanged []string `json:"unchanged,omitempty"`
	// Kept folders hold the state from before the restore.
	Kept  []string `json:"kept,omitempty"`
	Files int      `json:"files"`
	Bytes int64    `json:"bytes"`
}

// RestoreOption changes how a restore is done.
type RestoreOption func(*restoring)

// KeepOld keeps the state from before the restore in a folder beside each path.
func KeepOld() RestoreOption { return func(r *restoring) { r.keep = true } }

// Only restores the given paths, each a state path of the checkpoint or below one.
func Only(paths ...string) RestoreOption { return func(r *restoring) { r.only = paths } }

// restoring is one restore under way.
type restoring struct {
	c       Checkpoint
	keep    bool
	only    []string
	home    string
	meter   *meter
	changes Changes
}

// Restore puts the checkpoint's content back. All of it is first copied beside its targets and
// compared with its hashes there, so that nothing is touched when any of it is damaged; then each
// path is swapped in one step. What the checkpoint excluded stays as it is. A restore that
// was killed is completed by a second call. progress, which may be nil, is told bytes.
func (s *Store) Restore(ctx context.Context, c Checkpoint, progress func(done, total int64), opts ...RestoreOption) (Changes, error) {
	r := &restoring{c: c, meter: newMeter(0, progress), home: filepath.Join(s.root, c.Component, ".restore")}
	for _, o := range opts {
		o(r)
	}
	if err := r.run(ctx); err != nil {
		return r.changes, fmt.Errorf("restore checkpoint %s: %w", c.ID, err)
	}
	r.meter.finish()
	return r.changes, nil
}

func (r *restoring) run(ctx context.Context) error {
	if err := errors.Join(checkName(r.c.Component, r.c.Kind), r.c.check()); err != nil {
		return err
	}
	if err := os.MkdirAll(r.home, 0o700); err != nil {
		return err
	}
	alone, err := lock(ctx, r.home, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer alone.unlock()
	inUse, err := lock(ctx, r.c.Dir, unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer inUse.unlock()
	if err := r.settle(); err != nil {
		return fmt.Errorf("complete the restore that was interrupted: %w", err)
	}
	sites, err := r.sites(ctx)
	if err != nil || len(sites) == 0 {
		return err
	}
	return r.stageAndSwap(ctx, sites)
}

// journal is what a restore writes down before it touches anything, so that it can be completed.
type journal struct {
	Checkpoint string `json:"checkpoint"`
	// Swapping is set when everything is staged and synced.
	Swapping bool    `json:"swapping"`
	Keep     bool    `json:"keep"`
	Sites    []*site `json:"sites"`
}

func (r *restoring) journalPath() string { return filepath.Join(r.home, "journal.json") }

func (r *restoring) write(j journal) error {
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(r.journalPath(), data, 0o600); err != nil {
		return fmt.Errorf("write the restore journal: %w", err)
	}
	return syncPath(r.home)
}

// settle deals with a restore that was killed: one that had begun to swap is completed, so
// that no path is left between two states; any other is cleaned up after.
func (r *restoring) settle() error {
	data, err := os.ReadFile(r.journalPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var j journal
	if err := json.Unmarshal(data, &j); err != nil {
		return fmt.Errorf("read %s: %w", r.journalPath(), err)
	}
	if j.Swapping {
		if err := r.swap(j); err != nil && !errors.Is(err, errLost) {
			return err
		}
	}
	if j.Checkpoint != r.c.ID {
		r.changes = Changes{}
	}
	return r.dispose(j)
}

func (r *restoring) stageAndSwap(ctx context.Context, sites []*site) (err error) {
	j := journal{Checkpoint: r.c.ID, Keep: r.keep, Sites: sites}
	if err := r.write(j); err != nil {
		return err
	}
	for _, st := range sites {
		if err := r.stage(ctx, st); err != nil {
			return errors.Join(fmt.Errorf("stage %s: %w", st.Path, err), r.dispose(j))
		}
	}
	j.Swapping = true
	if err := r.write(j); err != nil {
		return errors.Join(err, r.dispose(j))
	}
	if err := r.swap(j); err != nil {
		return err
	}
	return r.dispose(j)
}

// site is one path to restore.
type site struct {
	// Path as configured, Target with links resolved.
	Path   string `json:"path"`
	Target string `json:"target"`
	// Stage is a folder on the target's file system, closed to others.
	Stage string `json:"stage"`
	// Mount says that Target is a mount point, which cannot be renamed: its entries are swapped.
	Mount bool `json:"mount,omitempty"`
	// Gone says that the checkpoint does not have the path.
	Gone  bool   `json:"gone,omitempty"`
	Units []unit `json:"units,omitempty"`

	files    []File
	live     tree
	rootMeta File
}

// sites lists what differs from the checkpoint.
func (r *restoring) sites(ctx context.Context) ([]*site, error) {
	paths := r.c.Paths
	if len(r.only) > 0 {
		var err error
		if paths, err = cleanPaths(r.only); err != nil {
			return nil, err
		}
	}
	var sites []*site
	for _, p := range paths {
		st, err := r.site(ctx, p)
		if err != nil {
			return nil, err
		}
		if st == nil {
			if slices.Contains(r.changes.Restored, p) || slices.Contains(r.changes.Removed, p) {
				continue
			}
			r.changes.Unchanged = append(r.changes.Unchanged, p)
			continue
		}
		sites = append(sites, st)
	}
	return sites, nil
}

// site returns nil when the path holds the checkpoint's content already.
func (r *restoring) site(ctx context.Context, path string) (*site, error) {
	root := r.c.rootOf(path)
	if root == "" || leftOut(path, root, r.c.Exclude) {
		return nil, shivx.Hint(fmt.Errorf("%s is not part of the checkpoint", path),
			"it holds "+fmt.Sprint(r.c.Paths)+" without what state.exclude names")
	}
	st := &site{Path: path}
	if err := st.resolve(root); err != nil {
		return nil, err
	}
	for _, f := range r.c.Files {
		if within(f.Path, path) {
			st.files = append(st.files, f)
		}
	}
	st.Gone = len(st.files) == 0
	if err := st.live.walkFrom(ctx, root, path, st.Target, r.c.Exclude); err != nil {
		return nil, err
	}
	d, err := diff(ctx, st.files, st.live.entries, r.meter)
	if err != nil || len(d.Changes) == 0 {
		return nil, err
	}
	if !st.Gone {
		st.rootMeta = st.files[0]
	}
	return st, st.place(r.c.ID)
}

// resolve finds where the path really lies: a state path may be a link, what is below it may
// not lie behind one. Folders above a state path that vanished are made.
func (st *site) resolve(root string) error {
	real, err := filepath.EvalSymlinks(root)
	if errors.Is(err, fs.ErrNotExist) {
		dir := filepath.Dir(root)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if dir, err = filepath.EvalSymlinks(dir); err != nil {
			return err
		}
		real, err = filepath.Join(dir, filepath.Base(root)), nil
	}
	if err != nil {
		return err
	}
	st.Target = real + strings.TrimPrefix(st.Path, root)
	for dir := filepath.Dir(st.Target); within(dir, real); dir = filepath.Dir(dir) {
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			return shivx.Hint(fmt.Errorf("restore %s: %s is not a folder", st.Path, dir), "restore all of "+root)
		}
	}
	return nil
}

// place chooses the staging folder: beside the target, or inside it when it is a mount point.
func (st *site) place(id string) error {
	mounts, err := mountPoints("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m != st.Target && within(m, st.Target) {
			return shivx.Hint(fmt.Errorf("restore %s: another file system is mounted below it at %s", st.Path, m),
				"name the mounted folder as a path of its own in state.paths and exclude it from this one")
		}
	}
	st.Mount = slices.Contains(mounts, st.Target)
	base := filepath.Dir(st.Target)
	if st.Mount {
		info, err := os.Stat(st.Target)
		if err != nil || !info.IsDir() || st.rootMeta.Type == TypeFile {
			return shivx.Hint(errors.Join(fmt.Errorf("restore %s: it is a file mounted by itself, or a mount point that was a file", st.Path), err),
				"mount the folder that holds the file instead")
		}
		base = st.Target
	}
	st.Stage = filepath.Join(base, stagePrefix+keyHash(id+st.Path))
	return nil
}
