package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shivx/shivx/internal/golden/format"
)

// PruneResult is what a prune has done; after an error, as far as it came.
type PruneResult struct {
	// Plan is what it was to do.
	Plan *PrunePlan
	// Goldens and Packs are how many were removed, Written and Rewritten how many packs and goldens
	// were written anew.
	Goldens, Packs, Written, Rewritten int
	// Damaged are packs that could not be repacked.
	Damaged []Damage
}

// Prune removes goldens, then packs that no golden needs, and writes packs anew of which little is
// needed. It has the store for itself. Each step leaves a store in which every golden that is there is
// whole: so a process may be killed at any time, and a later prune does the rest. That one looks at everything
// anew, and writes again what was cut off; see PruneOptions.Batch.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (*PruneResult, error) {
	waiting := ctx
	if o.Patience > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, o.Patience)
		defer cancel()
	}
	release, err := s.Lock(waiting, Exclusive)
	if err != nil {
		return nil, err
	}
	r := &PruneResult{}
	if r.Plan, err = s.planPrune(ctx, &o); err == nil {
		err = s.prune(ctx, r, &o)
	}
	if err = errors.Join(err, release()); err != nil {
		return r, fmt.Errorf("prune: %w", err)
	}
	return r, nil
}

func (s *Store) prune(ctx context.Context, r *PruneResult, o *PruneOptions) error {
	p := r.Plan
	if err := s.removeGoldens(ctx, r, o); err != nil {
		return err
	}
	// What nobody needs goes first: it makes room for what is written anew.
	var dead []format.Hash
	var sparse []PackFate
	for _, f := range p.Packs {
		if f.Repack {
			sparse = append(sparse, f)
		} else {
			dead = append(dead, f.Pack)
		}
	}
	if err := s.removePacks(ctx, r, dead, o); err != nil {
		return err
	}
	err := s.repackAll(ctx, r, sparse, o)
	if err == nil && o.Parity != nil && r.Written+r.Rewritten > 0 {
		err = s.protectNew(ctx, o)
	}
	return errors.Join(err, s.removeSidecars(ctx, p))
}

// removeGoldens removes goldens, and makes that durable before any pack goes: a golden that came back
// after a loss of power would lack its packs.
func (s *Store) removeGoldens(ctx context.Context, r *PruneResult, o *PruneOptions) error {
	var names []string
	for _, g := range r.Plan.gone {
		names = append(names, parityName(g.name), g.name)
	}
	if len(names) == 0 {
		return nil
	}
	o.tell("remove goldens", 0)
	if err := s.backend.Remove(ctx, names...); err != nil {
		return fmt.Errorf("remove goldens: %w", err)
	}
	if err := s.backend.Sync(ctx); err != nil {
		return err
	}
	r.Goldens = len(r.Plan.gone)
	return nil
}

// removePacks removes packs that no golden names any more. Their parity goes before them: parity of nothing
// would be a sign of a loss.
func (s *Store) removePacks(ctx context.Context, r *PruneResult, packs []format.Hash, o *PruneOptions) error {
	const batch = 500
	for some := range slices.Chunk(packs, batch) {
		var names []string
		for _, p := range some {
			names = append(names, parityName(packName(p)), packName(p))
		}
		o.tell("remove packs", 0)
		s.files.forget(some)
		if err := s.backend.Remove(ctx, names...); err != nil {
			return fmt.Errorf("remove packs: %w", err)
		}
		r.Packs += len(some)
	}
	return nil
}

// forget closes packs that were replaced or go, now or when the last reader is done: as long as one is open,
// its removal frees no room, and its bytes are the old ones.
func (f *files) forget(names []format.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		o := f.byName[name]
		if o == nil {
			continue
		}
		delete(f.byName, name)
		if o.gone = true; o.users == 0 {
			_ = o.object.Close()
		}
	}
}

// removeSidecars removes parity whose object is gone, unless a golden misses that.
func (s *Store) removeSidecars(ctx context.Context, p *PrunePlan) error {
	if len(p.Blocked) > 0 || len(p.census.sidecars) == 0 {
		return nil
	}
	there := make(map[string]bool)
	for info, err := range s.backend.List(ctx, "") {
		if err != nil {
			return err
		}
		there[info.Name] = true
	}
	for _, pack := range p.census.packs {
		if pack.users > 0 {
			there[packName(pack.name)] = there[packName(pack.name)] || pack.size == 0
		}
	}
	var names []string
	for _, sidecar := range p.census.sidecars {
		name, ok := parityOf(sidecar)
		if ok && protectable(name) && !there[name] && there[sidecar] && name != identityName && name != keyName {
			names = append(names, sidecar)
		}
	}
	return s.backend.Remove(ctx, names...)
}

func (s *Store) protectNew(ctx context.Context, o *PruneOptions) error {
	parity, err := o.Parity.normal()
	if err != nil {
		return err
	}
	parity.Progress = func(n int64) { o.tell("write parity", n) }
	return s.protect(ctx, parity, &ParityResult{})
}
