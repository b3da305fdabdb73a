package guardian

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/enforce"
)

// newIsolation is the next one of a source, with the term that its offences ask for. The caller holds mu.
func (g *Guardian) newIsolation(p netip.Prefix, now time.Time) shivx.Isolation {
	o := g.state.Offences[p]
	if now.Sub(o.Last) > g.o.Rules.Remember {
		o.Count = 0
		delete(g.state.Offences, p) // or else the first of the next ones would not be counted
	}
	n := o.Count + 1
	now = now.UTC()
	return shivx.Isolation{Source: shivx.SourceString(p), Since: now, Until: now.Add(termOf(g.o.Rules.Terms, n)), Offence: n, Host: g.o.Host,
		Changed: later(now, g.state.Isolations[p].Changed)}
}

// isolate enforces an isolation, or a change of one. The caller holds mu and records it.
func (g *Guardian) isolate(p netip.Prefix, i shivx.Isolation) {
	if !g.state.put(p, i) || g.set.Allows(p) {
		return // the allow list of this host outranks it, here
	}
	g.set.Put(i)
	g.detector.Pin(p)
	delta := enforce.Delta{Put: []shivx.Isolation{i}}
	g.board.Apply(delta)
	g.stream.Note(delta, g.o.Now())
	g.endsBy(i.Until)
	select {
	case g.fresh <- p:
	default: // so many at once: those that are checked stand for the rest
	}
}

// release lets a source go, which starts afresh; asked when it was not its term that ended. The caller
// holds mu and records it.
func (g *Guardian) release(p netip.Prefix, asked bool) {
	g.set.Drop(p)
	g.detector.Unpin(p)
	delete(g.leaks, p)
	delta := enforce.Delta{Drop: []netip.Prefix{p}, Asked: asked}
	g.board.Apply(delta)
	g.stream.Note(delta, g.o.Now())
}

// endsBy makes keepTime look again by then.
func (g *Guardian) endsBy(until time.Time) {
	if until.IsZero() || !g.nextEnd.IsZero() && !until.Before(g.nextEnd) {
		return
	}
	g.nextEnd = until
	g.awaken()
}

// Isolate isolates a source because a person or a program asks for it. One that is isolated already
// gets the new term.
func (g *Guardian) Isolate(ctx context.Context, r shivx.IsolationRequest) (shivx.Isolation, error) {
	p, err := g.asked(r)
	if err != nil {
		return shivx.Isolation{}, err
	}
	defer g.recorded(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now()
	i, held := g.state.Isolations[p]
	action := shivx.ActionExtended
	if !held || !i.InForce(now) {
		i, action = g.newIsolation(p, now), shivx.ActionIsolatedByHand
		i.Type, i.Reason = shivx.ThreatReported, r.Why
	}
	i.By, i.Why = r.By, r.Why
	i.Changed = later(now.UTC(), i.Changed)
	switch {
	case r.Indefinite:
		i.Until = time.Time{}
	case r.For != 0:
		i.Until = now.UTC().Add(r.For.Std())
	}
	g.isolate(p, i)
	g.recordIsolation(i, action)
	return i, nil
}

// Extend changes the term of an isolated source.
func (g *Guardian) Extend(ctx context.Context, r shivx.IsolationRequest) (shivx.Isolation, error) {
	p, err := g.asked(r)
	if err != nil {
		return shivx.Isolation{}, err
	}
	if r.For == 0 && !r.Indefinite {
		return shivx.Isolation{}, shivx.Hint(fmt.Errorf("an extension needs a term"), `set "for" to a time such as "24h", or "indefinite" to true`)
	}
	if _, held := g.Isolation(p); !held {
		return shivx.Isolation{}, g.notIsolated(p)
	}
	return g.Isolate(ctx, r)
}

// ErrNotIsolated: the source is not isolated.
var ErrNotIsolated = fmt.Errorf("it is not isolated")

func (g *Guardian) notIsolated(p netip.Prefix) error {
	return shivx.Hint(fmt.Errorf("%s: %w", shivx.SourceString(p), ErrNotIsolated), "shivx guardian status lists the sources that are")
}

// ErrAllowed: the source is on the allow list.
var ErrAllowed = fmt.Errorf("it is on the allow list")

// asked checks what a person asks for.
func (g *Guardian) asked(r shivx.IsolationRequest) (netip.Prefix, error) {
	if err := r.Check(); err != nil {
		return netip.Prefix{}, err
	}
	p, err := shivx.ParseSource(r.Source)
	if err != nil {
		return p, err
	}
	if g.set.Allows(p) {
		return p, shivx.Hint(fmt.Errorf("%s: %w", r.Source, ErrAllowed), "the allow list outranks every isolation; take it out of guardian.allow first")
	}
	return p, nil
}

// Restore lets a source go at once.
func (g *Guardian) Restore(ctx context.Context, source, by, why string) (shivx.Isolation, error) {
	r := shivx.IsolationRequest{Source: source, By: by, Why: why}
	if err := r.Check(); err != nil {
		return shivx.Isolation{}, err
	}
	p, err := shivx.ParseSource(source)
	if err != nil {
		return shivx.Isolation{}, err
	}
	defer g.recorded(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	i, held := g.state.Isolations[p]
	now := g.o.Now().UTC()
	if !held || !i.InForce(now) {
		return shivx.Isolation{}, g.notIsolated(p)
	}
	return g.lift(p, i, by, why), nil
}

// lift ends an isolation before its term. The caller holds mu.
func (g *Guardian) lift(p netip.Prefix, i shivx.Isolation, by, why string) shivx.Isolation {
	i.Lifted, i.By, i.Why = true, by, why
	i.Changed = later(g.o.Now().UTC(), i.Changed)
	g.state.put(p, i)
	g.release(p, true)
	g.recordIsolation(i, shivx.ActionRestored)
	return i
}

// later returns now, or a moment after before: statements about a source are told apart by their time.
func later(now, before time.Time) time.Time {
	if now.After(before) {
		return now
	}
	return before.Add(time.Microsecond)
}

func (g *Guardian) recordIsolation(i shivx.Isolation, action shivx.Action) {
	g.records.put(shivx.GuardianRecord{
		EventID:   fmt.Sprintf("isolation/%s/%s/%s/%d", g.o.Host, action, i.Source, i.Changed.UnixNano()),
		Timestamp: g.o.Now().UTC(), EventType: shivx.EventIsolation, ThreatType: i.Type, Source: i.Source, Details: i, ActionTaken: action,
	})
	g.log.Info("isolation", "source", i.Source, "action", action, "until", i.Until, "by", i.By, "why", i.Why)
}

// Isolation returns what is in force for a source.
func (g *Guardian) Isolation(p netip.Prefix) (shivx.Isolation, bool) {
	i, ok := g.set.Get(p)
	return i, ok && i.InForce(g.o.Now())
}

// Check says whether an address is refused, and why.
func (g *Guardian) Check(a netip.Addr) enforce.Verdict { return g.set.Look(a, g.o.Now()) }

// clocksApart is how far a statement may be ahead of this host's clock: of two statements the later
// holds, and one from far ahead would hold for ever.
const clocksApart = time.Hour

// Fleet takes what the fleet knows of sources. Of two statements about one the later holds; what the
// fleet does not mention stays: a Temporal that lost its memory must not let attackers in.
func (g *Guardian) Fleet(isolations []shivx.Isolation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now()
	for _, i := range isolations {
		p, err := shivx.ParseSource(i.Source)
		if err == nil {
			err = shivx.CheckWidth(p)
		}
		if err == nil && i.Changed.After(now.Add(clocksApart)) {
			err = fmt.Errorf("it was changed at %s, which is still to come: the clocks differ", i.Changed.Format(time.RFC3339))
		}
		if err != nil {
			g.log.Warn("an isolation of the fleet is passed over", "source", i.Source, "error", err)
			continue
		}
		old, held := g.state.Isolations[p]
		// By a clock that is ahead it is kept, though it ends nothing here: what is said here later comes after it.
		if held && !i.Changed.After(old.Changed) || !held && !i.InForce(now) && !i.Changed.After(now) {
			continue
		}
		switch {
		case i.InForce(now):
			g.isolate(p, i)
			g.recordIsolation(i, shivx.ActionFollowed)
		case old.InForce(now):
			g.state.put(p, i)
			g.release(p, false)
			g.recordIsolation(i, shivx.ActionFollowed)
		default:
			g.state.put(p, i)
		}
	}
}

// expire lets go of whose term is over. The caller holds mu.
func (g *Guardian) expire(now time.Time) {
	if g.nextEnd.IsZero() || now.Before(g.nextEnd) {
		return
	}
	g.nextEnd = time.Time{}
	for p, i := range g.state.Isolations {
		switch {
		case i.Lifted || i.Until.IsZero():
		case i.InForce(now):
			if g.nextEnd.IsZero() || i.Until.Before(g.nextEnd) {
				g.nextEnd = i.Until
			}
		default:
			if _, enforced := g.set.Get(p); enforced {
				g.release(p, true)
				g.recordIsolation(i, shivx.ActionExpired)
			}
		}
	}
	g.state.prune(now, g.o.Rules.Remember)
	if soonest := now.Add(expireEvery); !g.nextEnd.IsZero() && g.nextEnd.Before(soonest) {
		g.nextEnd = soonest
	}
}

// expireEvery is how often terms are looked through while many end; the kernel and Check are exact.
const expireEvery = time.Second

// resume enforces what the audit says is in force. An isolation of a source that was allowed meanwhile
// is lifted.
func (g *Guardian) resume() {
	now := g.o.Now()
	st := enforce.State{Allow: g.allow, Lockdown: g.lockdownFor(now), Isolations: make([]shivx.Isolation, 0, len(g.state.Isolations))}
	var ended []netip.Prefix
	for p, i := range g.state.Isolations {
		switch {
		case !i.InForce(now):
			ended = append(ended, p)
		case g.set.Allows(p):
			i.Why = "it is on the allow list of this host"
			g.recordIsolation(i, shivx.ActionSpared)
		default:
			st.Isolations = append(st.Isolations, i)
			g.detector.Pin(p)
			g.endsBy(i.Until)
		}
	}
	g.set.Replace(st)
	g.stream.Note(enforce.Delta{Drop: ended, Put: st.Isolations, Lockdown: &st.Lockdown}, now)
	g.tighten(now)
}

// enforced is all that an enforcer has to enforce.
func (g *Guardian) enforced() enforce.State {
	now := g.o.Now()
	s := enforce.State{Allow: g.allow, Lockdown: g.set.Lockdown()}
	for _, i := range g.set.All() {
		if i.InForce(now) {
			s.Isolations = append(s.Isolations, i)
		}
	}
	return s
}
