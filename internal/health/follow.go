package health

import (
	"context"
	"errors"
	"time"
)

// follow repeats a process check and reports the process' exit as it happens.
func (m *Monitor) follow(ctx context.Context, c *component, s *schedule, p *processProbe, phase time.Duration) {
	for {
		began := time.Now()
		r := s.probe.measure(ctx)
		if ctx.Err() != nil {
			return
		}
		m.take(ctx, c, sample{Result: r})
		if r.Healthy {
			if m.hold(ctx, c, s, p, began.Add(-phase)) {
				continue // another process took its place: look at it now
			}
			began = time.Now()
		}
		phase = 0
		if c.pause(ctx, s, began, nil) == ended {
			return
		}
	}
}

// hold watches the process that the probe has found until it is gone. It returns true when
// another one took its place.
func (m *Monitor) hold(ctx context.Context, c *component, s *schedule, p *processProbe, began time.Time) bool {
	watched := p.current()
	gone, done := m.watch(watched)
	defer done()
	for {
		why := c.pause(ctx, s, began, gone)
		if why == ended || ctx.Err() != nil {
			return false
		}
		// On an exit the pid file is read once more: a graceful restart has written it already.
		began = time.Now()
		now, err := p.locate()
		r := Result{Check: s.probe.name, Healthy: err == nil, Took: time.Since(began), At: began}
		switch {
		case err == nil && !now.same(watched):
			m.o.Logger.Info("process was replaced", "component", c.name, "old", watched.pid, "new", now.pid)
			return true
		case why == exit || !alive(m.o.ProcRoot, watched):
			r.Healthy, r.Error = false, watched.String()+" is gone"
			m.take(ctx, c, sample{Result: r, gone: watched.key()})
			return false
		case err != nil:
			r.Error = err.Error()
		}
		m.take(ctx, c, sample{Result: r})
	}
}

// watch returns a channel that is closed when i exits, or nil where exits cannot be watched.
func (m *Monitor) watch(i instance) (<-chan struct{}, func()) {
	if m.o.ProcRoot != defaultProc {
		return nil, func() {}
	}
	w, err := watchExit(i)
	if errors.Is(err, errGone) {
		gone := make(chan struct{})
		close(gone)
		return gone, func() {}
	}
	if err != nil {
		m.o.Logger.Warn("the exit of a process is seen at the next check only", "error", err)
		return nil, func() {}
	}
	return w.C, w.Close
}
