package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/shivx/shivx/internal/golden/format"
)

// decidePacks finds the packs that go.
func (s *Store) decidePacks(ctx context.Context, p *PrunePlan, o *PruneOptions) error {
	c := p.census
	p.Blocked = c.blind
	if len(p.Blocked) > 0 {
		p.Kept = len(c.packs)
		return nil
	}
	live, err := s.liveBytes(ctx, p, o)
	if err != nil {
		return err
	}
	for n, pack := range c.packs {
		share, known := live[n]
		switch {
		case pack.size == 0: // it is missing
		case pack.users == 0:
			p.Packs = append(p.Packs, PackFate{Pack: pack.name, Size: pack.size})
			p.Freed += pack.size
		case known && float64(share.live) < o.Repack*float64(share.all):
			p.Packs = append(p.Packs, PackFate{Pack: pack.name, Size: pack.size, Live: share.live, Repack: true})
			p.Freed += pack.size - share.live
		default:
			p.Kept++
		}
	}
	return nil
}

// share is how many bytes of blocks a pack has, and how many of them are needed.
type share struct{ live, all int64 }

// liveBytes returns how many bytes of each pack that could be repacked are needed. A pack that a golden
// of another host, or a damaged one, names cannot: that golden could not be told where its blocks are.
func (s *Store) liveBytes(ctx context.Context, p *PrunePlan, o *PruneOptions) (map[int]share, error) {
	if o.Repack <= 0 || s.sign == nil || s.locked {
		return nil, nil
	}
	c := p.census
	pinned := make([]bool, len(c.packs))
	live := new(index)
	for _, g := range p.stay {
		whole := false
		if g.own && g.err == nil {
			o.tell("look for what golden "+g.id+" needs", 0)
			err := s.markLive(ctx, live, g)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			whole = err == nil
		}
		for _, n := range g.packs {
			pinned[n] = pinned[n] || !whole
		}
	}
	shares := make(map[int]share)
	for n, pack := range c.packs {
		if pack.users == 0 || pack.size == 0 {
			continue
		}
		if pinned[n] {
			p.Pinned++
			continue
		}
		sum, err := s.packLive(ctx, live, pack.name)
		if errors.Is(err, format.ErrDamaged) || errors.Is(err, fs.ErrNotExist) {
			continue // that is for scrub to repair
		}
		if err != nil {
			return nil, err
		}
		shares[n] = sum
	}
	return shares, nil
}

// markLive adds the blocks that a golden needs.
func (s *Store) markLive(ctx context.Context, live *index, c *counted) error {
	g, err := s.open(ctx, c)
	if err != nil {
		return err
	}
	for e, err := range g.Entries(ctx) {
		if err != nil {
			return err
		}
		for i := range e.BlockCount() {
			if id := s.blockID(e.Block(i)); live.find(&id) == nil {
				live.add(&record{id: id})
			}
		}
	}
	return nil
}

func (s *Store) packLive(ctx context.Context, live *index, name format.Hash) (share, error) {
	x, err := s.packIndex(ctx, name)
	if err != nil {
		return share{}, fmt.Errorf("%s: %w", packName(name), err)
	}
	var sum share
	for _, b := range x.blocks {
		sum.all += int64(b.Stored)
		if live.find(&b.ID) != nil {
			sum.live += int64(b.Stored)
		}
	}
	return sum, nil
}
