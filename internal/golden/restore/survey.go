package restore

import (
	"context"

	"github.com/shivx/shivx/internal/golden/format"
)

// top is a root of the golden, or a path that was asked for by name.
type top struct {
	path           string
	typ            format.Type
	entries, bytes int64
}

// needs are what a golden's entries take.
type needs struct {
	tops []top
	// hashes are the blocks that are needed; nil: all.
	hashes []format.Hash
	// spread are the types that the golden has of the folders that are spread.
	spread map[string]format.Type
	// bytes are those of the files without their holes.
	bytes int64
}

// survey checks all entries and counts what they take at each site.
func (r *run) survey(ctx context.Context) (needs, error) {
	n := needs{spread: map[string]format.Type{}}
	if r.sel.only != nil {
		n.hashes = []format.Hash{}
		if err := r.note(ctx); err != nil {
			return n, err
		}
	}
	var s *site
	for it, err := range r.items(ctx) {
		if err != nil {
			return n, err
		}
		if it.above {
			continue
		}
		if it.top {
			s, _ = r.places.at(it.Path)
			r.places.use(s)
			n.tops = append(n.tops, top{path: it.Path, typ: it.Type})
		}
		if r.places.own.spread[it.Path] {
			n.spread[it.Path] = it.Type
		}
		t := &n.tops[len(n.tops)-1]
		t.entries++
		t.bytes += it.Size
		n.bytes += it.Stored()
		s.need(it.Entry)
		if n.hashes != nil {
			for i := range it.BlockCount() {
				n.hashes = append(n.hashes, it.Block(i))
			}
		}
	}
	return n, r.useAbsent(n.tops)
}
