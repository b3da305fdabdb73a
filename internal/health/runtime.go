package health

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shivx/shivx/internal/config"
)

// pulseEvery is the time between two signs of life of a monitor.
const pulseEvery = time.Second

// Add watches a component from now on, also while the monitor runs. One that was added before
// gets the new criticality and the new leases of its heartbeat checks, and keeps its state and
// an open fault; what else is new of it is not taken over. A component that NewMonitor was given
// is an error.
func (m *Monitor) Add(cfg config.Component) error {
	c, err := newComponent(m.host, cfg, m.o)
	if err != nil {
		return fmt.Errorf("component %s: %w", cfg.Name, err)
	}
	c.added = true
	m.mu.Lock()
	defer m.mu.Unlock()
	if before := m.byName[cfg.Name]; before != nil {
		if !before.added {
			return fmt.Errorf("component %s is there already", cfg.Name)
		}
		before.adjust(cfg)
		return nil
	}
	m.byName[cfg.Name] = c
	m.components = append(m.components, c)
	if m.runs != nil && !m.runs.over {
		m.start(m.runs.ctx, c)
	}
	return nil
}

// adjust takes over what may change of a component that is watched.
func (c *component) adjust(cfg config.Component) {
	for i, check := range cfg.Checks {
		if i >= len(c.checks) || check.Heartbeat == nil {
			continue
		}
		if p, ok := c.checks[i].probe.inner.(*heartbeatProbe); ok {
			p.setLease(check.Heartbeat.Lease)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.det.critical = cfg.Critical
}

// Remove ends the watch over a component that was added; false when there is none of that name.
// A fault that is open is reported as over, since nobody will see its end any more; no finding
// of the component comes after Remove has returned.
func (m *Monitor) Remove(ctx context.Context, name string) bool {
	m.mu.Lock()
	c := m.byName[name]
	if c == nil || !c.added {
		m.mu.Unlock()
		return false
	}
	delete(m.byName, name)
	m.components = slices.DeleteFunc(slices.Clone(m.components), func(other *component) bool { return other == c })
	stop := c.stop
	m.mu.Unlock()
	if stop != nil {
		stop()
	}
	c.reporting.Lock()
	defer c.reporting.Unlock()
	c.removed = true
	c.mu.Lock()
	f, open := c.det.abandon(time.Now(), "it was removed and is not watched any more")
	c.mu.Unlock()
	if open {
		m.tell(ctx, c, f)
	}
	return true
}

// Pulse is when the monitor last showed that it is alive, on the monotonic clock: all that is
// known of its components could be read. A check that hangs, or a Report that does not return,
// holds up its own component alone and does not stop the pulse.
func (m *Monitor) Pulse() time.Time { return m.epoch.Add(time.Duration(m.pulse.Load())) }

// beatUntil shows that the monitor is alive until ctx ends.
func (m *Monitor) beatUntil(ctx context.Context) {
	t := time.NewTicker(pulseEvery)
	defer t.Stop()
	for {
		_ = m.Status()
		m.pulse.Store(int64(time.Since(m.epoch)))
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
