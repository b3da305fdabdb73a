package checkpoint

import (
	"context"
	"errors"
	"time"

	"github.com/shivx/shivx/internal/golden/store"
)

// A prune has the store for itself, and restores and checkpoints wait for it.
const (
	mostRemoving  = 30 * time.Second
	mostRepacking = 10 * time.Second
	// mostBound is what a bound may grow to: a checkpoint that waits for a prune has ten minutes in all.
	mostBound = 5 * time.Minute
)

// bound is how long a part of a prune may take. Each part begins with a look at what is stored, and of a large store
// that alone may take longer. So one that has come to nothing has twice as long the next time, and one that has ended
// has twice what it took, as the next one looks at as much.
type bound struct{ first, now time.Duration }

func (b bound) most() time.Duration { return max(b.first, b.now) }

// boundOf returns what a bound is now.
func (s *Store) boundOf(b *bound) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.most()
}

// widen doubles a bound, and returns what it is then.
func (s *Store) widen(b *bound) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.now = min(2*b.most(), mostBound)
	return b.most()
}

// fit sets a bound to what has been found to be enough.
func (s *Store) fit(b *bound, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.now = min(2*took, mostBound)
}

// bounded prunes for so long; whole says whether it came to its end. That it did not is no error.
func (s *Store) bounded(ctx context.Context, g opened, o store.PruneOptions, b *bound) (r store.PruneResult, whole bool, err error) {
	most := s.boundOf(b)
	limited, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	began := time.Now()
	got, err := g.Prune(limited, o)
	if got != nil {
		r = *got
	}
	switch {
	case err == nil:
		s.fit(b, time.Since(began))
		return r, true, nil
	case !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
		return r, false, err
	case limited.Err() == nil:
		s.log.Debug("the checkpoints are in use; old ones are removed the next time")
		return r, false, nil
	}
	next := most
	if r.Rewritten == 0 { // a batch that is written stays: so the next prune gets further in the same time
		next = s.widen(b)
	}
	s.log.Warn("what old checkpoints leave was not removed in time; a later prune goes on with it", "after", most, "next", next, "error", err)
	return r, false, nil
}
