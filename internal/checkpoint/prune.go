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
	// repackBatch is how many needed bytes are written anew at a time: a prune that is stopped loses that much. On a
	// full disk it is roomBatch, as there may be no more room than what checkpoints leave.
	repackBatch = 128 << 20
	roomBatch   = roomLeft / 2
)

// Prune removes the oldest checkpoints of a kind until keep are left, their folders, and the data that no
// checkpoint needs any more. While one of any component is taken or restored, nothing is removed. The last
// checkpoint that is known to be good stays, however many there are.
func (s *Store) Prune(ctx context.Context, component string, kind Kind, keep int) (removed []string, err error) {
	if err := checkName(component, kind); err != nil {
		return nil, err
	}
	// Who heals waits for the prune after the fault's checkpoint: data is written anew after others.
	p := pruning{keep: map[string]int{setOf(component, kind): keep}}
	if kind == KindHealthy && s.repackDue() {
		p.repack = repackBatch
	}
	d, err := s.pruned(ctx, component, p)
	return d.removed, err
}

// MakeRoom makes room for one more checkpoint of a kind on a disk that is full: it prunes all of the component's
// so that with that one keep are left of its kind, one at least besides it, and removes what those that failed
// have left. freed says whether there is more room now: what nobody needed any more may have gone though no
// checkpoint did.
func (s *Store) MakeRoom(ctx context.Context, component string, kind Kind, keep int) (removed []string, freed bool, err error) {
	if err := checkName(component, kind); err != nil {
		return nil, false, err
	}
	p := pruning{keep: map[string]int{}, repack: roomBatch, sweep: true}
	for _, k := range kinds() {
		p.keep[setOf(component, k)] = keep
	}
	p.keep[setOf(component, kind)] = max(1, keep-1)
	d, err := s.pruned(ctx, component, p)
	return d.removed, d.freed, err
}

// pruning is what a prune is to do.
type pruning struct {
	// keep says how many checkpoints of which sets are left.
	keep map[string]int
	// repack is how many bytes of packs of which little is needed are written anew at a time; 0: none are.
	repack int64
	// sweep looks for data that nobody needs even if no checkpoint goes.
	sweep bool
}

// done is what a prune did, or the part of one.
type done struct {
	// removed are the checkpoints that went.
	removed []string
	// freed says that these, or anything else, left room.
	freed bool
}

// repackDue says whether it is time to look for packs to write anew.
func (s *Store) repackDue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repacked.IsZero() || time.Since(s.repacked) >= repackEvery
}

func (s *Store) noteRepacked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repacked = time.Now()
}

func (s *Store) pruned(ctx context.Context, component string, p pruning) (d done, err error) {
	fail := func(err error) (done, error) {
		return d, fmt.Errorf("prune the checkpoints of %s: %w", component, hinted(err))
	}
	g, err := s.look(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
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
	dropped := s.dropDamaged(ctx, g, all)
	// The lock is for those who have something to do: all others would wait for nothing.
	if dropped || len(old) > 0 || p.sweep {
		d, err = s.remove(ctx, g, old, p.repack)
	}
	d.freed = d.freed || dropped
	if err != nil {
		return fail(err)
	}
	for set := range p.keep {
		dropped, err := s.dropViews(ctx, g, set)
		d.freed = d.freed || dropped
		if err != nil {
			return fail(err)
		}
	}
	return d, nil
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
func (s *Store) remove(ctx context.Context, g opened, ids []string, repack int64) (d done, err error) {
	// The clock may have been wrong when they were taken: the numbers decide, and no age does.
	o := store.PruneOptions{Remove: ids, Quick: true, ClockIsRight: true, Patience: patience}
	r, whole, err := s.bounded(ctx, g, o, &s.removing)
	// Of those at which it was cut off some may have gone.
	d.freed = r.Goldens+r.Packs > 0 || !whole && r.Plan != nil && len(r.Plan.Packs) > 0
	if r.Goldens > 0 {
		for _, f := range r.Plan.Goldens {
			if !f.Keep {
				d.removed = append(d.removed, f.Set+"/"+f.ID)
			}
		}
		slices.Sort(d.removed)
	}
	if err != nil || !whole {
		return d, err
	}
	for _, why := range r.Plan.Blocked {
		s.log.Warn("no data of old checkpoints is removed", "reason", why)
	}
	if repack == 0 {
		return d, nil
	}
	o.Remove, o.Repack, o.Batch = nil, repackBelow, repack
	r, whole, err = s.bounded(ctx, g, o, &s.repacking)
	d.freed = d.freed || r.Packs > 0
	// A disk that fails does so again at once. What only lacked the lock or the time is tried with the next prune.
	if whole || r.Rewritten > 0 || err != nil && ctx.Err() == nil {
		s.noteRepacked()
	}
	return d, err
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
