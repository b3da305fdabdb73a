package golden

import (
	"context"
	"path"
	"slices"

	"github.com/shivx/shivx/internal/golden/format"
)

// Header returns what a golden says of itself.
func (e *Engine) Header(ctx context.Context, ref Ref) (format.Header, error) {
	s, g, err := e.find(ctx, ref)
	if err != nil {
		return format.Header{}, err
	}
	defer s.Close()
	return g.Header(), nil
}

// Browse calls fn for the entries in a folder of a golden, or for all below it if deep is set; "" stands for
// the roots. An entry is only valid until fn returns.
func (e *Engine) Browse(ctx context.Context, ref Ref, folder string, deep bool, fn func(*format.Entry) error) error {
	s, g, err := e.find(ctx, ref)
	if err != nil {
		return err
	}
	defer s.Close()
	roots := g.Header().Roots
	for entry, err := range g.Entries(ctx) {
		if err != nil {
			return err
		}
		if !inFolder(entry.Path, folder, roots, deep) {
			continue
		}
		if err := fn(entry); err != nil {
			return err
		}
	}
	return nil
}

func inFolder(p, folder string, roots []string, deep bool) bool {
	switch {
	case folder == "" && deep:
		return true
	case folder == "":
		return slices.Contains(roots, p)
	case deep:
		return format.Below(folder, p)
	}
	return p == folder || path.Dir(p) == folder
}
