package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// PruneOptions say what may go.
type PruneOptions struct {
	// Policy is the one for the goldens of a set, a host and a kind, of which it is given the newest.
	// Nil: no golden is removed for its age.
	Policy func(newest format.Header) Policy
	// Remove are ids of goldens that are no longer wanted, named ones among them. What is immutable,
	// and the last good one, stays even so.
	Remove []string
	// Repack is the share of live bytes below which a pack is written anew, such as 0.5. Zero: none is.
	Repack float64
	// Batch is how many live bytes are written anew, one pack at least, before the packs that held them go and the
	// next are begun. A prune that is cut off keeps its batches, and a golden is written anew in each that it is
	// part of. Zero: all is one batch.
	Batch int64
	// Quick takes a golden for good when its list and the indexes of its packs are whole. Otherwise
	// all of it is read before older ones are removed.
	Quick bool
	// ClockIsRight overrules the doubts about the clock.
	ClockIsRight bool
	// Parity is that of what is written anew; nil: it gets none.
	Parity *ParityOptions
	// Patience is how long Prune waits for the store to be idle; the error wraps context.DeadlineExceeded after
	// it. Zero: as long as the context holds.
	Patience time.Duration
	// Now is the time that ages are counted from; zero: now.
	Now time.Time
	// Progress, if not nil, is told what is done, and of how many bytes.
	Progress func(step string, bytes int64)
}

func (o *PruneOptions) tell(step string, bytes int64) {
	if o.Progress != nil {
		o.Progress(step, bytes)
	}
}

// PackFate is what prune does with a pack that does not stay as it is.
type PackFate struct {
	Pack format.Hash
	// Size and Live are bytes: of the pack, and of its blocks that are needed.
	Size, Live int64
	// Repack says that what is live is written anew before the pack is removed.
	Repack bool
}

// PrunePlan is what a prune would do.
type PrunePlan struct {
	// Goldens are all there are, newest first.
	Goldens []Fate
	// Packs are those that go; Kept is how many stay.
	Packs []PackFate
	Kept  int
	// Freed is how many bytes the store has less afterwards, parity not counted.
	Freed int64
	// Blocked says why no pack is removed; empty: they are.
	Blocked []string
	// Pinned are packs that would be repacked, were not goldens of others or damaged ones in the way.
	Pinned int

	census *census
	// gone and stay are the goldens by their fate.
	gone, stay []*counted
}

// PlanPrune says what Prune would do, and changes nothing.
func (s *Store) PlanPrune(ctx context.Context, o PruneOptions) (*PrunePlan, error) {
	release, err := s.Lock(ctx, Shared)
	if err != nil {
		return nil, err
	}
	p, err := s.planPrune(ctx, &o)
	if err = errors.Join(err, release()); err != nil {
		return nil, fmt.Errorf("plan to prune: %w", err)
	}
	return p, nil
}

func (s *Store) planPrune(ctx context.Context, o *PruneOptions) (*PrunePlan, error) {
	c, err := s.census(ctx)
	if err != nil {
		return nil, err
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	p := &PrunePlan{census: c}
	if err := s.decideGoldens(ctx, p, o); err != nil {
		return nil, err
	}
	for _, g := range p.gone {
		for _, n := range g.packs {
			c.packs[n].users--
		}
	}
	return p, s.decidePacks(ctx, p, o)
}

// decideGoldens fills the fates.
func (s *Store) decideGoldens(ctx context.Context, p *PrunePlan, o *PruneOptions) error {
	type kin struct {
		set, host string
		kind      format.Kind
		// own keeps goldens apart that another trusted key has signed in the name of this host: they must not
		// count for its own.
		own bool
	}
	groups := make(map[kin][]*Fate)
	fates := make([]*Fate, 0, len(p.census.goldens))
	var created []time.Time
	for _, g := range p.census.goldens {
		f := &Fate{Set: g.set, ID: g.id, Host: g.header.Host, Name: g.header.Name, Kind: g.header.Kind, Created: g.created(), golden: g}
		fates = append(fates, f)
		if g.err != nil {
			f.keep("prune removes only what it can read and trust: %v", g.err)
			continue
		}
		created = append(created, f.Created)
		k := kin{g.set, f.Host, f.Kind, g.own}
		groups[k] = append(groups[k], f)
	}
	for _, group := range groups {
		policy := Policy{}
		if o.Policy != nil {
			policy = o.Policy(group[0].golden.header)
		}
		policy.decide(group, o.Now)
		for _, f := range group {
			f.byHand(o, policy)
		}
	}
	if slices.ContainsFunc(fates, func(f *Fate) bool { return !f.Keep }) && !o.ClockIsRight {
		if err := checkClock(o.Now, created); err != nil {
			return err
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(groups), func(a, b kin) int { return strings.Compare(a.set+"/"+a.host, b.set+"/"+b.host) }) {
		if err := s.keepLastGood(ctx, groups[k], o); err != nil {
			return err
		}
	}
	for _, f := range fates {
		p.Goldens = append(p.Goldens, *f)
		if f.Keep {
			p.stay = append(p.stay, f.golden)
		} else {
			p.gone = append(p.gone, f.golden)
		}
	}
	return checkNamed(o.Remove, fates)
}

// byHand lets a golden go that somebody has named, unless it is protected.
func (f *Fate) byHand(o *PruneOptions, p Policy) {
	if !slices.Contains(o.Remove, f.ID) {
		return
	}
	f.Keep, f.Why = false, []string{"its removal is asked for"}
	f.protect(p, time.UTC, o.Now)
}

// checkNamed is an error for ids that no golden has.
func checkNamed(ids []string, fates []*Fate) error {
	for _, id := range ids {
		if !slices.ContainsFunc(fates, func(f *Fate) bool { return f.ID == id }) {
			return shivx.Hint(fmt.Errorf("there is no golden %s", id), "list the goldens; an id has to be given in full")
		}
	}
	return nil
}

// keepLastGood sees to it that of goldens of which some go, one stays that is known to be good: one of
// those that are kept anyway, or else the newest that is.
func (s *Store) keepLastGood(ctx context.Context, group []*Fate, o *PruneOptions) error {
	if !slices.ContainsFunc(group, func(f *Fate) bool { return !f.Keep }) {
		return nil
	}
	for _, kept := range []bool{true, false} {
		for _, f := range group {
			if f.Keep != kept {
				continue
			}
			err := s.good(ctx, f.golden, o)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				if !kept {
					f.keep("the last that is known to be good")
				}
				return nil
			}
			f.Why = append(f.Why, fmt.Sprintf("it is not good: %v", err))
		}
	}
	for _, f := range group {
		if !f.Keep {
			f.keep("none of its set is known to be good")
		}
	}
	return nil
}

// good checks a golden before others are removed because of it.
func (s *Store) good(ctx context.Context, c *counted, o *PruneOptions) error {
	g, err := s.open(ctx, c)
	if err != nil {
		return err
	}
	if !o.Quick {
		return g.deepCheck(ctx, func(n int64) { o.tell("check golden "+c.id, n) })
	}
	if !s.locked {
		if _, err := g.blocks(ctx); err != nil {
			return err
		}
	}
	k := &check{g: g, progress: func(n int64) { o.tell("check golden "+c.id, n) }}
	if err := k.entries(ctx); err != nil {
		return err
	}
	if len(k.damages) > 0 {
		return &DamageError{Damages: k.damages}
	}
	return nil
}
