package health

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// hurryEvery is the time between two runs of a check while its component is faulty, so that
	// the end of a fault is seen soon.
	hurryEvery = time.Second
	// spread is the longest wait before the first run of a check.
	spread = time.Second
)

// schedule repeats one check.
type schedule struct {
	probe *bounded
	// wake makes a wait look anew at how long it is, and ends it when now is set.
	wake chan struct{}
	now  atomic.Bool
}

func newSchedule(b *bounded) *schedule {
	return &schedule{probe: b, wake: make(chan struct{}, 1)}
}

// rouse makes a wait look anew at how long it is, or ends it.
func (s *schedule) rouse(now bool) {
	if now {
		s.now.Store(true)
	}
	select {
	case s.wake <- struct{}{}:
	default: // it is being woken already
	}
}

// hurry lets the waiting checks of a faulty component run at once, or at the pace of a fault.
func (c *component) hurry(now bool) {
	c.mu.Lock()
	faulty := c.det.fault != nil
	c.mu.Unlock()
	if !faulty {
		return
	}
	for _, s := range c.checks {
		s.rouse(now)
	}
}

// recheck runs at once what a round has seen to pass and is still known as failing: after a
// repair a check with a long interval would be shown as failing until its next turn. The
// detector takes in the check's own answer, not the round's.
func (c *component) recheck(round []Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, r := range round {
		if r.Healthy && c.det.checks[i].state() == StateFailing {
			c.checks[i].rouse(true)
		}
	}
}

// repeat runs the check until ctx ends. It never overlaps with itself. The first runs come soon
// and the second ones anywhere in the interval, which spreads the checks in time.
func (m *Monitor) repeat(ctx context.Context, c *component, s *schedule) {
	if p, ok := s.probe.inner.(*heartbeatProbe); ok {
		m.listen(ctx, c, s, p)
		return
	}
	phase := rand.N(s.probe.every/2 + 1)
	if p, ok := s.probe.inner.(*processProbe); ok {
		m.follow(ctx, c, s, p, phase)
		return
	}
	if first := rand.N(min(s.probe.every, spread)); c.pause(ctx, s, time.Now().Add(first-s.probe.every), nil) == ended {
		return
	}
	for {
		began := time.Now()
		r := s.probe.measure(ctx)
		if ctx.Err() != nil {
			return
		}
		m.take(ctx, c, sample{Result: r})
		if c.pause(ctx, s, began.Add(-phase), nil) == ended {
			return
		}
		phase = 0
	}
}

// A pause ends because the next run is due, the watched process has exited or a heartbeat has
// changed something, or the context has ended.
type pauseEnd int

const (
	due pauseEnd = iota
	exit
	ended
)

// pause waits until the check's interval since began is over, a shorter one while the component
// is faulty. gone may be nil.
func (c *component) pause(ctx context.Context, s *schedule, began time.Time, gone <-chan struct{}) pauseEnd {
	timer := time.NewTimer(c.untilNext(s, began))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ended
		case <-gone:
			return exit
		case <-timer.C:
			return due
		case <-s.wake:
			if s.now.Swap(false) {
				return due
			}
			timer.Reset(c.untilNext(s, began))
		}
	}
}

func (c *component) untilNext(s *schedule, began time.Time) time.Duration {
	every := s.probe.every
	c.mu.Lock()
	if c.det.fault != nil {
		every = min(every, hurryEvery)
	}
	c.mu.Unlock()
	return max(every-time.Since(began), 0)
}
