package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// ErrNoHeartbeatCheck: a heartbeat came for a component that is not watched by heartbeats, or is
// not there at all.
var ErrNoHeartbeatCheck = errors.New("no heartbeat check")

// heartbeatProbe passes while the last heartbeat is younger than the lease and did not say that
// the program fails. Ages are on the monotonic clock.
//
// Before the first heartbeat the program has one whole lease from the time at which the agent
// began to expect it. Meanwhile a round of checks is told that there was none yet, for what was
// not heard is no proof of health, but the detector is told nothing: a restart of the agent is
// no fault of the program.
type heartbeatProbe struct {
	// changed is sent to when the answer has changed, or may have.
	changed chan struct{}

	mu    sync.Mutex
	lease time.Duration
	// since is when the agent began to expect heartbeats; zero before.
	since time.Time
	// last is the time of the last heartbeat, failing what it said to be wrong; zero before the first.
	last    time.Time
	failing string
	// timer ends the lease; nil unless the agent expects heartbeats.
	timer *time.Timer
}

func newHeartbeatProbe(c config.HeartbeatCheck) (Probe, error) {
	if c.Lease <= 0 {
		return nil, shivx.Hint(errors.New("the lease is not positive"), "write lease: 30s")
	}
	return &heartbeatProbe{lease: c.Lease, changed: make(chan struct{}, 1)}, nil
}

// Check says what the last heartbeat, or its absence, says.
func (p *heartbeatProbe) Check(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer()
}

func (p *heartbeatProbe) answer() error {
	switch {
	case p.last.IsZero() && p.since.IsZero():
		return errors.New("no heartbeat yet")
	case p.last.IsZero():
		return fmt.Errorf("no heartbeat in the %s since the first is waited for; the lease is %s", age(p.since), p.lease)
	case time.Since(p.last) >= p.lease:
		return fmt.Errorf("no heartbeat for %s; the lease is %s", age(p.last), p.lease)
	case p.failing != "":
		return errors.New(p.failing)
	}
	return nil
}

func age(t time.Time) time.Duration {
	d := time.Since(t)
	if d < 10*time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}

// counts says whether the answer is one: there was a heartbeat, or the first lease is over.
func (p *heartbeatProbe) counts() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.last.IsZero() || !p.since.IsZero() && time.Since(p.since) >= p.lease
}

// beat takes in one heartbeat. failing is what the program says is wrong with it; "": nothing.
func (p *heartbeatProbe) beat(failing string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first, before := p.last.IsZero(), p.answer()
	p.last, p.failing = time.Now(), shorten(strings.Join(strings.Fields(failing), " "), maxLine)
	if p.timer != nil {
		p.timer.Reset(p.lease)
	}
	if first || (before == nil) != (p.answer() == nil) {
		p.wake()
	}
}

// setLease lets a heartbeat, the last one included, hold for d.
func (p *heartbeatProbe) setLease(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lease == d {
		return
	}
	p.lease = d
	if p.timer != nil {
		p.timer.Reset(max(d-time.Since(p.start()), 0))
	}
	p.wake()
}

// start is when the lease that runs now began.
func (p *heartbeatProbe) start() time.Time {
	if p.last.IsZero() {
		return p.since
	}
	return p.last
}

// expect begins the lease that a program has before its first heartbeat; done ends the waiting.
func (p *heartbeatProbe) expect() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
	p.timer = time.AfterFunc(max(p.lease-time.Since(p.start()), 0), p.wake)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.timer.Stop()
		p.timer = nil
	}
}

func (p *heartbeatProbe) wake() {
	select {
	case p.changed <- struct{}{}:
	default: // it is being woken already
	}
}

// listen repeats a heartbeat check: at its interval, and at once when a heartbeat changes its
// answer and when the lease runs out.
func (m *Monitor) listen(ctx context.Context, c *component, s *schedule, p *heartbeatProbe) {
	defer p.expect()()
	var last Result
	for {
		began := time.Now()
		if p.counts() {
			last = s.probe.measure(ctx)
			if ctx.Err() != nil {
				return
			}
			m.take(ctx, c, sample{Result: last, source: shivx.SourceHeartbeat})
		}
		why := exit
		for why == exit && !p.differs(ctx, last) { // it has changed back, or its turn has just seen it
			why = c.pause(ctx, s, began, p.changed)
		}
		if why == ended {
			return
		}
	}
}

// differs says whether the answer is another than the last one that was taken in.
func (p *heartbeatProbe) differs(ctx context.Context, last Result) bool {
	if !p.counts() {
		return false
	}
	return last.At.IsZero() || last.Healthy != (p.Check(ctx) == nil)
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
