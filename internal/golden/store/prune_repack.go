package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/shivx/shivx/internal/golden/format"
)

// repacker writes blocks of old packs to new ones, as they are stored.
type repacker struct {
	s    *Store
	live *index
	// written are the blocks that are in new packs, by the number of the pack.
	written index
	packs   []finished
	file    File
	size    int64
	index   []byte
	// into are the numbers of the new packs that hold what an old one held.
	into map[format.Hash][]int
	// salvage leaves damaged blocks out, instead of the pack.
	salvage bool
}

// repack writes the live blocks of packs anew, then each golden that named one of them, and returns
// the packs that no golden names any more. Blocks, entries and segments stay byte for byte; only the
// goldens' lists of packs and signatures change.
func (s *Store) repack(ctx context.Context, r *PruneResult, packs []PackFate, o *PruneOptions, salvage bool) (old []format.Hash, err error) {
	if len(packs) == 0 {
		return nil, nil
	}
	k := &repacker{s: s, live: new(index), into: make(map[format.Hash][]int), salvage: salvage}
	defer func() { err = errors.Join(err, k.discard()) }()
	going := make(map[int]bool)
	for _, f := range packs {
		going[r.Plan.census.numbers[f.Pack]] = true
	}
	affected := slices.DeleteFunc(slices.Clone(r.Plan.stay), func(g *counted) bool {
		return !slices.ContainsFunc(g.packs, func(n int) bool { return going[n] })
	})
	for _, g := range affected {
		if err := s.markLive(ctx, k.live, g); err != nil {
			return nil, err
		}
	}
	for _, f := range packs {
		o.tell("repack", f.Live)
		damages, err := k.add(ctx, f.Pack)
		if err != nil {
			return nil, fmt.Errorf("repack %s: %w", packName(f.Pack), err)
		}
		if len(damages) > 0 {
			r.Damaged = append(r.Damaged, damages...)
			continue
		}
		old = append(old, f.Pack)
	}
	if err := k.publish(ctx); err != nil {
		return nil, fmt.Errorf("repack: %w", err)
	}
	r.Written = len(k.packs)
	// A pack of which everything is live comes out as it was.
	old = slices.DeleteFunc(old, func(h format.Hash) bool {
		return slices.ContainsFunc(k.packs, func(f finished) bool { return f.name == h })
	})
	if o.Parity != nil {
		if err := s.protectNew(ctx, o); err != nil {
			return nil, err
		}
	}
	n, err := s.rewriteGoldens(ctx, k, affected, old, o)
	r.Rewritten = n
	if err != nil {
		return nil, fmt.Errorf("repack: %w", err)
	}
	return old, nil
}

// add copies the live blocks of a pack. A pack with damage is not repacked: its parity is for it as
// it is.
func (k *repacker) add(ctx context.Context, name format.Hash) ([]Damage, error) {
	o, err := k.s.backend.Open(ctx, packName(name))
	if err != nil {
		return nil, err
	}
	defer o.Close()
	x, err := readIndex(o, name)
	if err != nil {
		return nil, err
	}
	into := make(map[int]bool)
	var buf []byte
	for at, b := range x.blocks {
		if k.live.find(&b.ID) == nil {
			continue
		}
		if r := k.written.find(&b.ID); r != nil {
			into[r.packNumber()] = true
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		buf = grow(buf, int(b.Stored))
		err := readAt(o, buf, at)
		if err == nil && format.Sum(buf) != b.Sum {
			err = fmt.Errorf("%w: its hash is not that in the index", format.ErrDamaged)
		}
		if err != nil {
			if k.salvage {
				continue
			}
			return []Damage{{Name: packName(name), Offset: at, Length: int64(b.Stored), Block: b.ID, Err: err}}, nil
		}
		n, err := k.append(ctx, &b, buf)
		if err != nil {
			return nil, err
		}
		into[n] = true
	}
	k.into[name] = slices.Sorted(maps.Keys(into))
	return nil, nil
}

// append writes a block and returns the number of its pack.
func (k *repacker) append(ctx context.Context, b *format.PackBlock, stored []byte) (int, error) {
	if k.file == nil {
		f, err := k.s.backend.Create(ctx)
		if err != nil {
			return 0, err
		}
		k.file, k.size, k.index = f, int64(len(format.PackMagic)), k.index[:0]
		if _, err := f.Write([]byte(format.PackMagic)); err != nil {
			return 0, err
		}
	}
	if _, err := k.file.Write(stored); err != nil {
		return 0, err
	}
	n := len(k.packs)
	r := newRecord(0, b, n)
	k.written.add(&r)
	k.index = format.AppendPackBlock(k.index, b)
	if k.size += int64(len(stored)); k.size >= k.s.pace.packSize {
		return n, k.finish()
	}
	return n, nil
}

func (k *repacker) finish() error {
	if k.file == nil {
		return nil
	}
	tail := format.AppendPackTrailer(slices.Clone(k.index), len(k.index)/format.PackRecord)
	if _, err := k.file.Write(tail); err != nil {
		return err
	}
	k.packs = append(k.packs, finished{file: k.file, name: format.PackName(k.index)})
	k.file = nil
	return nil
}

// publish makes the new packs durable and names them.
func (k *repacker) publish(ctx context.Context) error {
	if err := k.finish(); err != nil {
		return err
	}
	if len(k.packs) == 0 {
		return nil
	}
	w := &Writer{s: k.s}
	if err := w.publish(ctx, slices.Clone(k.packs)); err != nil {
		return err
	}
	return k.s.backend.Sync(ctx)
}

func (k *repacker) discard() error {
	var errs []error
	if k.file != nil {
		errs = append(errs, k.file.Discard())
	}
	for _, p := range k.packs { // after it has a name, nothing
		errs = append(errs, p.file.Discard())
	}
	return errors.Join(errs...)
}
