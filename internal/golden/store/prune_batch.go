package store

import (
	"cmp"
	"context"
	"slices"

	"github.com/shivx/shivx/internal/golden/format"
)

// repackAll writes packs anew, one batch after another. The old packs of a batch go before the next one begins: a
// prune that is cut off loses no more than the batch under way, and each batch makes room for the next.
func (s *Store) repackAll(ctx context.Context, r *PruneResult, packs []PackFate, o *PruneOptions) error {
	if len(packs) == 0 {
		return nil
	}
	k, err := s.repacker(ctx, r.Plan, packs)
	if err != nil {
		return err
	}
	for _, some := range batches(packs, o.Batch) {
		old, err := k.repack(ctx, r, some, o)
		if err == nil {
			err = s.removePacks(ctx, r, old, o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// batches parts packs so that no part has more live bytes than most, but for one of a single pack. Those that free
// most for what has to be written come first: time may not last for all. most 0: all are one part.
func batches(packs []PackFate, most int64) (parts [][]PackFate) {
	if most == 0 {
		return [][]PackFate{packs}
	}
	packs = slices.Clone(packs)
	slices.SortStableFunc(packs, func(a, b PackFate) int { return cmp.Compare(a.Live*b.Size, b.Live*a.Size) })
	first, live := 0, int64(0)
	for i, p := range packs {
		if i > first && live+p.Live > most {
			parts = append(parts, packs[first:i])
			first, live = i, 0
		}
		live += p.Live
	}
	return append(parts, packs[first:])
}

// salvage writes anew what is whole of damaged packs, and returns those that no golden names any more.
func (s *Store) salvage(ctx context.Context, r *PruneResult, packs []PackFate) (old []format.Hash, err error) {
	if len(packs) == 0 {
		return nil, nil
	}
	k, err := s.repacker(ctx, r.Plan, packs)
	if err != nil {
		return nil, err
	}
	k.salvage = true
	for _, p := range r.Plan.census.packs {
		if p.size > 0 {
			k.others = append(k.others, p.name)
		}
	}
	return k.repack(ctx, r, packs, &PruneOptions{})
}

// naming are the goldens that stay and name one of the packs.
func (p *PrunePlan) naming(packs []PackFate) []*counted {
	going := make(map[int]bool)
	for _, f := range packs {
		going[p.census.numbers[f.Pack]] = true
	}
	return slices.DeleteFunc(slices.Clone(p.stay), func(g *counted) bool {
		return !slices.ContainsFunc(g.packs, func(n int) bool { return going[n] })
	})
}
