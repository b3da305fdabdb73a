package health

import (
	"context"
	"fmt"
	"time"

	"github.com/shivx/shivx"
)

// listen repeats a heartbeat check: at its interval, and at once when a heartbeat changes its
// answer and when the lease runs out. A program whose answers alternate fast would fill ledgers and
// histories, so that two recoveries are at least one interval of the check apart: one that follows
// sooner waits, and the check counts as failing meanwhile. What is wrong never waits.
func (m *Monitor) listen(ctx context.Context, c *component, s *schedule, p *heartbeatProbe) {
	defer p.expect()()
	h := heard{every: s.probe.every}
	for {
		began := time.Now()
		if p.counts() {
			r := s.probe.measure(ctx)
			if ctx.Err() != nil {
				return
			}
			if h.take(r) {
				m.take(ctx, c, sample{Result: r, source: shivx.SourceHeartbeat})
			}
		}
		why := exit
		for why == exit && !h.changes(ctx, p) { // it has changed back, or its turn has just seen it
			why = c.pause(ctx, s, began, p.changed)
		}
		if why == ended {
			return
		}
	}
}

// heard is what the detector was told of one heartbeat check.
type heard struct {
	every time.Duration
	// last is the last answer, zero before the first; recovered is when one last passed after one
	// that failed.
	last      Result
	recovered time.Time
}

// take says whether the detector is to be told of an answer, and remembers it if so.
func (h *heard) take(r Result) bool {
	if !h.due(r.Healthy, r.At) {
		return false
	}
	if r.Healthy && h.fails() {
		h.recovered = r.At
	}
	h.last = r
	return true
}

func (h *heard) fails() bool { return !h.last.At.IsZero() && !h.last.Healthy }

// due is false for a recovery that follows the last one too soon.
func (h *heard) due(healthy bool, at time.Time) bool {
	return !healthy || !h.fails() || h.recovered.IsZero() || at.Sub(h.recovered) >= h.every
}

// changes says whether the answer is another than the last one that was taken, and may be.
func (h *heard) changes(ctx context.Context, p *heartbeatProbe) bool {
	if !p.counts() {
		return false
	}
	healthy := p.Check(ctx) == nil
	return (h.last.At.IsZero() || h.last.Healthy != healthy) && h.due(healthy, time.Now())
}

// Missing is how long the lease of a component's heartbeats has been over, in time for which the
// agent ran and watched it; 0 while it holds. Of several heartbeat checks the longest lease counts.
func (m *Monitor) Missing(component string) time.Duration {
	c := m.find(component)
	if c == nil {
		return 0
	}
	least, found := time.Duration(0), false
	for _, s := range c.checks {
		if p, ok := s.probe.inner.(*heartbeatProbe); ok {
			if d := p.missing(); !found || d < least {
				least, found = d, true
			}
		}
	}
	return least
}

// old says why a round of checks does not count the last heartbeat of a program that fails; ""
// when it does. What the program said before it was last seen to fail is no proof that it was
// repaired: the process that said so may have been replaced since.
func (p *heartbeatProbe) old(lastFailed time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.After(lastFailed) {
		return ""
	}
	return fmt.Sprintf("no heartbeat since the component was last seen to fail, %s ago", age(lastFailed))
}

// doubt has a round count heartbeats only that came after an open fault was last seen.
func (c *component) doubt(round []Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.det.fault == nil {
		return
	}
	for i, s := range c.checks {
		if p, ok := s.probe.inner.(*heartbeatProbe); ok && round[i].Healthy {
			round[i].Error = p.old(c.det.fault.lastFailed)
			round[i].Healthy = round[i].Error == ""
		}
	}
}

// Heartbeat takes in a heartbeat of the component's program; failing is what the program says is
// wrong with it, "" when nothing is. The error is ErrNoHeartbeatCheck when the component has no
// heartbeat check.
func (m *Monitor) Heartbeat(component, failing string) error {
	c := m.find(component)
	heard := false
	if c != nil {
		for _, s := range c.checks {
			if p, ok := s.probe.inner.(*heartbeatProbe); ok {
				p.beat(failing)
				heard = true
			}
		}
	}
	if !heard {
		return shivx.Hint(fmt.Errorf("component %q: %w", component, ErrNoHeartbeatCheck),
			"give the component a check of the kind heartbeat, or register the program as a module")
	}
	return nil
}
