package checkpoint

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/golden/store"
)

// Check says whether Restore would refuse the checkpoint, as far as the paths tell: nobody need stop a service for
// that. It changes nothing. Whether there is room, and whether all of the checkpoint is whole, it does not say.
func (s *Store) Check(ctx context.Context, c Checkpoint, opts ...RestoreOption) error {
	r := &restoring{}
	for _, o := range opts {
		o(r)
	}
	if err := s.check(ctx, c.ID, r.only); err != nil {
		return fmt.Errorf("restore checkpoint %s: %w", c.ID, hinted(err))
	}
	return nil
}

func (s *Store) check(ctx context.Context, id string, only []string) error {
	g, c, release, err := s.use(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	// One that was cut off has left the paths between two states, and is completed first.
	pending, err := restore.Pending(filepath.Join(s.home, journalDir, c.Component))
	if err != nil || len(pending) > 0 {
		return err
	}
	_, _, err = s.aim(ctx, g, c, only)
	return err
}

// aim returns the state as it lies now, and the paths to restore if they differ; none given: all.
func (s *Store) aim(ctx context.Context, g *store.Golden, c Checkpoint, only []string) (sight, []site, error) {
	seen, err := s.see(stateOf(c))
	if err != nil {
		return seen, nil, err
	}
	wanted, err := c.wishes(only)
	if err == nil {
		err = seen.checkHeld(wanted)
	}
	if err == nil {
		err = seen.checkLed(ctx, g, wanted)
	}
	var sites []site
	for _, w := range wanted {
		if err == nil {
			err = seen.checkAbove(w)
		}
		sites = append(sites, seen.site(w.name))
	}
	return seen, sites, err
}

// checkHeld refuses to restore paths that lie in another path of the checkpoint by now, which would take both.
func (s *sight) checkHeld(wanted []wish) error {
	for _, w := range wanted {
		if !slices.ContainsFunc(s.paths, func(root string) bool { return format.Below(root, w.name) }) {
			return shivx.Hint(fmt.Errorf("%s leads to %s now, which belongs to another path of the state", w.name, place(w.name)),
				"have the link lead to where it led when the checkpoint was taken, or restore single paths")
		}
	}
	return nil
}

// checkAbove refuses a path of which a folder on the way is gone, or has become something else.
func (s *sight) checkAbove(w wish) error {
	for dir := filepath.Dir(w.name); format.Below(w.root, dir); dir = filepath.Dir(dir) {
		if info, err := os.Lstat(s.site(dir).real); err != nil || !info.IsDir() {
			return shivx.Hint(fmt.Errorf("%s cannot be restored: %s is not a folder", w.name, dir), "restore all of "+w.root)
		}
	}
	return nil
}

// checkLed refuses a path that leads to what the checkpoint does not have, which a restore would remove, and one whose
// link leads nowhere: what was built there would take the place of the link, on another file system than the one that
// is missing.
func (s *sight) checkLed(ctx context.Context, g *store.Golden, wanted []wish) error {
	var look []string
	for _, w := range wanted {
		if w.led != "" {
			look = append(look, w.led)
		}
		if s.gone(w.root) {
			look = append(look, w.root)
		}
	}
	if len(look) == 0 {
		return nil
	}
	had, err := holding(ctx, g, look)
	if err != nil {
		return err
	}
	h := g.Header()
	lacking := map[string]bool{}
	for _, n := range h.Skipped {
		lacking[n.Path] = true
	}
	for _, w := range wanted {
		if _, unknown := above(w.name, lacking); w.led != "" && !had[w.led] && !unknown {
			return shivx.Hint(fmt.Errorf("%s leads to %s now, which the checkpoint does not have", w.path, w.name),
				"have it lead to where it led when the checkpoint was taken, or name what is to be restored without the link")
		}
		// What the checkpoint has nothing of need not be built.
		if had[w.root] && s.gone(w.root) {
			return leadsNowhere(w.root)
		}
	}
	return nil
}

// holding returns those of the paths that a golden has something of.
func holding(ctx context.Context, g *store.Golden, paths []string) (map[string]bool, error) {
	had := map[string]bool{}
	for e, err := range g.Entries(ctx) {
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			if format.Below(p, e.Path) {
				had[p] = true
			}
		}
	}
	return had, nil
}

// leadsNowhere says where a link led to that leads to nothing.
func leadsNowhere(root string) error {
	leads, err := os.Readlink(root)
	if err != nil {
		return err
	}
	return shivx.Hint(fmt.Errorf("%s is a link to %s, which is not there", root, leads),
		"mount the file system that "+leads+" lies on, have the link lead to where the state is to be, or, if it was removed, make an empty folder in its place")
}
