package enforce

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/shivx/shivx"
)

const (
	// firstWait and longestWait are the times between two tries of a broken enforcer; each wait is
	// twice the one before.
	firstWait, longestWait = 100 * time.Millisecond, 30 * time.Second
	// maxPending is how many sources may wait; more are replaced as a whole.
	maxPending = 50_000
)

// errCannotSay is for enforcers that are no Checker.
var errCannotSay = errors.New("the enforcer cannot say what it holds")

// errNotGiven is for what waits until it is due.
var errNotGiven = errors.New("the enforcer is not given this yet")

// lane feeds one enforcer.
type lane struct {
	enforcer Enforcer
	o        BoardOptions
	// turn is held while a method of the enforcer runs.
	turn chan struct{}
	wake chan struct{}

	mu sync.Mutex
	// pending has the last change of each source that waits; nil lets it go.
	pending  map[netip.Prefix]*shivx.Isolation
	lockdown *Lockdown
	// all says that everything is to be given anew.
	all bool
	// urgent is the greatest haste of what waits, taken that of what the enforcer was given last.
	urgent, taken Haste
	// given and applied count changes; the first one is the state at the start.
	given, applied uint64
	// moved is closed, and made anew, when applied grows.
	moved chan struct{}

	err     error
	last    time.Time
	entries int
}

func newLane(e Enforcer, o BoardOptions) *lane {
	return &lane{
		enforcer: e, o: o, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		pending: map[netip.Prefix]*shivx.Isolation{}, all: true, given: 1, moved: make(chan struct{}),
	}
}

// give queues a change.
func (l *lane) give(d Delta) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given++
	l.urgent = max(l.urgent, d.haste())
	if l.all = l.all || len(l.pending)+len(d.Put)+len(d.Drop) > maxPending; l.all {
		l.pending, l.lockdown = map[netip.Prefix]*shivx.Isolation{}, nil // State has it
	} else {
		for _, p := range d.Drop {
			l.pending[p.Masked()] = nil
		}
		for i := range d.Put {
			if p, err := shivx.ParseSource(d.Put[i].Source); err == nil {
				l.pending[p] = &d.Put[i]
			}
		}
		if d.Lockdown != nil {
			l.lockdown = d.Lockdown
		}
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take empties the queue; upTo is the number of the last change in it.
func (l *lane) take() (d Delta, all bool, upTo uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, i := range l.pending {
		if i == nil {
			d.Drop = append(d.Drop, p)
		} else {
			d.Put = append(d.Put, *i)
		}
	}
	clear(l.pending)
	d.Lockdown, all = l.lockdown, l.all
	l.lockdown, l.all = nil, false
	l.urgent, l.taken = Eventually, l.urgent
	return d, all, l.given
}

func (l *lane) run(ctx context.Context) {
	verify := time.NewTicker(verifyEvery)
	defer verify.Stop()
	wait := time.Duration(0)
	for {
		l.rest(ctx)
		if l.step(ctx) == nil {
			wait = 0
			select {
			case <-ctx.Done():
				return
			case <-l.wake:
			case <-verify.C:
				l.verify(ctx)
			}
			continue
		}
		wait = min(max(2*wait, firstWait), longestWait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait/2)): // so that enforcers do not try in step
		}
	}
}

// step applies what waits.
func (l *lane) step(ctx context.Context) error {
	d, all, upTo := l.take()
	if l.caughtUp(upTo) {
		return nil
	}
	if !l.lock(ctx) {
		return ctx.Err()
	}
	defer l.unlock()
	var err error
	if all {
		err = l.enforcer.Replace(ctx, l.o.State())
	} else {
		err = l.enforcer.Apply(ctx, d)
	}
	l.done(ctx, err, upTo)
	return err
}

func (l *lane) caughtUp(upTo uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied == upTo && l.err == nil
}

// done takes down how a try went, and tells; after an error everything is given anew.
func (l *lane) done(ctx context.Context, err error, upTo uint64) {
	l.tell(ctx, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err = err; err != nil {
		l.all, l.urgent = true, max(l.urgent, l.taken)
	} else {
		l.applied, l.last = upTo, time.Now()
		close(l.moved)
		l.moved = make(chan struct{})
	}
	if v, ok := l.enforcer.(Verifier); ok {
		l.entries = v.Entries()
	}
}

// tell says it when trouble begins or ends.
func (l *lane) tell(ctx context.Context, err error) {
	l.mu.Lock()
	before := l.err
	l.mu.Unlock()
	name := l.enforcer.Name()
	switch {
	case err != nil && ctx.Err() != nil: // the end of the agent is no trouble
	case err != nil && before == nil:
		l.o.Logger.Warn("enforcer fails", "enforcer", name, "error", err, "hint", shivx.HintOf(err))
		l.o.OnTrouble(name, err)
	case err == nil && before != nil:
		l.o.Logger.Info("enforcer works again", "enforcer", name)
		l.o.OnTrouble(name, nil)
	}
}

// verify lets the enforcer compare; what is not right is replaced by the next step.
func (l *lane) verify(ctx context.Context) {
	v, ok := l.enforcer.(Verifier)
	if !ok || !l.lock(ctx) {
		return
	}
	defer l.unlock()
	if err := v.Verify(ctx); err != nil {
		l.done(ctx, err, 0)
	}
}

func (l *lane) holds(ctx context.Context, p netip.Prefix) (bool, error) {
	c, ok := l.enforcer.(Checker)
	if !ok {
		return false, errCannotSay
	}
	if l.gathered(p) {
		return false, errNotGiven
	}
	if !l.lock(ctx) {
		return false, ctx.Err()
	}
	defer l.unlock()
	return c.Holds(ctx, p)
}

// lock takes the turn; it is false when ctx ends first. What waited until the agent's end is still done
// when nobody else has the turn.
func (l *lane) lock(ctx context.Context) bool {
	select {
	case l.turn <- struct{}{}:
		return true
	default:
	}
	select {
	case l.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *lane) unlock() { <-l.turn }

func (l *lane) status() EnforcerStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := EnforcerStatus{
		Name: l.enforcer.Name(), OK: l.err == nil && l.applied > 0, Behind: l.given - l.applied,
		LastApplied: l.last, Entries: l.entries,
	}
	if l.err != nil {
		s.Error = l.err.Error()
	}
	return s
}

func (l *lane) goal() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.given
}

// reached waits until the changes up to goal are applied and nothing is broken.
func (l *lane) reached(ctx context.Context, goal uint64) bool {
	for {
		l.mu.Lock()
		ok, moved := l.applied >= goal && l.err == nil, l.moved
		l.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		}
	}
}
