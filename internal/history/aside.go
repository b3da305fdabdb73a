package history

import (
	"os"
	"path/filepath"
)

const (
	asideFolder = "aside"
	keptAside   = 3
)

// setAside moves parts of the folder out of the way and says whether there were any. The oldest
// of what was set aside earlier is removed.
func (h *History) setAside(what string, cause error, names ...string) bool {
	place, moved := "", false
	for _, name := range names {
		from := filepath.Join(h.dir, name)
		if _, err := os.Stat(from); err != nil {
			continue
		}
		if place == "" {
			var err error
			if place, err = h.newAside(); err != nil {
				h.log.Error("a part of the metric history could not be set aside", "what", what, "error", err)
				return false
			}
		}
		if err := os.Rename(from, filepath.Join(place, name)); err != nil {
			h.log.Error("a part of the metric history could not be set aside", "what", from, "error", err)
			continue
		}
		moved = true
	}
	if moved {
		h.log.Error("a part of the metric history was set aside", "what", what, "where", place, "error", cause)
	}
	return moved
}

// newAside makes a folder for what is set aside.
func (h *History) newAside() (string, error) {
	top := filepath.Join(h.dir, asideFolder)
	if old, err := os.ReadDir(top); err == nil && len(old) >= keptAside {
		// ReadDir sorts by name, which begins with the time.
		for _, e := range old[:len(old)-keptAside+1] {
			if err := os.RemoveAll(filepath.Join(top, e.Name())); err != nil {
				return "", err
			}
		}
	}
	if err := os.MkdirAll(top, 0o750); err != nil {
		return "", err
	}
	return os.MkdirTemp(top, h.o.now().UTC().Format("20060102T150405Z-"))
}
