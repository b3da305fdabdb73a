package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

const (
	// patience is how long a prune waits for checkpoints and restores under way: the next one does it as well.
	patience = time.Second
	// repackBelow is the share of needed bytes below which a pack is written anew.
	repackBelow = 0.5
	// repackEvery is how often packs are looked at for that: all entries of all checkpoints are read.
	repackEvery = time.Hour
	// A prune has the store for itself, and a restore may wait for it. Either part of it may be stopped at any
	// instant, and a later one goes on.
	mostRemoving  = 30 * time.Second
	mostRepacking = 10 * time.Second
)

// Prune removes the oldest checkpoints of a kind until keep are left, their folders, and the data that no
// checkpoint needs any more. While one of any component is taken or restored, nothing is removed. The last
// checkpoint that is known to be good stays, however many there are.
func (s *Store) Prune(ctx context.Context, component string, kind Kind, keep int) (removed []string, err error) {
	if err := checkName(component, kind); err != nil {
		return nil, err
	}
	// Who heals waits for the prune after the fault's checkpoint: data is written anew after others.
	p := pruning{keep: map[string]int{setOf(component, kind): keep}, repack: kind == KindHealthy && s.repackDue()}
	return s.pruned(ctx, component, p)
}

// MakeRoom makes room for one more checkpoint of a kind on a disk that is full: it prunes all of the component's
// so that with that one keep are left of its kind, one at least besides it, and removes what those that failed
// have left.
func (s *Store) MakeRoom(ctx context.Context, component string, kind Kind, keep int) (removed []string, err error) {
	if err := checkName(component, kind); err != nil {
		return nil, err
	}
	p := pruning{keep: map[string]int{}, repack: true, sweep: true}
	for _, k := range kinds() {
		p.keep[setOf(component, k)] = keep
	}
	p.keep[setOf(component, kind)] = max(1, keep-1)
	return s.pruned(ctx, component, p)
}

// pruning is what a prune is to do.
type pruning struct {
	// keep says how many checkpoints of which sets are left.
	keep map[string]int
	// repack says that packs of which little is needed are written anew.
	repack bool
	// sweep looks for data that nobody needs even if no checkpoint goes.
	sweep bool
}

// repackDue says whether it is time to look for packs to write anew, and notes that it was done.
func (s *Store) repackDue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.repacked.IsZero() && time.Since(s.repacked) < repackEvery {
		return false
	}
	s.repacked = time.Now()
	return true
}

func (s *Store) pruned(ctx context.Context, component string, p pruning) (removed []string, err error) {
	fail := func(err error) ([]string, error) {
		return removed, fmt.Errorf("prune the checkpoints of %s: %w", component, hinted(err))
	}
	g, err := s.look(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return fail(err)
	}
	defer g.Close()
	all, err := g.List(ctx, "")
	if err != nil {
		return fail(err)
	}
	var old []string
	for set, keep := range p.keep {
		some, err := oldest(all, set, keep)
		if err != nil {
			return fail(err)
		}
		old = append(old, some...)
	}
	// The lock is for those who have something to do: all others would wait for nothing.
	if s.dropDamaged(ctx, g, all) || len(old) > 0 || p.sweep {
		if removed, err = s.remove(ctx, g, old, p.repack); err != nil {
			return fail(err)
		}
	}
	for set := range p.keep {
		if err := s.dropViews(ctx, g, set); err != nil {
			return fail(err)
		}
	}
	return removed, nil
}

// oldest are the ids of the goldens of a set that go when keep are left.
func oldest(all []store.Info, set string, keep int) (ids []string, err error) {
	sound, _, err := sorted(slices.DeleteFunc(slices.Clone(all), func(i store.Info) bool { return i.Set != set }))
	for _, c := range sound[:max(0, len(sound)-max(0, keep))] {
		ids = append(ids, filepath.Base(c.ID))
	}
	return ids, err
}

// remove removes goldens, then packs that nobody needs, then writes packs anew. The last part takes longest and
// matters least, so that it has a bound of its own.
func (s *Store) remove(ctx context.Context, g opened, ids []string, repack bool) (removed []string, err error) {
	// The clock may have been wrong when they were taken: the numbers decide, and no age does.
	o := store.PruneOptions{Remove: ids, Quick: true, ClockIsRight: true, Patience: patience}
	r, whole, err := s.bounded(ctx, g, o, s.removing)
	if r != nil && r.Plan != nil && r.Goldens > 0 {
		for _, f := range r.Plan.Goldens {
			if !f.Keep {
				removed = append(removed, f.Set+"/"+f.ID)
			}
		}
		slices.Sort(removed)
	}
	if err != nil || !whole {
		return removed, err
	}
	for _, why := range r.Plan.Blocked {
		s.log.Warn("no data of old checkpoints is removed", "reason", why)
	}
	if repack {
		o.Remove, o.Repack = nil, repackBelow
		_, _, err = s.bounded(ctx, g, o, s.repacking)
	}
	return removed, err
}

// bounded prunes for so long; whole says whether it came to its end. That it did not is no error.
func (s *Store) bounded(ctx context.Context, g opened, o store.PruneOptions, most time.Duration) (r *store.PruneResult, whole bool, err error) {
	bound, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	r, err = g.Prune(bound, o)
	switch {
	case err == nil:
		return r, true, nil
	case !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
		return r, false, err
	case r == nil:
		s.log.Debug("the checkpoints are in use; old ones are removed the next time")
	default:
		s.log.Warn("what old checkpoints leave was not removed in time; the next prune goes on with it", "after", most, "error", err)
	}
	return r, false, nil
}

// dropDamaged removes checkpoints of any component that nobody can ever restore, and says whether one went. They
// would keep all data of all components from being removed.
func (s *Store) dropDamaged(ctx context.Context, g opened, all []store.Info) (dropped bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, i := range useless(all, time.Now()) {
		id := i.Set + "/" + i.ID
		if err := g.RemoveDamaged(ctx, i.Set, i.ID); err != nil {
			s.log.Warn("a damaged checkpoint keeps data of old ones from being removed, and stays for now", "checkpoint", id, "damage", i.Err, "error", err)
			continue
		}
		s.log.Warn("a damaged checkpoint was removed", "checkpoint", id, "damage", i.Err)
		dropped = true
	}
	return dropped
}

// useless are the damaged checkpoints whose set has a newer one that is sound. The time in a golden's name is all
// that is left to compare; one that is still to come is of a clock that was wrong, and tells nothing.
func useless(all []store.Info, now time.Time) []store.Info {
	newest := make(map[string]time.Time)
	for _, i := range all {
		if last, ok := newest[i.Set]; i.Err == nil && (!ok || i.Created().After(last)) {
			newest[i.Set] = i.Created()
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(i store.Info) bool {
		last, sound := newest[i.Set]
		when := i.Created()
		_, _, foreign := parseSet(i.Set)
		return foreign != nil || !errors.Is(i.Err, format.ErrDamaged) || !sound || !when.Before(last) && !when.After(now)
	})
}
