package store

import (
	"context"
	"fmt"

	"github.com/shivx/shivx/internal/golden/format"
)

// Size is how many bytes of the store a golden needs: its own file and all of its packs. It lists the packs.
func (g *Golden) Size(ctx context.Context) (int64, error) {
	total := g.head.at
	for _, seg := range g.head.header.Segments {
		total += seg.Stored
	}
	own := make(map[format.Hash]bool, len(g.head.header.Packs))
	for _, p := range g.head.header.Packs {
		own[p] = true
	}
	for info, err := range g.s.backend.List(ctx, packsDir) {
		if err != nil {
			return 0, fmt.Errorf("list the packs: %w", err)
		}
		if p, ok := parsePackName(info.Name); ok && own[p] {
			total += info.Size
		}
	}
	return total, nil
}
