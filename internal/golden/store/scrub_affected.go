package store

import (
	"context"

	"github.com/shivx/shivx/internal/golden/format"
)

// filesShown is how many of the files that damage concerns are named.
const filesShown = 10

// affected finds out which goldens, and which of their files, suffer.
func (k *scrub) affected(ctx context.Context) error {
	for i := range k.report.Problems {
		p := &k.report.Problems[i]
		if !p.Kind.damage() {
			continue
		}
		if set, id, ok := parseGoldenName(p.Name); ok {
			p.Goldens = []Affected{{Set: set, ID: id}}
			continue
		}
		pack, ok := parsePackName(p.Name)
		if !ok { // without it nothing can be read
			for _, g := range k.census.goldens {
				p.Goldens = append(p.Goldens, Affected{Set: g.set, ID: g.id})
			}
			continue
		}
		if err := k.affectedBy(ctx, p, k.census.numbers[pack]); err != nil {
			return err
		}
	}
	return nil
}

func (k *scrub) affectedBy(ctx context.Context, p *Problem, number int) error {
	blocks := make(map[format.Hash]bool)
	single := !k.s.locked
	for _, d := range p.Damages {
		single = single && d.Block != format.Hash{}
		blocks[d.Block] = true
	}
	for _, g := range k.census.goldens {
		names := false
		for _, n := range g.packs {
			names = names || n == number
		}
		if !names {
			continue
		}
		a := Affected{Set: g.set, ID: g.id}
		if single && g.err == nil {
			err := k.s.findFiles(ctx, g, blocks, &a)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil && a.Count == 0 {
				continue // it needs other blocks of the pack
			}
		}
		p.Goldens = append(p.Goldens, a)
	}
	return nil
}

// findFiles counts the files of a golden that need one of the blocks.
func (s *Store) findFiles(ctx context.Context, c *counted, blocks map[format.Hash]bool, a *Affected) error {
	g, err := s.open(ctx, c)
	if err != nil {
		return err
	}
	for e, err := range g.Entries(ctx) {
		if err != nil {
			return err
		}
		for i := range e.BlockCount() {
			if !blocks[s.blockID(e.Block(i))] {
				continue
			}
			if a.Count++; len(a.Files) < filesShown {
				a.Files = append(a.Files, e.Path)
			}
			break
		}
	}
	return nil
}
