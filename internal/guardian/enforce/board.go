package enforce

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// verifyEvery is the time between two verifications of an enforcer.
const verifyEvery = 30 * time.Second

// Board tells enforcers what to enforce, each in a goroutine of its own, so that a slow or broken one
// holds up nobody.
type Board struct {
	lanes []*lane
}

// BoardOptions of NewBoard.
type BoardOptions struct {
	// Logger may be nil.
	Logger *slog.Logger
	// OnTrouble is told once when an enforcer begins to fail, or was found not to hold what it was
	// given, and with nil once it works again. It is called from the enforcer's goroutine; it may be nil.
	OnTrouble func(name string, err error)
	// State returns all that is to be enforced, with every change that was given to Apply before.
	State func() State
}

// EnforcerStatus is how one enforcer does.
type EnforcerStatus struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Error of the last try; "" when OK.
	Error string `json:"error,omitempty"`
	// Behind is how many changes were given that it has not applied.
	Behind uint64 `json:"behind"`
	// LastApplied is when it last applied what it was given.
	LastApplied time.Time `json:"last_applied,omitzero"`
	// Entries is how many sources it holds.
	Entries int `json:"entries"`
}

// NewBoard returns a board; nothing is enforced until Run.
func NewBoard(enforcers []Enforcer, o BoardOptions) *Board {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnTrouble == nil {
		o.OnTrouble = func(string, error) {}
	}
	b := &Board{}
	for _, e := range enforcers {
		b.lanes = append(b.lanes, newLane(e, o))
	}
	return b
}

// Run gives each enforcer the whole state, then the changes, until ctx is done. What is in force stays
// so when it returns.
func (b *Board) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, l := range b.lanes {
		all.Go(func() { l.run(ctx) })
	}
	all.Wait()
}

// Apply gives a change to all enforcers; it never waits for one.
func (b *Board) Apply(d Delta) {
	d.Put = slices.Clone(d.Put) // waits in the queues while the caller's may change
	for _, l := range b.lanes {
		l.give(d)
	}
}

// Status says how the enforcers do, in their order.
func (b *Board) Status() []EnforcerStatus {
	all := make([]EnforcerStatus, 0, len(b.lanes))
	for _, l := range b.lanes {
		all = append(all, l.status())
	}
	return all
}

// Settled waits until all enforcers have applied what was given before the call. When ctx ends first
// the error names those that have not.
func (b *Board) Settled(ctx context.Context) error {
	goals := make([]uint64, len(b.lanes))
	for i, l := range b.lanes {
		goals[i] = l.goal()
	}
	var late []string
	for i, l := range b.lanes {
		if !l.reached(ctx, goals[i]) {
			late = append(late, l.enforcer.Name())
		}
	}
	if late != nil {
		return fmt.Errorf("wait for the enforcers %s: %w", strings.Join(late, ", "), ctx.Err())
	}
	return nil
}

// Holds asks the enforcers that can say so whether they keep p out. One that cannot be asked, now or at
// all, is not in the answer.
func (b *Board) Holds(ctx context.Context, p netip.Prefix) map[string]bool {
	held := map[string]bool{}
	for _, l := range b.lanes {
		if ok, err := l.holds(ctx, p); err == nil {
			held[l.enforcer.Name()] = ok
		}
	}
	return held
}
