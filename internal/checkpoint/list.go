package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/store"
)

// kinds of checkpoints.
func kinds() []Kind { return []Kind{KindHealthy, KindFault} }

// list returns the checkpoints of a set, oldest first, and those that cannot be read.
func (o opened) list(ctx context.Context, set string) (sound []Checkpoint, bad []store.Info, err error) {
	all, err := o.List(ctx, set)
	if err != nil {
		return nil, nil, err
	}
	return sorted(all)
}

// sorted are the checkpoints of a set, oldest first, and those that cannot be read.
func sorted(all []store.Info) (sound []Checkpoint, bad []store.Info, err error) {
	for _, i := range slices.Backward(all) {
		if i.Err != nil {
			bad = append(bad, i)
			continue
		}
		c, err := of(&i.Header)
		if err != nil {
			return nil, nil, err
		}
		sound = append(sound, c)
	}
	slices.SortStableFunc(sound, func(a, b Checkpoint) int { return cmp.Compare(a.number, b.number) })
	return sound, bad, nil
}

// known returns the checkpoints of a component, oldest first, and those that cannot be read.
func (o opened) known(ctx context.Context, component string) (sound []Checkpoint, bad []store.Info, err error) {
	for _, kind := range kinds() {
		some, broken, err := o.list(ctx, setOf(component, kind))
		if err != nil {
			return nil, nil, err
		}
		sound, bad = append(sound, some...), append(bad, broken...)
	}
	slices.SortStableFunc(sound, func(a, b Checkpoint) int { return a.Taken.Compare(b.Taken) })
	return sound, bad, nil
}

// List returns the checkpoints of a component, oldest first. One that is damaged is left out
// and named in the error.
func (s *Store) List(ctx context.Context, component string) ([]Checkpoint, error) {
	if err := checkName(component, KindFault); err != nil {
		return nil, err
	}
	g, err := s.look(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	defer g.Close()
	all, bad, err := g.known(ctx, component)
	errs := []error{err}
	for _, i := range bad {
		errs = append(errs, fmt.Errorf("checkpoint %s/%s: %w", i.Set, i.ID, hinted(i.Err)))
	}
	return all, errors.Join(errs...)
}

// Latest returns the newest sound checkpoint of a kind; ok is false when there is none.
func (s *Store) Latest(ctx context.Context, component string, kind Kind) (c Checkpoint, ok bool, err error) {
	if err := checkName(component, kind); err != nil {
		return c, false, err
	}
	g, err := s.look(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	if err != nil {
		return c, false, fmt.Errorf("find the latest checkpoint: %w", err)
	}
	defer g.Close()
	sound, _, err := g.list(ctx, setOf(component, kind))
	if err != nil || len(sound) == 0 {
		return c, false, err
	}
	return sound[len(sound)-1], true, nil
}

// Before returns the sound checkpoints of the same kind that were taken before c, newest first.
func (s *Store) Before(ctx context.Context, c Checkpoint) ([]Checkpoint, error) {
	g, err := s.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the checkpoints before %s: %w", c.ID, err)
	}
	defer g.Close()
	sound, _, err := g.list(ctx, setOf(c.Component, c.Kind))
	slices.Reverse(sound)
	return slices.DeleteFunc(sound, func(o Checkpoint) bool { return o.number >= c.number }), err
}

// Get returns the checkpoint with that id.
func (s *Store) Get(ctx context.Context, id string) (Checkpoint, error) {
	if err := checkID(id); err != nil {
		return Checkpoint{}, err
	}
	g, err := s.look(ctx)
	if err != nil {
		return Checkpoint{}, notFound(id, err)
	}
	defer g.Close()
	_, c, err := g.find(ctx, id)
	return c, err
}

// notFound says why a checkpoint cannot be opened.
func notFound(id string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return shivx.Hint(fmt.Errorf("there is no checkpoint %s", id), "it may have been removed to make room; list those of the component")
	}
	return fmt.Errorf("checkpoint %s: %w", id, hinted(err))
}

// find opens the golden of a checkpoint.
func (o opened) find(ctx context.Context, id string) (*store.Golden, Checkpoint, error) {
	g, err := o.Find(ctx, id)
	if err != nil {
		return nil, Checkpoint{}, notFound(id, err)
	}
	h := g.Header()
	c, err := of(&h)
	return g, c, err
}

// use opens a checkpoint that nobody prunes until release is called.
func (s *Store) use(ctx context.Context, id string) (g *store.Golden, c Checkpoint, release func(), err error) {
	if err := checkID(id); err != nil {
		return nil, c, nil, err
	}
	o, err := s.look(ctx)
	if err != nil {
		return nil, c, nil, notFound(id, err)
	}
	unlock, err := o.Lock(ctx, store.Shared)
	if err != nil {
		o.Close()
		return nil, c, nil, err
	}
	release = func() { _ = unlock(); o.Close() }
	if g, c, err = o.find(ctx, id); err != nil {
		release()
		return nil, c, nil, err
	}
	return g, c, release, nil
}
