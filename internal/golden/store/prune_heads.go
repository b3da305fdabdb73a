package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx/internal/golden/format"
)

// census is what a store holds: its goldens, and its packs by numbers, as a thousand goldens may name
// the same ten thousand of them.
type census struct {
	goldens []*counted
	packs   []countedPack
	numbers map[format.Hash]int
	// sidecars are the names of what lies below parity/.
	sidecars []string
	// blind says why not every pack that is needed is known; empty: all are.
	blind []string
}

// counted is a golden without its lists.
type counted struct {
	name    string
	set, id string
	// header is zero where err is another than ErrUntrusted.
	header format.Header
	packs  []int
	// own says that this process can sign it anew.
	own bool
	err error
}

func (g *counted) created() time.Time {
	i := Info{ID: g.id, Header: g.header}
	return i.Created()
}

type countedPack struct {
	name format.Hash
	// size is 0 for one that goldens name and the store has not.
	size int64
	// users are how many goldens name it.
	users int
}

// census reads the heads of all goldens and lists all packs.
func (s *Store) census(ctx context.Context) (*census, error) {
	c := &census{numbers: make(map[format.Hash]int)}
	for info, err := range s.backend.List(ctx, packsDir) {
		if err != nil {
			return nil, fmt.Errorf("list the packs: %w", err)
		}
		if h, ok := parsePackName(info.Name); ok {
			c.packs[c.number(h)].size = info.Size
		}
	}
	for info, err := range s.backend.List(ctx, parityDir) {
		if err != nil {
			return nil, fmt.Errorf("list the parity: %w", err)
		}
		c.sidecars = append(c.sidecars, info.Name)
	}
	for info, err := range s.backend.List(ctx, goldensDir) {
		if err != nil {
			return nil, fmt.Errorf("list the goldens: %w", err)
		}
		set, id, ok := parseGoldenName(info.Name)
		if !ok {
			c.blind = append(c.blind, info.Name+" has not the name of a golden, and may be one")
			continue
		}
		c.goldens = append(c.goldens, &counted{name: info.Name, set: set, id: id})
	}
	if err := s.readHeads(ctx, c); err != nil {
		return nil, err
	}
	slices.SortFunc(c.goldens, func(a, b *counted) int {
		if d := b.created().Compare(a.created()); d != 0 {
			return d
		}
		return bytes.Compare([]byte(b.name), []byte(a.name))
	})
	return c, nil
}

func (c *census) number(h format.Hash) int {
	n, ok := c.numbers[h]
	if !ok {
		n = len(c.packs)
		c.numbers[h] = n
		c.packs = append(c.packs, countedPack{name: h})
	}
	return n
}

// readHeads reads the heads of the goldens, some at a time.
func (s *Store) readHeads(ctx context.Context, c *census) error {
	heads := make([]head, loaders)
	for some := range slices.Chunk(c.goldens, loaders) {
		group, all := errgroup.WithContext(ctx)
		for i, g := range some {
			group.Go(func() error {
				heads[i], g.err = s.info(all, g.name)
				return all.Err()
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for i, g := range some {
			c.add(s, g, &heads[i])
		}
	}
	c.goldens = slices.DeleteFunc(c.goldens, func(g *counted) bool { return errors.Is(g.err, fs.ErrNotExist) })
	return nil
}

func (c *census) add(s *Store, g *counted, h *head) {
	switch {
	case errors.Is(g.err, fs.ErrNotExist):
		return
	case g.err != nil && h.header == nil:
		c.blind = append(c.blind, fmt.Sprintf("the golden %s of the set %s cannot be read, so that the packs it needs are not known: %v", g.id, g.set, g.err))
		return
	}
	for _, p := range h.header.Packs {
		n := c.number(p)
		g.packs = append(g.packs, n)
		c.packs[n].users++
	}
	g.own = s.sign != nil && h.signer.Equal(s.sign.Public())
	g.header = *h.header
	g.header.Packs, g.header.Segments = nil, nil
}

// open opens a golden of the census.
func (s *Store) open(ctx context.Context, g *counted) (*Golden, error) {
	return s.openGolden(ctx, g.name)
}
