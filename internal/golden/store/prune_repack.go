package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/shivx/shivx/internal/golden/format"
)

// repacker writes blocks of old packs to new ones, as they are stored. What it keeps from written to into is that
// of one batch of packs.
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
	// sealed and plain are memory for blocks that are looked at.
	sealed, plain []byte
	// salvage leaves blocks out of which no copy is whole, instead of the pack. A block that cannot be read
	// ends it.
	salvage bool
	// others are the packs that may have another copy.
	others []format.Hash
}

// repacker returns who writes packs anew: it knows which of their blocks are needed.
func (s *Store) repacker(ctx context.Context, p *PrunePlan, packs []PackFate) (*repacker, error) {
	k := &repacker{s: s, live: new(index)}
	for _, g := range p.naming(packs) {
		if err := s.markLive(ctx, k.live, g); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// repack writes the live blocks of packs anew, then each golden that named one of them, and returns
// the packs that no golden names any more. Blocks, entries and segments stay byte for byte; only the
// goldens' lists of packs and signatures change.
func (k *repacker) repack(ctx context.Context, r *PruneResult, packs []PackFate, o *PruneOptions) (old []format.Hash, err error) {
	k.written, k.packs, k.into = index{}, nil, make(map[format.Hash][]int)
	defer func() { err = errors.Join(err, k.discard()) }()
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
	r.Written += len(k.packs)
	// A pack of which everything is live comes out as it was.
	old = slices.DeleteFunc(old, func(h format.Hash) bool {
		return slices.ContainsFunc(k.packs, func(f finished) bool { return f.name == h })
	})
	if o.Parity != nil {
		if err := k.s.protectNew(ctx, o); err != nil {
			return nil, err
		}
	}
	n, err := k.s.rewriteGoldens(ctx, k, r.Plan.naming(packs), old, o)
	r.Rewritten += n
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
		if err := k.whole(o, buf, at, &b); err != nil {
			d := Damage{Name: packName(name), Offset: at, Length: int64(b.Stored), Block: b.ID, Err: err}
			if !k.salvage || !d.Proven() {
				return []Damage{d}, nil
			}
			if buf, err = k.elsewhere(ctx, buf, &b); err != nil {
				return nil, err
			}
			if buf == nil {
				continue
			}
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

// whole reads a block and sees whether it is as it was written, and what its id stands for.
func (k *repacker) whole(o Object, stored []byte, at int64, b *format.PackBlock) error {
	if err := readAt(o, stored, at); err != nil {
		return err
	}
	if format.Sum(stored) != b.Sum {
		return fmt.Errorf("%w: its hash is not that in the index", format.ErrDamaged)
	}
	var err error
	k.sealed = append(k.sealed[:0], stored...) // content destroys it
	k.plain, err = k.s.content(k.plain, k.sealed, b)
	return err
}

// elsewhere looks for a whole copy of a block in all packs, and makes b its record; nil: there is none. A pack
// that cannot be read may have it, and is an error.
func (k *repacker) elsewhere(ctx context.Context, buf []byte, b *format.PackBlock) ([]byte, error) {
	for _, name := range k.others {
		copied, err := k.copyIn(ctx, name, buf, b)
		if copied != nil || err != nil {
			return copied, err
		}
	}
	return nil, nil
}

func (k *repacker) copyIn(ctx context.Context, name format.Hash, buf []byte, b *format.PackBlock) ([]byte, error) {
	o, err := k.s.backend.Open(ctx, packName(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer o.Close()
	x, err := readIndex(o, name)
	if errors.Is(err, format.ErrDamaged) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for at, other := range x.blocks {
		if other.ID != b.ID {
			continue
		}
		buf = grow(buf, int(other.Stored))
		err := k.whole(o, buf, at, &other)
		if err == nil {
			*b = other
			return buf, nil
		}
		if !errors.Is(err, format.ErrDamaged) {
			return nil, err
		}
	}
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
	if k.size += int64(len(stored)); k.s.pace.full(k.size, len(k.index)) {
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
