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
// the program fails. A lease lasts for the time for which this process ran, so that a pause of the
// agent is no fault of the program; the ages in reasons are on the monotonic clock.
//
// Before the first heartbeat the program has one whole lease from the time at which the agent
// began to expect it. Meanwhile a round of checks is told that there was none yet, for what was
// not heard is no proof of health, but the detector is told nothing: a restart of the agent is
// no fault of the program.
type heartbeatProbe struct {
	// changed is sent to when the answer has changed, or may have.
	changed chan struct{}
	running *running

	mu    sync.Mutex
	lease time.Duration
	// since is when the agent began to expect heartbeats; zero before.
	since time.Time
	// last is the time of the last heartbeat, failing what it said to be wrong; zero before the first.
	last    time.Time
	failing string
	// began is the running time at which the lease that runs now began.
	began time.Duration
	// timer ends the lease; nil unless the agent expects heartbeats.
	timer *time.Timer
}

func newHeartbeatProbe(c config.HeartbeatCheck) (Probe, error) {
	if c.Lease <= 0 {
		return nil, shivx.Hint(errors.New("the lease is not positive"), "write lease: 30s")
	}
	return &heartbeatProbe{lease: c.Lease, changed: make(chan struct{}, 1), running: newRunning()}, nil
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
	case p.left() == 0:
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
	return !p.last.IsZero() || !p.since.IsZero() && p.left() == 0
}

// beat takes in one heartbeat. failing is what the program says is wrong with it; "": nothing.
func (p *heartbeatProbe) beat(failing string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first, before := p.last.IsZero(), p.answer()
	p.last, p.began = time.Now(), p.running.total()
	p.failing = shorten(strings.Join(strings.Fields(failing), " "), maxLine)
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
		p.timer.Reset(p.left())
	}
	p.wake()
}

// left is what is left of the lease that runs now.
func (p *heartbeatProbe) left() time.Duration {
	return max(p.lease-(p.running.total()-p.began), 0)
}

// missing is how long the lease has been over; 0 while it holds, or nobody waits for heartbeats.
func (p *heartbeatProbe) missing() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		return 0
	}
	return max(p.running.total()-p.began-p.lease, 0)
}

// expect begins the lease that a program has before its first heartbeat; done ends the waiting.
func (p *heartbeatProbe) expect() (done func()) {
	unused := p.running.use()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
	if p.last.IsZero() {
		p.began = p.running.total()
	}
	p.timer = time.AfterFunc(p.left(), p.over)
	return func() {
		unused()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.timer.Stop()
		p.timer = nil
	}
}

// over looks whether the lease is over, or this process has not run meanwhile.
func (p *heartbeatProbe) over() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left := p.left(); left > 0 && p.timer != nil {
		p.timer.Reset(left)
		return
	}
	p.wake()
}

func (p *heartbeatProbe) wake() {
	select {
	case p.changed <- struct{}{}:
	default: // it is being woken already
	}
}
