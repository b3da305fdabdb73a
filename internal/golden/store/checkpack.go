package store

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/shivx/shivx/internal/golden/format"
)

// runSize is how many bytes of a pack are read at a time: enough for any block, and few enough to be
// still in the processor's cache when they are hashed.
const runSize = format.BlockSize + format.SealSize

// packCheck is a check of one pack.
type packCheck struct {
	s    *Store
	name string
	// deep compares also what a block decompresses to with its id, which costs as much again.
	deep   bool
	plain  []byte
	object Object
	buf    []byte
	// run are blocks that lie one after another from the byte at, size bytes in all.
	run     []format.PackBlock
	at      int64
	size    int64
	damages []Damage
	told    func(int64)
}

// checkPack compares a pack with its name: all of it, or, where need is not nil, its index and the
// blocks at the offsets of need, which is sorted. buf has runSize bytes. The error is that of ctx; what
// else goes wrong is damage, which may not be proven.
func (s *Store) checkPack(ctx context.Context, name format.Hash, need []uint32, buf []byte, told func(int64)) ([]Damage, error) {
	c := &packCheck{s: s, name: packName(name), buf: grow(buf, runSize), told: told}
	return c.check(ctx, name, need)
}

// checkPackDeep compares a pack with its name, and each block with its id.
func (s *Store) checkPackDeep(ctx context.Context, name format.Hash, buf []byte, told func(int64)) ([]Damage, error) {
	c := &packCheck{s: s, name: packName(name), deep: !s.locked, buf: grow(buf, runSize), told: told}
	return c.check(ctx, name, nil)
}

func (c *packCheck) check(ctx context.Context, name format.Hash, need []uint32) ([]Damage, error) {
	whole := func(err error) ([]Damage, error) {
		return []Damage{{Name: c.name, Err: err}}, ctx.Err()
	}
	var err error
	if c.object, err = c.s.backend.Open(ctx, c.name); err != nil {
		return whole(missing(err))
	}
	defer func() { _ = c.object.Close() }()
	index, err := readIndex(c.object, name)
	if err != nil {
		return whole(err)
	}
	if need == nil {
		c.magic()
	}
	for at, b := range index.blocks {
		if need != nil {
			if len(need) == 0 {
				break
			}
			if int64(need[0]) != at {
				continue
			}
			need = need[1:]
		}
		if c.at+c.size != at || c.size+int64(b.Stored) > runSize {
			if err := c.end(ctx); err != nil {
				return c.damages, err
			}
			c.at = at
		}
		c.run = append(c.run, b)
		c.size += int64(b.Stored)
	}
	err = c.end(ctx)
	c.told(int64(len(index.raw)) + format.PackTrailer)
	return c.damages, err
}

func (c *packCheck) magic() {
	head := c.buf[:len(format.PackMagic)]
	err := readAt(c.object, head, 0)
	if err == nil && string(head) != format.PackMagic {
		err = fmt.Errorf("%w: the pack does not begin as a pack does", format.ErrDamaged)
	}
	if err != nil {
		c.damages = append(c.damages, Damage{Name: c.name, Length: int64(len(head)), Err: err})
	}
	c.told(int64(len(head)))
}

// end checks the blocks of the run and empties it.
func (c *packCheck) end(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	data := c.buf[:c.size]
	err := readAt(c.object, data, c.at)
	at := c.at
	for i := range c.run {
		b := &c.run[i]
		stored := data[at-c.at:][:b.Stored]
		var blockErr error
		if err != nil {
			// Of a disk that fails here and there each block that can be read is good.
			blockErr = readAt(c.object, stored, at)
		}
		if blockErr == nil && sha256.Sum256(stored) != b.Sum {
			blockErr = fmt.Errorf("%w: its hash is not that in the index", format.ErrDamaged)
		}
		if blockErr == nil && c.deep {
			c.plain, blockErr = c.s.content(c.plain, stored, b)
		}
		if blockErr != nil {
			c.damages = append(c.damages, Damage{Name: c.name, Offset: at, Length: int64(b.Stored), Block: b.ID, Err: blockErr})
		}
		at += int64(b.Stored)
	}
	c.told(c.size)
	c.run, c.size = c.run[:0], 0
	return ctx.Err()
}
