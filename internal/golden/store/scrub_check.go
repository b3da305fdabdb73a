package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"github.com/shivx/shivx/internal/golden/format"
)

// checkWhole is checkObject, and more for a golden: that its packs have what its entries need. Of an
// object whose hash stands nowhere else the parity says whether it is as it was.
func (k *scrub) checkWhole(ctx context.Context, name string, told func(int64)) ([]Damage, error) {
	damages, err := k.s.checkObject(ctx, name, told)
	if err != nil || len(damages) > 0 {
		return damages, err
	}
	if name == identityName || name == keyName {
		differs, err := k.s.differs(ctx, name)
		if differs {
			damages = []Damage{{Name: name, Err: fmt.Errorf("%w: it is not what its parity was made of", format.ErrDamaged)}}
		}
		return damages, err
	}
	if _, _, ok := parseGoldenName(name); !ok || k.s.locked {
		return nil, nil
	}
	g, err := k.s.openGolden(ctx, name)
	if err != nil {
		return nil, ctx.Err() // untrusted, which is told elsewhere, or gone
	}
	if whole, err := k.complete(ctx, g); whole || err != nil {
		return nil, err
	}
	c := &check{g: g}
	err = c.entries(ctx)
	return c.damages, err
}

// loadBlocks loads the index of all packs, once for all goldens.
func (k *scrub) loadBlocks(ctx context.Context) error {
	names := make([]format.Hash, len(k.census.packs))
	for i, p := range k.census.packs {
		names[i] = p.name
	}
	return k.s.loadIndex(ctx, &k.blocks, 0, names, func(format.Hash, error) error {
		return ctx.Err() // what is wrong with a pack is reported with that pack
	})
}

// complete says whether each block of the golden was found in one of its packs. One that is in several
// packs may not have been, and is looked for in the golden's own then.
func (k *scrub) complete(ctx context.Context, g *Golden) (bool, error) {
	own := make([]bool, len(k.census.packs))
	for _, p := range g.head.header.Packs {
		if n, ok := k.census.numbers[p]; ok {
			own[n] = true
		}
	}
	for e, err := range g.Entries(ctx) {
		if err != nil {
			return false, ctx.Err()
		}
		for i := range e.BlockCount() {
			id := k.s.blockID(e.Block(i))
			if r := k.blocks.find(&id); r == nil || !own[r.packNumber()] {
				return false, nil
			}
		}
	}
	return true, nil
}

// checkSidecar reads the sidecar of an object: both headers and all shards.
func (s *Store) checkSidecar(ctx context.Context, subject string, told func(int64)) ([]Damage, error) {
	name := parityName(subject)
	one := func(err error) ([]Damage, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return []Damage{{Name: name, Err: err}}, nil
	}
	if !protectable(subject) {
		return one(fmt.Errorf("%w: parity of nothing that a store has", format.ErrDamaged))
	}
	object, err := s.backend.Open(ctx, subject)
	if errors.Is(err, fs.ErrNotExist) {
		return one(errors.New("the object that it is for is not there"))
	}
	if err != nil {
		return one(err)
	}
	size := object.Size()
	_ = object.Close()
	sidecar, h, at, err := s.openParity(ctx, subject)
	if err != nil {
		return one(err)
	}
	defer sidecar.Close()
	if err := h.check(ctx, sidecar, at, told); err != nil {
		return one(err)
	}
	if size != h.size {
		return one(fmt.Errorf("it is for an object of %d bytes, not %d", h.size, size))
	}
	differs, err := s.differs(ctx, subject)
	if err == nil && differs {
		return one(errors.New("it is not that of the object as it is"))
	}
	return nil, err
}

// check reads a sidecar whose header is good at one end.
func (h *parityHead) check(ctx context.Context, sidecar Object, at int64, told func(int64)) error {
	if _, err := readHeadAt(sidecar, 0); err != nil {
		return err
	}
	if _, _, err := readLastHead(sidecar); err != nil {
		return err
	}
	if want := 2*int64(h.length()) + h.body() + int64(parityTrailer); sidecar.Size() != want {
		return fmt.Errorf("%w: %d bytes, not %d", format.ErrDamaged, sidecar.Size(), want)
	}
	told(2 * int64(h.length()))
	buf := make([]byte, h.chunk)
	for i := h.data; i < h.data+h.parity; i++ {
		for row := range h.rows {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := readAt(sidecar, buf, at+h.at(i, row)); err != nil {
				return err
			}
			if sha256.Sum256(buf) != *h.sum(i, row) {
				return fmt.Errorf("%w: a chunk of parity", format.ErrDamaged)
			}
			told(int64(len(buf)))
		}
	}
	return nil
}
