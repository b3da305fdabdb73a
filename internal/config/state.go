package config

import (
	"path/filepath"

	"github.com/bmatcuk/doublestar/v4"
)

// Globs returns Exclude as patterns on absolute paths, which Exclude stands for below each of Paths.
func (s State) Globs() []string {
	var globs []string
	for _, p := range s.Paths {
		root := filepath.Clean(p)
		for _, pattern := range s.Exclude {
			glob := globOf(root) + "/" + pattern
			// A pattern takes away what lies in a path, never the path itself: ** alone matches that, too.
			if whole, _ := doublestar.Match(glob, root); whole {
				glob += "/*"
			}
			globs = append(globs, glob)
		}
	}
	return globs
}
