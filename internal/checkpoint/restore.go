package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

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
	// Unchanged paths held the checkpoint's content already.
	Unchanged []string
	// Unknown paths are left as they are: the checkpoint has nothing of them, as they could not be read when it
	// was taken.
	Unknown []string
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

// Only restores the given paths, each a state path of the checkpoint or below one, or led there by links.
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
	seen, sites, err := s.aim(ctx, g, c, r.only)
	if err != nil {
		return err
	}
	if sites, err = r.differing(ctx, g, c, seen, sites, before); err != nil || len(sites) == 0 {
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

// differing returns those of the sites that differ from the checkpoint.
func (r *restoring) differing(ctx context.Context, g *store.Golden, c Checkpoint, seen sight, all []site, before *settled) ([]site, error) {
	seen.exclude = c.Exclude
	found, err := compare(ctx, g, c.ID, seen)
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
	for _, at := range all {
		_, unknown := above(at.path, found.unknown)
		switch {
		case len(found.delta.Within([]string{at.path}).Changes) > 0:
			sites = append(sites, at)
			// No checkpoint has what cannot be read, and somebody may be able to save some of it.
			r.keep = r.keep || slices.ContainsFunc(found.unread, func(bad string) bool { return format.Below(at.path, bad) })
		case before != nil && slices.Contains(before.paths, at.real):
			r.changes.Restored = append(r.changes.Restored, at.path)
		case unknown:
			r.changes.Unknown = append(r.changes.Unknown, at.path)
		default:
			r.changes.Unchanged = append(r.changes.Unchanged, at.path)
		}
	}
	return sites, nil
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
