package restore

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// item is an entry that is to be restored.
type item struct {
	*format.Entry
	// above says that it is only a folder above what was asked for.
	above bool
	// top says that it is a root, or was asked for by name.
	top bool
}

// selection is what of a golden is to be restored.
type selection struct {
	only []string
	// elsewhere are files that were not asked for but that a hard link is another name of which was.
	elsewhere map[string]bool
}

func newSelection(h format.Header, only []string) (selection, error) {
	var s selection
	for _, p := range only {
		if err := format.CheckPath(p); err != nil {
			return s, err
		}
		if !slices.ContainsFunc(h.Roots, func(root string) bool { return format.Below(root, p) }) {
			return s, shivx.Hint(fmt.Errorf("%s is not in golden %s", p, h.ID), "its roots are "+strings.Join(h.Roots, ", "))
		}
		s.only = append(s.only, p)
	}
	slices.SortFunc(s.only, format.ComparePaths)
	s.only = slices.Compact(s.only)
	s.only = slices.DeleteFunc(slices.Clone(s.only), func(p string) bool {
		return slices.ContainsFunc(s.only, func(q string) bool { return p != q && format.Below(q, p) })
	})
	return s, nil
}

// holds says whether path was asked for, and whether by name.
func (s *selection) holds(path string) (in, top bool) {
	for _, p := range s.only {
		if format.Below(p, path) {
			return true, p == path
		}
	}
	return false, false
}

// above says whether path is a folder above something that was asked for.
func (s *selection) above(path string) bool {
	return slices.ContainsFunc(s.only, func(p string) bool { return p != path && format.Below(path, p) })
}

// items yields the entries to be restored in order, each checked. A golden's signature says who
// wrote it, not that he meant well: what could lead out of the roots is refused here again.
func (r *run) items(ctx context.Context) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		seq := format.Sequence{Roots: r.h.Roots}
		pick := picker{sel: &r.sel, roots: r.h.Roots}
		for e, err := range r.g.Entries(ctx) {
			if err == nil {
				err = seq.Next(e)
			}
			if err == nil {
				err = r.checkEntry(e)
			}
			if err != nil {
				yield(item{}, err)
				return
			}
			if r.places.own.holds(e.Path) {
				continue
			}
			it, ok := pick.next(e)
			if ok && it.Type == format.TypeHardlink && r.places.own.holds(it.Link) {
				yield(item{}, shivx.Hint(fmt.Errorf("restore %s: it is one file with %s, which ShivX itself works with", it.Path, it.Link),
					"restore it to another folder with --to"))
				return
			}
			if ok && !yield(it, nil) {
				return
			}
		}
		if err := pick.missed(r.h.Set, r.h.ID); err != nil {
			yield(item{}, err)
		}
	}
}

// picker chooses from the entries of one pass.
type picker struct {
	sel   *selection
	roots []string
	found []string
	// kept are entries that hard links stand for, given what new name each has.
	kept  map[string]*format.Entry
	named map[string]string
	last  format.Entry
}

func (p *picker) next(e *format.Entry) (item, bool) {
	if p.sel.only == nil {
		return item{Entry: e, top: slices.Contains(p.roots, e.Path)}, true
	}
	in, top := p.sel.holds(e.Path)
	switch {
	case !in && p.sel.elsewhere[e.Path]:
		if p.kept == nil {
			p.kept, p.named = map[string]*format.Entry{}, map[string]string{}
		}
		p.kept[e.Path] = cloneEntry(&format.Entry{}, e)
		return item{}, false
	case !in:
		return item{Entry: e, above: true}, e.Type == format.TypeDir && p.sel.above(e.Path)
	case e.Type == format.TypeHardlink && !p.holds(e.Link):
		e = p.standIn(e)
	}
	if top {
		p.found = append(p.found, e.Path)
	}
	return item{Entry: e, top: top}, true
}

func (p *picker) holds(path string) bool {
	in, _ := p.sel.holds(path)
	return in
}

// standIn returns for a hard link to a file that was not asked for that file under the link's name.
// On the first pass it is not known yet, and noted.
func (p *picker) standIn(e *format.Entry) *format.Entry {
	if name := p.named[e.Link]; name != "" {
		p.last = *e
		p.last.Link = name
		return &p.last
	}
	target := p.kept[e.Link]
	if target == nil {
		if p.sel.elsewhere == nil {
			p.sel.elsewhere = map[string]bool{}
		}
		p.sel.elsewhere[e.Link] = true
		return e
	}
	p.named[e.Link] = e.Path
	p.last = *target
	p.last.Path = e.Path
	return &p.last
}

// missed says which paths were asked for and are not there.
func (p *picker) missed(set, id string) error {
	for _, path := range p.sel.only {
		if !slices.Contains(p.found, path) {
			return shivx.Hint(fmt.Errorf("%s is not in golden %s", path, id), "list what it holds with: shivx golden browse "+set+"/"+id)
		}
	}
	return nil
}

// mostName is the longest name that Linux allows, in bytes.
const mostName = 255

// checkEntry refuses what could do harm or cannot be made, beyond what the parser refuses.
func (r *run) checkEntry(e *format.Entry) error {
	bad := func(what string) error {
		return fmt.Errorf("%w: entry %q: %s", format.ErrDamaged, e.Path, what)
	}
	if err := format.CheckPath(e.Path); err != nil {
		return fmt.Errorf("%w: %w", format.ErrDamaged, err)
	}
	if len(e.Path)-strings.LastIndexByte(e.Path, '/')-1 > mostName {
		return bad("its name is too long")
	}
	if e.Mode > 0o7777 || e.UID == ^uint32(0) || e.GID == ^uint32(0) {
		return bad("impossible mode or owner")
	}
	switch e.Type {
	case format.TypeDir, format.TypeFIFO, format.TypeSymlink:
	case format.TypeHardlink:
		inside := slices.ContainsFunc(r.h.Roots, func(root string) bool { return format.Below(root, e.Link) })
		if !inside || format.CheckPath(e.Link) != nil || format.ComparePaths(e.Link, e.Path) >= 0 {
			return bad("a hard link to what does not come before it")
		}
	case format.TypeFile:
		return checkData(e, bad)
	default:
		return bad("unknown type " + string(e.Type))
	}
	return nil
}

func checkData(e *format.Entry, bad func(string) error) error {
	if n := e.BlockCount(); e.Size < 0 || n != len(e.Blocks) && (n > 1 || len(e.Blocks) != 0) {
		return bad("its size does not fit its blocks")
	}
	end := int64(0)
	for _, x := range e.Data {
		if x.Length <= 0 || x.Offset < end || x.Length > e.Size-x.Offset {
			return bad("its data lies outside of it")
		}
		end = x.Offset + x.Length
	}
	return nil
}

// cloneEntry makes dst a copy of e that outlives it, in dst's own slices where they are long enough.
func cloneEntry(dst, e *format.Entry) *format.Entry {
	blocks, data, xattrs := dst.Blocks, dst.Data, dst.Xattrs
	*dst = *e
	dst.Blocks, dst.Data, dst.Xattrs = nil, nil, nil
	if e.Blocks != nil {
		dst.Blocks = append(blocks[:0], e.Blocks...)
	}
	if e.Data != nil {
		dst.Data = append(data[:0], e.Data...)
		if dst.Data == nil {
			dst.Data = []format.Extent{}
		}
	}
	if len(e.Xattrs) > 0 {
		dst.Xattrs = append(xattrs[:0], e.Xattrs...)
		for i := range dst.Xattrs {
			dst.Xattrs[i].Value = slices.Clone(e.Xattrs[i].Value)
		}
	}
	return dst
}
