package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

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
	g, err := s.open(ctx)
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
	g, err := s.open(ctx)
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

// Get returns the checkpoint with that id.
func (s *Store) Get(ctx context.Context, id string) (Checkpoint, error) {
	if err := checkID(id); err != nil {
		return Checkpoint{}, err
	}
	g, err := s.open(ctx)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint %s: %w", id, err)
	}
	defer g.Close()
	_, c, err := g.find(ctx, id)
	return c, err
}

// find opens the golden of a checkpoint.
func (o opened) find(ctx context.Context, id string) (*store.Golden, Checkpoint, error) {
	g, err := o.Find(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Checkpoint{}, shivx.Hint(fmt.Errorf("there is no checkpoint %s", id), "it may have been removed to make room; list those of the component")
	}
	if err != nil {
		return nil, Checkpoint{}, fmt.Errorf("checkpoint %s: %w", id, hinted(err))
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
	o, err := s.open(ctx)
	if err != nil {
		return nil, c, nil, err
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

const (
	// patience is how long a prune waits for checkpoints and restores under way: the next one does it as well.
	patience = time.Second
	// repackBelow is the share of needed bytes below which a pack is written anew.
	repackBelow = 0.5
)

// Prune removes the oldest checkpoints of a kind until keep are left, their folders, and the data that no
// checkpoint needs any more. While one of any component is taken or restored, nothing is removed. The last
// checkpoint that is known to be good stays, however many there are.
func (s *Store) Prune(ctx context.Context, component string, kind Kind, keep int) (removed []string, err error) {
	if err := checkName(component, kind); err != nil {
		return nil, err
	}
	g, err := s.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("prune the checkpoints of %s: %w", component, err)
	}
	defer g.Close()
	set := setOf(component, kind)
	sound, bad, err := g.list(ctx, set)
	if err != nil {
		return nil, err
	}
	s.dropDamaged(ctx, g, bad, len(sound) >= keep)
	// The clock may have been wrong when they were taken: the numbers decide, and no age does.
	o := store.PruneOptions{Repack: repackBelow, Quick: true, ClockIsRight: true, Patience: patience}
	for _, c := range sound[:max(0, len(sound)-max(0, keep))] {
		o.Remove = append(o.Remove, filepath.Base(c.ID))
	}
	r, err := g.Prune(ctx, o)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		s.log.Debug("the checkpoints are in use; old ones are removed the next time", "component", component)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("prune the checkpoints of %s: %w", component, hinted(err))
	}
	for _, f := range r.Plan.Goldens {
		if !f.Keep {
			removed = append(removed, f.Set+"/"+f.ID)
		}
	}
	slices.Sort(removed)
	for _, why := range r.Plan.Blocked {
		s.log.Warn("no data of old checkpoints is removed", "reason", why)
	}
	return removed, s.dropViews(ctx, g, set)
}

// dropDamaged removes checkpoints that nobody can ever restore, once there are others. They would keep all data
// from being removed.
func (s *Store) dropDamaged(ctx context.Context, g opened, bad []store.Info, enough bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, i := range bad {
		if !enough || !errors.Is(i.Err, ErrDamaged) {
			continue
		}
		err := g.RemoveDamaged(ctx, i.Set, i.ID)
		s.log.Warn("a damaged checkpoint is removed", "checkpoint", i.Set+"/"+i.ID, "damage", i.Err, "error", err)
	}
}
