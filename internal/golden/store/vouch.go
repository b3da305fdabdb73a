package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// vouchers is how many goldens are asked at most which packs they name, the newest first: blocks of other
// packs cost a look each.
const vouchers = 256

// ErrKeyReplaced says that the key of an encrypted store does not open what trusted goldens hold.
var ErrKeyReplaced = errors.New("the store's key was replaced")

// vouched returns those of the packs that goldens name which are trusted: a signature stands for what a pack's
// index says. It is an error when the store's key is not the one that such a golden was sealed with: whoever can
// write to the store, and knows who may read it, could put a key there that he knows.
func (s *Store) vouched(ctx context.Context, packs []format.Hash) (map[format.Hash]bool, error) {
	left := make(map[format.Hash]bool, len(packs))
	for _, p := range packs {
		left[p] = true
	}
	vouched := make(map[format.Hash]bool, len(packs))
	names, err := s.newestGoldens(ctx)
	if err != nil {
		return nil, err
	}
	sealed := s.keys == nil
	heads := make([]head, loaders)
	for some := range slices.Chunk(names, loaders) {
		if len(left) == 0 && sealed {
			break
		}
		group, all := errgroup.WithContext(ctx)
		for i, name := range some {
			group.Go(func() error {
				h, err := s.info(all, name)
				if err != nil {
					h = head{} // what is wrong with it is told by who lists, verifies and scrubs
				}
				heads[i] = h
				return all.Err()
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		for i, h := range heads[:len(some)] {
			if h.header == nil {
				continue
			}
			for _, p := range h.header.Packs {
				if left[p] {
					vouched[p] = true
					delete(left, p)
				}
			}
			if !sealed {
				if sealed, err = s.sealedBy(ctx, &Golden{s: s, name: some[i], head: h}); err != nil {
					return nil, err
				}
			}
		}
	}
	return vouched, nil
}

// newestGoldens are names of goldens, by the time in their ids.
func (s *Store) newestGoldens(ctx context.Context) ([]string, error) {
	type named struct{ id, name string }
	var all []named
	for info, err := range s.backend.List(ctx, goldensDir) {
		if err != nil {
			return nil, fmt.Errorf("list the goldens: %w", err)
		}
		if _, id, ok := parseGoldenName(info.Name); ok {
			all = append(all, named{id, info.Name})
		}
	}
	slices.SortFunc(all, func(a, b named) int { return -cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.name, b.name)) })
	names := make([]string, min(len(all), vouchers))
	for i := range names {
		names[i] = all[i].name
	}
	return names, nil
}

// sealedBy says whether a golden's list was sealed with the store's key. It is false where the golden cannot
// tell, as its list is damaged or it has none.
func (s *Store) sealedBy(ctx context.Context, g *Golden) (bool, error) {
	if len(g.head.header.Segments) == 0 {
		return false, nil
	}
	o, err := s.backend.Open(ctx, g.name)
	if err != nil {
		return false, ctx.Err()
	}
	defer func() { _ = o.Close() }()
	seg := g.head.header.Segments[0]
	stored := make([]byte, seg.Stored)
	if readAt(o, stored, g.head.at) != nil || format.Sum(stored) != seg.Sum {
		return false, ctx.Err()
	}
	if _, err := unseal(s.keys.segments, stored, aboutSegment(g.head.header.ID, 0)); err != nil {
		err := fmt.Errorf("%w: %s does not open the golden %s of the set %s, which is signed by a trusted key",
			ErrKeyReplaced, keyName, g.head.header.ID, g.head.header.Set)
		return false, shivx.Hint(err, "somebody may have put a key of his own there, and could read what is stored from now on: put "+
			keyName+" back from a copy of the store, or begin a new store")
	}
	return true, nil
}
