package restore

import (
	"iter"
	"path/filepath"
)

// Places yields where what is staged will lie, and where it lies now.
func (s *Staged) Places() iter.Seq2[string, string] {
	return func(yield func(live, at string) bool) {
		for _, t := range s.tops {
			if !yield(t.path, filepath.Join(string(t.site.Base), string(t.site.Stage), comingDir, t.name)) {
				return
			}
		}
	}
}
