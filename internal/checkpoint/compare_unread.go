package checkpoint

import (
	"iter"
	"path/filepath"
	"slices"

	"github.com/shivx/shivx/internal/golden/format"
)

func unreadable(why string) string { return "it cannot be read: " + why }

// strike passes on the entries of the golden, and strikes their paths from those that are unknown.
func (j *join) strike(all iter.Seq2[*format.Entry, error]) iter.Seq2[*format.Entry, error] {
	return func(yield func(*format.Entry, error) bool) {
		for e, err := range all {
			if err == nil {
				delete(j.unknown, e.Path)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// settleUnread tells of live files that cannot be read. What the golden has of them counts as removed: nobody may
// take it for sound. What the golden lacks because it could not be read back then is not compared at all, as a
// restore leaves it alone. The paths returned are those that a restore would take away.
func (j *join) settleUnread(faults []format.Note) (unread []string) {
	why, told := map[string]string{}, map[string]bool{}
	for _, f := range faults {
		if _, unknown := above(f.Path, j.unknown); !unknown {
			why[f.Path] = unreadable(f.Why)
			unread = append(unread, f.Path)
		}
	}
	j.found = slices.DeleteFunc(j.found, func(c Change) bool {
		_, unknown := above(c.Path, j.unknown)
		return unknown
	})
	for i := range j.found {
		c := &j.found[i]
		at, bad := above(c.Path, why)
		if !bad {
			continue
		}
		told[at] = true
		switch c.Kind {
		case "":
			c.Kind, c.Detail = Changed, why[at]
		case Removed:
			c.Detail = why[at]
		case Added, Changed, Shrunk:
		}
	}
	for _, path := range unread {
		if !told[path] {
			j.found = append(j.found, Change{Path: path, Kind: Changed, Detail: why[path]})
		}
	}
	return unread
}

// above finds the path, or the nearest folder above it, that is in a map.
func above[V any](path string, in map[string]V) (string, bool) {
	for len(in) > 0 {
		if _, ok := in[path]; ok {
			return path, true
		}
		if path == "/" {
			break
		}
		path = filepath.Dir(path)
	}
	return "", false
}
