package format

import (
	"fmt"
	"slices"
	"strings"
)

// A Sequence checks that entries follow one another as they must, so that each can be made where its
// path says: in the order of ComparePaths, none twice, each a root or in a folder that is an entry
// before it. So nothing is ever made behind a symbolic link. The zero value with its Roots is ready.
type Sequence struct {
	// Roots are those of the header.
	Roots []string

	last string
	// dirs are the lengths of the parts of last that are entries of folders.
	dirs []int
}

// Next checks the next entry; the error is ErrDamaged.
func (s *Sequence) Next(e *Entry) error {
	if s.last != "" && ComparePaths(s.last, e.Path) >= 0 {
		return fmt.Errorf("%w: entry %q follows %q", ErrDamaged, e.Path, s.last)
	}
	for len(s.dirs) > 0 && !Below(s.last[:s.dirs[len(s.dirs)-1]], e.Path) {
		s.dirs = s.dirs[:len(s.dirs)-1]
	}
	slash := max(strings.LastIndexByte(e.Path, '/'), 1)
	inside := len(s.dirs) > 0 && s.dirs[len(s.dirs)-1] == slash
	if !inside && !slices.Contains(s.Roots, e.Path) {
		return fmt.Errorf("%w: entry %q is no root, and its folder is not before it", ErrDamaged, e.Path)
	}
	s.last = e.Path
	if e.Type == TypeDir {
		s.dirs = append(s.dirs, len(e.Path))
	}
	return nil
}
