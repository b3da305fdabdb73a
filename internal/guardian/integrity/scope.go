package integrity

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/shivx/shivx"
)

// scope says what is watched.
type scope struct {
	// roots are the configured paths, cleaned and sorted.
	roots   []string
	exclude []string
	// own is the baseline's folder; its files are checked in another way.
	own string
	// nested is true when a root lies within another.
	nested bool
}

func newScope(paths, exclude []string, own string) (*scope, error) {
	s := &scope{own: own, exclude: slices.Clone(exclude)}
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			return nil, shivx.Hint(fmt.Errorf("watched path %q is not absolute", p), "write the whole path")
		}
		s.roots = append(s.roots, filepath.Clean(p))
	}
	for _, p := range exclude {
		if !doublestar.ValidatePattern(p) {
			return nil, shivx.Hint(fmt.Errorf("%q is not a glob pattern", p), "see integrity.exclude in docs/CONFIG.md")
		}
	}
	slices.Sort(s.roots)
	s.roots = slices.Compact(s.roots)
	s.nested = len(outermost(s.roots)) < len(s.roots)
	return s, nil
}

// same says whether two scopes watch the same.
func (s *scope) same(paths, exclude []string) bool {
	return slices.Equal(s.roots, paths) && slices.Equal(s.exclude, exclude)
}

// within says whether path is root or lies below it.
func within(path, root string) bool {
	return path == root || root == "/" || strings.HasPrefix(path, root) && path[len(root)] == '/'
}

// owner is the root that has the path in its part of the tree: the first that covers it. So what lies
// below two of them is met once.
func (s *scope) owner(path string) (root string, ok bool) {
	for _, root := range s.roots {
		if within(path, root) && !s.excluded(path, root) {
			return root, true
		}
	}
	return "", false
}

// covers says whether the path is watched.
func (s *scope) covers(path string) bool {
	_, ok := s.owner(path)
	return ok
}

// holds says whether an entry met on a walk from the root is to be looked at; what lies above it is.
func (s *scope) holds(path, root string) bool {
	if s.nested {
		owner, ok := s.owner(path)
		return ok && owner == root
	}
	if within(path, s.own) {
		return false
	}
	return path == root || len(s.exclude) == 0 || !s.matches(strings.TrimPrefix(strings.TrimPrefix(path, root), "/"))
}

// excluded says whether the path, or a folder above it up to the root, is excluded.
func (s *scope) excluded(path, root string) bool {
	if within(path, s.own) {
		return true
	}
	if path == root || len(s.exclude) == 0 {
		return false
	}
	rel := strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
	for i := 0; i < len(rel); i++ {
		if rel[i] == '/' && s.matches(rel[:i]) {
			return true
		}
	}
	return s.matches(rel)
}

func (s *scope) matches(rel string) bool {
	return slices.ContainsFunc(s.exclude, func(p string) bool {
		ok, _ := doublestar.Match(p, rel)
		return ok
	})
}

// start is where a walk begins: at a path within a root, whose patterns hold for it.
type start struct{ root, path string }

// starts are where to begin to meet all that is watched at and below the paths.
func (s *scope) starts(paths []string) []start {
	var starts []start
	for _, root := range s.roots {
		var at []string
		for _, p := range paths {
			switch {
			case within(root, p):
				at = append(at, root)
			case within(p, root) && !s.excluded(p, root):
				at = append(at, p)
			}
		}
		for _, p := range outermost(at) {
			starts = append(starts, start{root: root, path: p})
		}
	}
	return starts
}

// outermost sorts paths and leaves out those within another.
func outermost(paths []string) []string {
	set := make(map[string]bool, len(paths))
	for _, p := range paths {
		set[p] = true
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(set)), func(p string) bool {
		for p != "/" {
			if p = filepath.Dir(p); set[p] {
				return true
			}
		}
		return false
	})
}

// above says whether the path is a folder on the way to a root.
func (s *scope) above(path string) (roots []string) {
	for _, root := range s.roots {
		if root != path && within(root, path) {
			roots = append(roots, root)
		}
	}
	return roots
}
