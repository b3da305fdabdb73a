package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// newPacks is the list of packs of a golden that names old ones.
func (k *repacker) newPacks(packs, old []format.Hash) []format.Hash {
	var names []format.Hash
	for _, p := range packs {
		if !slices.Contains(old, p) {
			names = append(names, p)
			continue
		}
		for _, n := range k.into[p] {
			names = append(names, k.packs[n].name)
		}
	}
	slices.SortFunc(names, func(a, b format.Hash) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(names)
}

// rewriteGoldens names the new packs in the goldens that named old ones.
func (s *Store) rewriteGoldens(ctx context.Context, k *repacker, goldens []*counted, old []format.Hash, o *PruneOptions) (int, error) {
	done := 0
	for some := range slices.Chunk(goldens, parityBatch) {
		var ready []sidecar
		var err error
		for _, g := range some {
			o.tell("rewrite golden "+g.id, 0)
			var f File
			if f, err = s.rewriteGolden(ctx, k, g, old); err != nil {
				err = fmt.Errorf("rewrite golden %s: %w", g.id, err)
				break
			}
			if f != nil {
				ready = append(ready, sidecar{f, g.name})
			}
		}
		if err == nil {
			err = s.backend.Sync(ctx)
		}
		// The old parity would bring the old list back, whose packs are gone: so it goes first, for good.
		for _, r := range ready {
			if err == nil {
				err = s.backend.Remove(ctx, parityName(r.name))
			}
		}
		if err == nil && len(ready) > 0 {
			err = s.backend.Sync(ctx)
		}
		for _, r := range ready {
			if err == nil {
				err = r.file.Publish(ctx, r.name)
			}
			if err != nil {
				err = errors.Join(err, r.file.Discard())
				continue
			}
			done++
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// rewriteGolden writes a golden with another list of packs, and the segments as they are.
func (s *Store) rewriteGolden(ctx context.Context, k *repacker, c *counted, old []format.Hash) (File, error) {
	g, err := s.open(ctx, c)
	if err != nil {
		return nil, err
	}
	h := g.Header()
	packs := k.newPacks(h.Packs, old)
	if slices.Equal(packs, h.Packs) {
		return nil, nil
	}
	h.Packs = packs
	line, err := format.AppendHeader(nil, &h)
	if err != nil {
		return nil, err
	}
	sig, err := format.Sign(line, s.sign)
	if err != nil {
		return nil, err
	}
	object, err := s.backend.Open(ctx, c.name)
	if err != nil {
		return nil, err
	}
	defer object.Close()
	f, err := s.backend.Create(ctx)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(append(line, sig...)); err == nil {
		err = copySegments(ctx, f, object, g)
	}
	if err != nil {
		return nil, errors.Join(err, f.Discard())
	}
	return f, nil
}

func copySegments(ctx context.Context, f File, object Object, g *Golden) error {
	at := g.head.at
	var buf []byte
	for _, seg := range g.head.header.Segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf = grow(buf, int(seg.Stored))
		if err := readAt(object, buf, at); err != nil {
			return err
		}
		if format.Sum(buf) != seg.Sum {
			return shivx.Hint(fmt.Errorf("%w: the hash of a segment is not that in the header", format.ErrDamaged), "run shivx golden scrub")
		}
		if _, err := f.Write(buf); err != nil {
			return err
		}
		at += seg.Stored
	}
	return nil
}
