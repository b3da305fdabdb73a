package checkpoint

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

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
		err = s.locate(ctx, g, &seen, wanted)
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

// locate refuses a path that leads to what the checkpoint does not have, which a restore would remove, and finds
// places for what links of the state led to when that is gone.
func (s *Store) locate(ctx context.Context, g *store.Golden, seen *sight, wanted []wish) error {
	var look []string
	for _, w := range wanted {
		if w.led != "" {
			look = append(look, w.led)
		}
		if seen.gone(w.root) {
			look = append(look, w.root)
		}
	}
	if len(look) == 0 {
		return nil
	}
	had, err := devices(ctx, g, look)
	if err != nil {
		return err
	}
	h := g.Header()
	lacking := map[string]bool{}
	for _, n := range h.Skipped {
		lacking[n.Path] = true
	}
	for _, w := range wanted {
		_, there := had[w.led]
		if _, unknown := above(w.name, lacking); w.led != "" && !there && !unknown {
			return shivx.Hint(fmt.Errorf("%s leads to %s now, which the checkpoint does not have", w.path, w.name),
				"have it lead to where it led when the checkpoint was taken, or name what is to be restored without the link")
		}
		// What the checkpoint has nothing of need not be built.
		if device, there := had[w.root]; there && seen.gone(w.root) {
			if err := s.renew(seen, w.root, device); err != nil {
				return err
			}
		}
	}
	return nil
}

// devices returns the paths that a golden has something of, and the file system that lay on; 0: that is not known.
func devices(ctx context.Context, g *store.Golden, paths []string) (map[string]uint64, error) {
	had := map[string]uint64{}
	for e, err := range g.Entries(ctx) {
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			if had[p] == 0 && format.Below(p, e.Path) {
				had[p] = e.Hint.Device
			}
		}
	}
	return had, nil
}

// renew finds where what a link led to is built anew. It was removed if its folder is there, on the file system that
// it lay on itself. On another one it would come to lie beside the state, which is on what is not mounted.
func (s *Store) renew(seen *sight, root string, device uint64) error {
	to := beyond(root)
	var st unix.Stat_t
	if to == "" || device == 0 || unix.Stat(filepath.Dir(to), &st) != nil || st.Dev != device || seen.meets(root, to) {
		leads, err := os.Readlink(root)
		if err != nil {
			return err
		}
		return shivx.Hint(fmt.Errorf("%s is a link to %s, which is not there", root, leads),
			"mount the file system that "+leads+" lies on, have the link lead to where the state is to be, or, if it was removed, make an empty folder in its place")
	}
	if err := s.apart(to); err != nil {
		return err
	}
	seen.anew[root] = to
	return nil
}

// meets says whether a place lies in what another path of the state leads to, or holds that.
func (s *sight) meets(root, to string) bool {
	return slices.ContainsFunc(s.paths, func(p string) bool {
		at := place(p)
		if s.anew[p] != "" {
			at = s.anew[p]
		}
		return p != root && (format.Below(at, to) || format.Below(to, at))
	})
}

// mostLinks is how many links the kernel follows on a way.
const mostLinks = 40

// beyond follows a link that leads nowhere to the path that is not there; "": nor is the folder of that.
func beyond(path string) string {
	for range mostLinks {
		dir, base := filepath.Split(path)
		folder, err := filepath.EvalSymlinks(dir)
		if err != nil || base == "" || base == "." || base == ".." {
			return ""
		}
		path = filepath.Join(folder, base)
		to, err := os.Readlink(path)
		if err != nil {
			return path
		}
		if !strings.HasPrefix(to, "/") {
			to = folder + "/" + to // not cleaned: what .. means depends on the links before it
		}
		path = to
	}
	return ""
}
