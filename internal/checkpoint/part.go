package checkpoint

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/golden/store"
)

// site is one path to restore.
type site struct {
	// path as configured, real with the link followed that the state path may be.
	path, real string
	// root is the state path that it is or lies below, and to is where that really lies.
	root, to string
}

// part is a golden of which only some paths are seen, as roots and where they really lie: so each of them is
// swapped in one step, and those that the golden does not have are removed.
type part struct {
	*store.Golden
	header format.Header
	sites  []site // in the order of where they lie
	// turned says that the sites lie in another order than their paths.
	turned bool
	// away are files of which a hard link comes before them, or that are not part of it at all; names is the
	// first such link, which stands for the file.
	away  map[string]*format.Entry
	names map[string]string
}

var _ restore.Golden = (*part)(nil)

// partOf returns the part of a golden with the sites.
func partOf(ctx context.Context, g *store.Golden, sites []site) (*part, error) {
	p := &part{Golden: g, header: g.Header(), sites: slices.Clone(sites), names: map[string]string{}}
	slices.SortFunc(p.sites, func(a, b site) int { return format.ComparePaths(a.path, b.path) })
	p.turned = !slices.IsSortedFunc(p.sites, func(a, b site) int { return format.ComparePaths(a.real, b.real) })
	slices.SortFunc(p.sites, func(a, b site) int { return format.ComparePaths(a.real, b.real) })
	there := map[string]bool{}
	for e, err := range g.Entries(ctx) {
		if err != nil {
			return nil, err
		}
		s := p.site(e.Path)
		if s == nil {
			continue
		}
		there[s.path] = there[s.path] || s.path == e.Path
		if e.Type == format.TypeHardlink && p.precedes(e.Path, e.Link) && (p.names[e.Link] == "" || p.precedes(e.Path, p.names[e.Link])) {
			p.names[strings.Clone(e.Link)] = strings.Clone(e.Path)
		}
	}
	p.describe(there)
	return p, p.fetch(ctx)
}

// describe makes the header of the part.
func (p *part) describe(there map[string]bool) {
	h := &p.header
	h.Roots, h.Missing = nil, nil
	for _, s := range p.sites {
		h.Roots = append(h.Roots, s.real)
		if !there[s.path] {
			h.Missing = append(h.Missing, s.real)
		}
	}
	h.Exclude = slices.Clone(h.Exclude)
	h.Skipped = slices.Clone(h.Skipped)
	moved := map[string]bool{} // state paths whose patterns hold where they lead to
	for _, s := range p.sites {
		if s.root != s.to && !moved[s.root] {
			moved[s.root] = true
			h.Exclude = append(h.Exclude, translate(h.Exclude, s.root, s.to)...)
		}
	}
	for i, n := range h.Skipped {
		h.Skipped[i].Path = p.real(n.Path)
	}
}

// precedes says whether an entry of the part comes before another one of the golden, which need not be part of it.
func (p *part) precedes(path, other string) bool {
	return p.site(other) == nil || format.ComparePaths(p.real(path), p.real(other)) < 0
}

// fetch reads the files that hard links stand for.
func (p *part) fetch(ctx context.Context) error {
	if len(p.names) == 0 {
		return nil
	}
	p.away = map[string]*format.Entry{}
	for e, err := range p.Golden.Entries(ctx) {
		if err != nil {
			return err
		}
		if p.names[e.Path] != "" {
			p.away[strings.Clone(e.Path)] = cloneEntry(e)
		}
	}
	for path, name := range p.names {
		if p.away[path] == nil {
			return fmt.Errorf("%w: %s is another name of what is not there", ErrDamaged, name)
		}
	}
	return nil
}

// cloneEntry makes a copy that outlives the next entry.
func cloneEntry(e *format.Entry) *format.Entry {
	c := *e
	c.Blocks, c.Xattrs, c.Data = slices.Clone(e.Blocks), cloneXattrs(e.Xattrs), slices.Clone(e.Data)
	return &c
}

func cloneXattrs(list []format.Xattr) []format.Xattr {
	list = slices.Clone(list)
	for i := range list {
		list[i].Value = slices.Clone(list[i].Value)
	}
	return list
}

// site returns the site of a path of the golden, nil if it is none of the part.
func (p *part) site(path string) *site {
	for i := range p.sites {
		if format.Below(p.sites[i].path, path) {
			return &p.sites[i]
		}
	}
	return nil
}

// real is where a path of the golden lies.
func (p *part) real(path string) string {
	if s := p.site(path); s != nil {
		return s.real + path[len(s.path):]
	}
	return path
}

// Header returns that of the part.
func (p *part) Header() format.Header { return p.header }

// Entries yields those of the part, in the order of where they lie.
func (p *part) Entries(ctx context.Context) iter.Seq2[*format.Entry, error] {
	return func(yield func(*format.Entry, error) bool) {
		if !p.turned {
			p.pass(ctx, nil, yield)
			return
		}
		for i := range p.sites {
			if !p.pass(ctx, &p.sites[i], yield) {
				return
			}
		}
	}
}

// pass yields the entries of one site, or of all if it is nil.
func (p *part) pass(ctx context.Context, only *site, yield func(*format.Entry, error) bool) bool {
	var moved format.Entry
	for e, err := range p.Golden.Entries(ctx) {
		if err != nil {
			yield(nil, err)
			return false
		}
		s := p.site(e.Path)
		if s == nil || only != nil && s != only {
			continue
		}
		moved = *e
		p.relink(e, &moved)
		moved.Path = s.real + e.Path[len(s.path):]
		if !yield(&moved, nil) {
			return false
		}
	}
	return true
}

// relink has a hard link lead to where its file lies, or stand for that file, which becomes a link to it then.
func (p *part) relink(e, moved *format.Entry) {
	file := e.Path
	if e.Type == format.TypeHardlink {
		file = e.Link
	}
	switch first := p.names[file]; {
	case first != "" && first == e.Path:
		*moved = *p.away[file]
	case first != "":
		*moved = format.Entry{Type: format.TypeHardlink, Link: p.real(first)}
	case e.Type == format.TypeHardlink:
		moved.Link = p.real(file)
	}
}
