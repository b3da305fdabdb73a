package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// guards are the paths that a restore leaves alone whatever the golden says of them: what it needs itself
// to go on after a kill, and to be repeated. All are paths as the golden has them.
type guards struct {
	// closed stay with all that is in them.
	closed []string
	// stay are folders that stay, and what the golden does not have of their children stays in them.
	stay []string
	// spread are folders that cannot be exchanged: their children are, each by itself.
	spread map[string]bool
}

// guard finds what of the guarded paths lies in the roots, and refuses to restore what lies in a closed one.
// All folders above a guarded path are spread, so that none of them is moved.
func (p *places) guard(o Options) error {
	for _, path := range o.Protect {
		real, err := p.guardLinks(path)
		if err != nil {
			return err
		}
		if err := p.checkOpen(real, o.Only); err != nil {
			return err
		}
		p.closeOff(real)
	}
	for _, path := range o.Stay {
		real, err := p.guardLinks(path)
		if err != nil {
			return err
		}
		info, err := os.Lstat(real)
		if err != nil || !info.IsDir() {
			continue // there is nothing to lose yet
		}
		if r := p.rootOf(real); r != nil {
			p.own.stay = append(p.own.stay, p.logical(real))
			p.spreadTo(r, real)
		}
	}
	return nil
}

// guardLinks returns where a path leads, and has the links on the way to it stay.
func (p *places) guardLinks(path string) (string, error) {
	var links []string
	real, err := follow(path, func(link string, _ os.FileInfo) error {
		links = append(links, link)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("find %s, which no restore may move: %w", path, err)
	}
	for _, link := range links {
		if err := p.checkOpen(link, nil); err != nil {
			return "", err
		}
		p.closeOff(link)
	}
	return real, nil
}

// checkOpen refuses roots, and paths that were asked for, that are a closed path or lie in it.
func (p *places) checkOpen(real string, only []string) error {
	refused := func(path string) error {
		return shivx.Hint(fmt.Errorf("restore %s: it is or lies in %s, which ShivX itself works with", path, real),
			"restore it to another folder with --to")
	}
	for _, r := range p.roots {
		if format.Below(real, string(r.Real)) {
			return refused(string(r.Path))
		}
	}
	for _, path := range only {
		if format.Below(real, p.real(path)) {
			return refused(path)
		}
	}
	return nil
}

// closeOff has a path stay, if it is there, with all that is in it.
func (p *places) closeOff(real string) {
	if _, err := os.Lstat(real); err != nil {
		return // there is nothing to lose yet
	}
	if r := p.rootOf(real); r != nil {
		p.own.closed = append(p.own.closed, p.logical(real))
		p.spreadTo(r, filepath.Dir(real))
	}
}

// rootOf returns the root that is a real path or lies above it.
func (p *places) rootOf(real string) *root {
	for i := range p.roots {
		if format.Below(string(p.roots[i].Real), real) {
			return &p.roots[i]
		}
	}
	return nil
}

// spreadTo notes that a root and the folders in it on the way to a folder are spread.
func (p *places) spreadTo(r *root, real string) {
	for ; format.Below(string(r.Real), real); real = filepath.Dir(real) {
		if p.own.spread == nil {
			p.own.spread = map[string]bool{}
		}
		p.own.spread[p.logical(real)] = true
	}
}

// holds says whether a path of the golden is closed.
func (g *guards) holds(path string) bool {
	return slices.ContainsFunc(g.closed, func(own string) bool { return format.Below(own, path) })
}

// keeps says whether a live path that the golden does not have stays.
func (g *guards) keeps(path string) bool {
	if len(g.closed)+len(g.stay) == 0 {
		return false
	}
	return slices.Contains(g.closed, path) || slices.Contains(g.stay, path) || slices.Contains(g.stay, filepath.Dir(path))
}

// in returns a guarded path that is or lies in path, "" if there is none.
func (g *guards) in(path string) string {
	for _, own := range slices.Concat(g.closed, g.stay) {
		if format.Below(path, own) {
			return own
		}
	}
	return ""
}
