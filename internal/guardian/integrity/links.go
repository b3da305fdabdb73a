package integrity

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/shivx/shivx"
)

// unfollowed is a root that is a symbolic link to what no root covers. Links are never followed, so that
// nobody can lead the watch elsewhere: of such a root the link alone is watched.
type unfollowed struct{ root, to string }

func (u unfollowed) Error() string {
	return fmt.Sprintf("the watched path %s is a link to %s, which is not watched", u.root, u.to)
}

func (u unfollowed) hint() string {
	return fmt.Sprintf("name %s beside %s in guardian.integrity.paths, or a folder above it", u.to, u.root)
}

// unfollowed returns the roots that are such links now.
func (s *scope) unfollowed() []unfollowed {
	var links []unfollowed
	var real []string // where the roots are themselves, whatever links lead to them
	for _, root := range s.roots {
		folder, err := filepath.EvalSymlinks(filepath.Dir(root))
		if err != nil {
			continue // it is not there
		}
		itself := filepath.Join(folder, filepath.Base(root))
		real = append(real, itself)
		if to, err := filepath.EvalSymlinks(root); err == nil && to != itself {
			links = append(links, unfollowed{root: root, to: to})
		}
	}
	return slices.DeleteFunc(links, func(u unfollowed) bool {
		return slices.ContainsFunc(real, func(root string) bool { return within(u.to, root) })
	})
}

// refuseLinks returns an error for such a path when the configuration names it for the first time. Later
// it is no error: whoever can put a link in the place of a folder must not stop the watch so.
func (w *Watch) refuseLinks() error {
	if !w.state.fresh && !w.state.trusted {
		return nil
	}
	var errs []error
	for _, u := range w.scope.unfollowed() {
		if w.state.fresh || !slices.Contains(w.base.Paths, u.root) {
			errs = append(errs, shivx.Hint(u, u.hint()))
		}
	}
	return errors.Join(errs...)
}

// tellLinks says so for paths that have become such links, and returns them.
func (w *Watch) tellLinks() (paths []string) {
	for _, u := range w.scope.unfollowed() {
		w.Logger.Error("nothing is watched behind a link", "error", u, "hint", u.hint())
		paths = append(paths, u.root)
	}
	return paths
}
