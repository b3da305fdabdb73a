package checkpoint

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
)

// wish is a path to restore.
type wish struct {
	// path is as it was asked for, name as the checkpoint has it: at or below root, which is one of its paths.
	path, name, root string
	// led is where links lead to on the way to the name; "": there are none.
	led string
}

// Held returns paths by the names that the checkpoint has of them, clean, in order, none inside another. A state path
// that links lead into another one is not among Paths, and what lies in it has its name there.
func (c Checkpoint) Held(paths []string) ([]string, error) {
	var names []string
	wanted, err := c.wishes(paths)
	for _, w := range wanted {
		names = append(names, w.name)
	}
	return names, err
}

// wishes are the paths that were asked for, in order, none inside another; none: all of the checkpoint.
func (c Checkpoint) wishes(only []string) ([]wish, error) {
	if len(only) == 0 {
		only = c.Paths
	}
	var all []wish
	for _, p := range only {
		p = filepath.Clean(p)
		w := c.named(p)
		if w.root == "" || leftOut(w.name, w.root, c.Exclude) {
			return nil, shivx.Hint(fmt.Errorf("%s is not part of the checkpoint", p),
				"it holds "+strings.Join(c.Paths, ", ")+" without what state.exclude names")
		}
		all = append(all, w)
	}
	slices.SortStableFunc(all, func(a, b wish) int {
		return cmp.Or(format.ComparePaths(a.name, b.name), strings.Compare(a.path, b.path))
	})
	var apart []wish
	for _, w := range all {
		if !slices.ContainsFunc(apart, func(q wish) bool { return format.Below(q.name, w.name) }) {
			apart = append(apart, w)
		}
	}
	return apart, nil
}

// named finds the name that the checkpoint has of a clean path; without a root: it has none. A link in the last part of
// the path is followed only when it has no name for the link itself.
func (c Checkpoint) named(path string) wish {
	w := wish{path: path, name: path}
	dir := filepath.Dir(path)
	above := place(dir)
	if at := slices.IndexFunc(c.Paths, func(p string) bool { return format.Below(p, path) }); at >= 0 {
		w.root = c.Paths[at]
		if path == w.root || above == place(w.root)+dir[len(w.root):] {
			return w // with no link on the way down from there
		}
	}
	itself, end := filepath.Join(above, filepath.Base(path)), place(path)
	for _, real := range []string{itself, end} {
		for _, root := range c.Paths {
			at := place(root)
			if !format.Below(at, real) {
				continue
			}
			w.name, w.root = root+real[len(at):], root
			w.led = w.name
			if real == itself && w.name != root {
				w.led = filepath.Dir(w.name)
			}
			return w
		}
	}
	return w
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

// Kept lists what restores have kept of what lay at a path before.
func Kept(path string) []string {
	var found []string
	real := place(path)
	for dir := filepath.Dir(real); ; dir = filepath.Dir(dir) {
		rest := strings.TrimPrefix(strings.TrimPrefix(real, dir), "/")
		// What is special in a pattern is escaped, so none is malformed.
		list, _ := filepath.Glob(filepath.Join(escapeGlob(dir), restore.KeptPrefix+"*", escapeGlob(rest)))
		found = append(found, list...)
		if dir == "/" {
			return found
		}
	}
}
