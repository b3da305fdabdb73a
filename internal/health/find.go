package health

import (
	"path/filepath"

	"github.com/shivx/shivx/internal/config"
)

// Finder finds the process of a check, such as to measure it. It may be used by one goroutine at a time.
type Finder struct{ probe *processProbe }

// NewFinder returns a finder; root is where the host's file system is seen.
func NewFinder(c config.ProcessCheck, root string) (*Finder, error) {
	p, err := newProcessProbe(c, filepath.Join(root, defaultProc))
	if err != nil {
		return nil, err
	}
	return &Finder{p.(*processProbe)}, nil
}

// PID returns the id of the live process.
func (f *Finder) PID() (int, error) {
	found, err := f.probe.locate()
	return found.pid, err
}
