package golden

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

// repackBelow is the share of needed bytes below which a pack is written anew.
const repackBelow = 0.5

// Pruned is what a prune removed, or would remove.
type Pruned struct {
	// Removed are the ids, Kept counts the set's goldens that stay, Freed is in bytes of the store.
	Removed []string
	Kept    int
	Freed   int64
	// Fates says of each golden of the store why it stays or goes.
	Fates []store.Fate
	// Blocked says why no stored data was removed; empty: it was.
	Blocked []string
}

// PruneOrder says what is to be pruned.
type PruneOrder struct {
	// Set "" stands for all sets that are configured here, and Kind "" for all kinds.
	Set  string
	Kind shivx.GoldenKind
	// Plan changes nothing.
	Plan bool
	// Remove are whole ids of goldens that are no longer wanted, named ones among them; no other is removed then.
	// What is immutable stays, and so does the last good one.
	Remove []string
	// ClockIsRight overrules the doubts about the clock.
	ClockIsRight bool
}

// Prune removes the goldens of a kind of a set that its retention does not ask for, and the data that no
// golden needs any more; other sets and hosts keep theirs. The error is store.ErrClock when the clock may be wrong.
func (e *Engine) Prune(ctx context.Context, order PruneOrder, tell func(shivx.GoldenProgress)) (Pruned, error) {
	s, err := e.open(ctx, false)
	if errors.Is(err, fs.ErrNotExist) {
		return Pruned{}, nil // nothing was stored yet
	}
	if err != nil {
		return Pruned{}, err
	}
	defer s.Close()
	o := store.PruneOptions{Policy: e.policy(order), Remove: order.Remove, Repack: repackBelow, Parity: parityOptions(e.o.Parity),
		ClockIsRight: order.ClockIsRight}
	m := e.meter(shivx.GoldenStepPrune, tell, 0, 0)
	o.Progress = func(_ string, bytes int64) { m.at(bytes, 0) }
	if order.Plan {
		p, err := s.PlanPrune(ctx, o)
		if err != nil {
			return Pruned{}, err
		}
		return pruned(p, order), nil
	}
	r, err := s.Prune(ctx, o)
	if err != nil || r.Plan == nil {
		return Pruned{}, err
	}
	return pruned(r.Plan, order), nil
}

func pruned(p *store.PrunePlan, order PruneOrder) Pruned {
	out := Pruned{Freed: p.Freed, Fates: p.Goldens, Blocked: p.Blocked}
	for _, f := range p.Goldens {
		switch {
		case order.Set != "" && f.Set != order.Set, order.Kind != "" && string(f.Kind) != string(order.Kind):
		case f.Keep:
			out.Kept++
		default:
			out.Removed = append(out.Removed, f.ID)
		}
	}
	return out
}

// policy is the retention of the goldens of this host; those of others, and of sets that are not configured
// here, are all kept.
func (e *Engine) policy(order PruneOrder) func(format.Header) store.Policy {
	return func(h format.Header) store.Policy {
		if h.Host != e.o.Host || order.Set != "" && h.Set != order.Set || order.Kind != "" && string(h.Kind) != string(order.Kind) {
			return store.Policy{}
		}
		s, err := e.Set(h.Set)
		if err != nil {
			return store.Policy{}
		}
		if len(order.Remove) > 0 {
			return store.Policy{MinAge: s.Keep.MinAge, Zone: s.Keep.Zone}
		}
		if h.Kind == format.KindSnapshot {
			return s.Snapshots
		}
		return s.Keep
	}
}

// parityOptions turns a share in percent into shards.
func parityOptions(percent int) *store.ParityOptions {
	if percent == 0 {
		return nil
	}
	const data = 50
	return &store.ParityOptions{Data: data, Parity: (percent*data + 99) / 100}
}

// protect adds parity to what was stored. A golden without it is a golden all the same.
func (e *Engine) protect(ctx context.Context, s *store.Store) error {
	o := parityOptions(e.o.Parity)
	if o == nil {
		return nil
	}
	r, err := s.Protect(ctx, *o)
	if err != nil {
		return fmt.Errorf("the golden is stored, but not its parity: %w", err)
	}
	for _, d := range r.Damaged {
		e.o.Logger.Error("what is stored is damaged and gets no parity", "damage", d.String())
	}
	return nil
}
