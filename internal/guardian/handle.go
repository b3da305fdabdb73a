package guardian

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/detect"
	"github.com/shivx/shivx/internal/guardian/ingest"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// handle takes the next events of a log. It never fails: what is decided is enforced in memory and
// recorded when the disk lets it.
func (g *Guardian) handle(ctx context.Context, b ingest.Batch) error {
	if first := g.take(b); first {
		// Or else a crash before the next checkpoint would lose what is written until then.
		g.complain("the place in the logs is not saved", g.saveCheckpoint(ctx))
	}
	return nil
}

// take says whether the log was opened for the first time.
func (g *Guardian) take(b ingest.Batch) (first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range b.Events {
		g.observe(&b.Events[i])
	}
	if b.Position != (ingest.Position{}) {
		_, known := g.positions[b.Log]
		g.positions[b.Log], first = b.Position, !known
	}
	g.moved = true
	return first
}

// aheadLimit is how far an event may be ahead of the clock: whoever writes it could else make windows
// that never end.
const aheadLimit = time.Minute

// observe takes one event. The caller holds mu.
func (g *Guardian) observe(e *logs.Event) {
	if !e.Addr.IsValid() {
		return // a name is no source: names are given by whoever holds the reverse zone
	}
	now := g.o.Now()
	if e.At == 0 || e.At > now.Add(aheadLimit).UnixNano() {
		e.At = now.UnixNano()
	}
	if v := g.set.Look(e.Addr, now); v.Refused && v.Isolation != nil {
		g.leaked(e, v.Isolation)
		return
	}
	g.decisions = g.detector.Observe(e, g.decisions[:0])
	for i := range g.decisions {
		g.decide(&g.decisions[i])
	}
}

// decide acts on a threat, and records it. The caller holds mu.
func (g *Guardian) decide(d *detect.Decision) {
	if _, held := g.Isolation(d.Prefix); held {
		return // a lockdown hides it from observe; its term stays as it is
	}
	if i := g.state.Isolations[d.Prefix]; i.Lifted && i.Threat == d.ID {
		d.ID += "/again" // let go and back within the same moment of the log
	}
	if g.o.Ledger.Has(d.ID) {
		return // after a crash lines are read again
	}
	now := g.o.Now()
	var isolation *shivx.Isolation
	action := shivx.ActionNone
	switch {
	case !d.Level.Serious():
	case spared(g.set, g.proxies, d.Prefix):
		action = shivx.ActionSpared
	case now.Sub(d.At) > g.o.Rules.StaleAfter:
		action = shivx.ActionStale
	case g.set.Len() >= maxIsolations:
		action = shivx.ActionFailed
		g.tell(aboutBlocks, fmt.Sprintf("%d sources are isolated, no more are taken: %s", maxIsolations, d.Reason), "isolate the networks they are of by hand")
	default:
		i := g.newIsolation(d.Prefix, now)
		i.Type, i.Reason, i.Threat, i.By = d.Type, d.Reason, d.ID, shivx.Guardian
		isolation = &i
		action = shivx.ActionIsolated
		g.isolate(d.Prefix, i)
	}
	g.recordThreat(d.Threat, action, isolation)
	if d.Level.Serious() && action != shivx.ActionSpared && action != shivx.ActionStale {
		g.countSerious(now)
	}
}

// recordThreat records a threat with its evidence beside the details. The caller holds mu.
func (g *Guardian) recordThreat(t shivx.Threat, action shivx.Action, isolation *shivx.Isolation) {
	details := map[string]any{"host": t.Host, "reason": t.Reason, "at": t.At}
	if isolation != nil {
		details["isolation"] = isolation
	}
	for k, v := range t.Evidence {
		if _, taken := details[k]; !taken {
			details[k] = v
		}
	}
	rec := shivx.GuardianRecord{
		EventID: t.ID, Timestamp: g.o.Now().UTC(), EventType: shivx.EventThreat, ThreatType: t.Type, ThreatLevel: t.Level,
		Source: t.Source, Details: details, ActionTaken: action,
	}
	g.state.count(t.Type, t.Level)
	g.records.put(rec)
	say := g.log.Info
	if t.Level.Serious() {
		say = g.log.Warn
	}
	say("threat", "type", t.Type, "source", t.Source, "reason", t.Reason, "action", action)
}

// leak counts what still arrives from an isolated source.
type leak struct {
	since time.Time
	count int
	told  bool
}

const (
	// leakGrace is how long after an isolation began what the source had under way may still arrive.
	leakGrace = 5 * time.Second
	// leakMany is how many events after that show that the isolation does not bite.
	leakMany = 3
)

// leaked notes an event of an isolated source. What the server itself has refused is no leak: there the
// isolation works through the server. The caller holds mu.
func (g *Guardian) leaked(e *logs.Event, i *shivx.Isolation) {
	refused := e.Kind == logs.Denied || e.Kind == logs.Request && (e.Status == 401 || e.Status == 403 || e.Status == 429 || e.Status == 444)
	p, err := shivx.ParseSource(i.Source)
	if refused || err != nil || time.Unix(0, e.At).Before(i.Since.Add(leakGrace)) {
		return
	}
	l := g.leaks[p]
	if l == nil || !l.since.Equal(i.Since) {
		l = &leak{since: i.Since}
		g.leaks[p] = l
	}
	if l.count++; l.count < leakMany || l.told {
		return
	}
	l.told = true
	g.ineffective(*i, time.Unix(0, e.At), map[string]any{"events": l.count, "enforcers": g.enforcerNames()},
		"a proxy in front of the service must be in guardian.trusted_proxies and refuse by forward-auth or a deny file; see the enforcers in shivx guardian status")
}

func (g *Guardian) enforcerNames() []string {
	names := []string{}
	for _, e := range g.o.Enforcers {
		names = append(names, e.Name())
	}
	return names
}

// Reported is an event that an application tells of.
type Reported struct {
	// Source is the address of whoever did it.
	Source netip.Addr
	Kind   logs.Kind
	// Count of what happened, at least 1.
	Count              int
	User, Method, Path string
	Agent              string
	Status             int
	// At is when; zero: now.
	At time.Time
}

// Report takes events of applications.
func (g *Guardian) Report(events []Reported) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range events {
		e := logs.Event{
			Kind: r.Kind, Addr: r.Source.Unmap(), Count: max(r.Count, 1), User: []byte(r.User), Method: []byte(r.Method),
			Path: []byte(r.Path), Agent: []byte(r.Agent), Status: r.Status, Rule: "api",
		}
		if !r.At.IsZero() {
			e.At = r.At.UnixNano()
		}
		g.observe(&e)
	}
	g.moved = true
}
