package config

import (
	"path/filepath"
	"strings"

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

// checkState refuses paths that hold paths.var, as far as names tell: each checkpoint would hold those before it, and
// a restore would put the checkpoints and the ledgers back as well.
func (d *decoder) checkState(s *State) {
	vars := d.cfg.Paths.Var
	for i, p := range s.Paths {
		if filepath.IsAbs(p) && strings.HasPrefix(vars+"/", strings.TrimSuffix(filepath.Clean(p), "/")+"/") {
			d.add(d.at(&s.Paths[i]), "paths.var lies in it, with the checkpoints themselves",
				"name only what the component itself writes to, or move \"paths.var\" elsewhere")
		}
	}
}
