package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/golden/store"
)

// Changes says what a restore did to each state path.
type Changes struct {
	// Restored paths hold the checkpoint's content now.
	Restored []string
	// Removed paths did not exist when the checkpoint was taken.
	Removed []string
	// Unchanged paths held the checkpoint's content already, or are not known to it as they could not be read
	// when it was taken.
	Unchanged []string
	// Kept folders hold the state from before the restore. There are some, whatever was asked for, where it
	// had files that could not be read.
	Kept []string
	// Files counts the files, folders and links that were written, Bytes the sizes of the files.
	Files, Bytes int64
}

// RestoreOption changes how a restore is done.
type RestoreOption func(*restoring)

// KeepOld keeps the state from before the restore in a folder beside each path.
func KeepOld() RestoreOption { return func(r *restoring) { r.keep = true } }

// Only restores the given paths, each a state path of the checkpoint or below one.
func Only(paths ...string) RestoreOption { return func(r *restoring) { r.only = paths } }

// restoreLock begins the name of the lock of who works on a component's files or folders of checkpoints.
const restoreLock = "restore-"

// restoring is one restore under way.
type restoring struct {
	keep     bool
	only     []string
	progress func(done, total int64)
	journal  string
	changes  Changes
}

// Restore puts the checkpoint's content back. Each path that differs is first built beside its target and
// verified, so that nothing is touched when any of it is damaged; then it is swapped in one step. What the
// checkpoint excluded stays as it is. A restore that was killed is completed or taken back by a second call,
// and by Settle. progress, which may be nil, is told bytes.
func (s *Store) Restore(ctx context.Context, c Checkpoint, progress func(done, total int64), opts ...RestoreOption) (Changes, error) {
	r := &restoring{progress: progress}
	for _, o := range opts {
		o(r)
	}
	if err := s.restore(ctx, c.ID, r); err != nil {
		return r.changes, fmt.Errorf("restore checkpoint %s: %w", c.ID, hinted(err))
	}
	return r.changes, nil
}

func (s *Store) restore(ctx context.Context, id string, r *restoring) error {
	g, c, release, err := s.use(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	unlock, err := s.lock(ctx, restoreLock+c.Component)
	if err != nil {
		return err
	}
	defer unlock()
	r.journal = filepath.Join(s.home, journalDir, c.Component)
	before, err := settle(ctx, r.journal)
	if err != nil {
		return fmt.Errorf("complete the restore that was interrupted: %w", err)
	}
	seen, err := s.see(stateOf(c))
	if err != nil {
		return err
	}
	sites, err := r.sites(ctx, g, c, seen, before)
	if err != nil || len(sites) == 0 {
		return err
	}
	p, err := partOf(ctx, g, sites)
	if err != nil {
		return err
	}
	for _, site := range sites {
		if slices.Contains(p.header.Missing, site.real) {
			r.changes.Removed = append(r.changes.Removed, site.path)
			continue
		}
		r.changes.Restored = append(r.changes.Restored, site.path)
	}
	return r.swap(ctx, p)
}

// sites lists what differs from the checkpoint.
func (r *restoring) sites(ctx context.Context, g *store.Golden, c Checkpoint, seen sight, before *settled) ([]site, error) {
	paths, err := c.Paths, error(nil)
	if len(r.only) > 0 {
		if paths, err = chosen(c, r.only); err != nil {
			return nil, err
		}
	}
	if err := seen.checkHeld(paths); err != nil {
		return nil, err
	}
	seen.exclude = c.Exclude
	delta, unread, err := compare(ctx, g, c.ID, seen)
	if err != nil {
		return nil, err
	}
	if before != nil && before.golden != g.Header().ID {
		before = nil
	}
	if before != nil {
		r.changes.Kept = before.kept
	}
	var sites []site
	for _, p := range paths {
		at, err := siteOf(c.Paths, p)
		switch {
		case len(delta.Within([]string{p}).Changes) > 0:
			if err != nil {
				return nil, err
			}
			sites = append(sites, at)
			// No checkpoint has what cannot be read, and somebody may be able to save some of it.
			r.keep = r.keep || slices.ContainsFunc(unread, func(bad string) bool { return format.Below(p, bad) })
		case before != nil && slices.Contains(before.paths, at.real):
			r.changes.Restored = append(r.changes.Restored, p)
		default:
			r.changes.Unchanged = append(r.changes.Unchanged, p)
		}
	}
	return sites, nil
}

// checkHeld refuses to restore paths that lie in another path of the checkpoint by now, which would take both.
func (s *sight) checkHeld(paths []string) error {
	for _, p := range paths {
		if !slices.ContainsFunc(s.paths, func(root string) bool { return format.Below(root, p) }) {
			return shivx.Hint(fmt.Errorf("%s leads to %s now, which belongs to another path of the state", p, place(p)),
				"have the link lead to where it led when the checkpoint was taken, or restore single paths")
		}
	}
	return nil
}

// chosen are the paths that were asked for by name, clean, in order, none inside another.
func chosen(c Checkpoint, only []string) ([]string, error) {
	var paths []string
	for _, p := range only {
		p = filepath.Clean(p)
		at := slices.IndexFunc(c.Paths, func(root string) bool { return format.Below(root, p) })
		if at < 0 || leftOut(p, c.Paths[at], c.Exclude) {
			return nil, shivx.Hint(fmt.Errorf("%s is not part of the checkpoint", p),
				"it holds "+strings.Join(c.Paths, ", ")+" without what state.exclude names")
		}
		// A folder on the way that is gone, or has become something else, cannot take it up.
		for dir := filepath.Dir(p); dir != filepath.Dir(c.Paths[at]) && p != c.Paths[at]; dir = filepath.Dir(dir) {
			above, err := siteOf(c.Paths, dir)
			if err != nil {
				return nil, err
			}
			if info, err := os.Lstat(above.real); err != nil || !info.IsDir() {
				return nil, shivx.Hint(fmt.Errorf("%s cannot be restored: %s is not a folder", p, dir), "restore all of "+c.Paths[at])
			}
		}
		paths = append(paths, p)
	}
	slices.SortFunc(paths, format.ComparePaths)
	paths = slices.Compact(paths)
	return slices.DeleteFunc(slices.Clone(paths), func(p string) bool {
		return slices.ContainsFunc(paths, func(q string) bool { return p != q && format.Below(q, p) })
	}), nil
}

// leftOut says whether path or a folder above it, below root, is excluded.
func leftOut(path, root string, exclude []string) bool {
	for p := path; p != root; p = filepath.Dir(p) {
		if matches(exclude, p) {
			return true
		}
	}
	return false
}

// swap stages the part and brings it into place.
func (r *restoring) swap(ctx context.Context, p *part) error {
	// Each block is verified as it is read, before anything is touched: a pass before that would be downtime.
	o := restore.Options{Journal: r.journal, KeepOld: r.keep, Checked: true}
	if r.progress != nil {
		o.Progress = func(p restore.Progress) { r.progress(p.Bytes, p.TotalBytes) }
	}
	st, err := restore.Stage(ctx, p, o)
	if err != nil {
		return err
	}
	if _, err := st.Swap(ctx); err != nil {
		return errors.Join(err, st.Undo(ctx), st.Close())
	}
	if err := st.Finish(ctx, r.keep); err != nil {
		return errors.Join(err, st.Close())
	}
	done := st.Changes()
	r.changes.Kept = append(r.changes.Kept, done.Kept...)
	r.changes.Files, r.changes.Bytes = done.Written.Entries, done.Written.Bytes
	return nil
}

// settled is a restore that was completed.
type settled struct {
	golden string
	paths  []string
	kept   []string
}

// settle deals with a restore that was killed: one that had begun to swap is completed, so that no path is
// left between two states; of any other nothing is left. The caller has the lock of the component.
func settle(ctx context.Context, journal string) (*settled, error) {
	list, err := restore.Pending(journal)
	if err != nil {
		return nil, err
	}
	var last *settled
	for _, j := range list {
		st, err := restore.Resume(ctx, j)
		if err != nil {
			return nil, err
		}
		finished := j.State == restore.StateFinishing
		if st.State() == restore.StateSwapped {
			finished, err = true, st.Finish(ctx, j.Keep)
		}
		if err = errors.Join(err, st.Close()); err != nil {
			return nil, err
		}
		if finished {
			last = &settled{golden: j.Golden, kept: st.Changes().Kept}
			for _, r := range j.Roots {
				last.paths = append(last.paths, string(r.Path))
			}
		}
	}
	return last, nil
}

// Settle completes, or takes back, every restore that was killed, so that no component's state is left between
// two. What another process is about to do is left to it.
func (s *Store) Settle(ctx context.Context) error {
	components, err := os.ReadDir(filepath.Join(s.home, journalDir))
	if err != nil {
		return fmt.Errorf("look for restores that were interrupted: %w", err)
	}
	var errs []error
	for _, d := range components {
		unlock, err := s.tryLock(restoreLock + d.Name())
		if errors.Is(err, errLocked) {
			continue
		}
		if err != nil {
			return err
		}
		done, err := settle(ctx, filepath.Join(s.home, journalDir, d.Name()))
		unlock()
		if err != nil {
			errs = append(errs, fmt.Errorf("end the restore of %s that was interrupted: %w", d.Name(), err))
		}
		if done != nil {
			s.log.Warn("a restore that was cut off is completed", "component", d.Name(), "paths", done.paths, "kept", done.kept)
		}
	}
	return errors.Join(errs...)
}
