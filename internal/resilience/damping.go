package resilience

import "time"

// damping is what relapses have cost so far, as a restart must not forget it. All times are of the
// host being observed: the time without an agent counts for nothing, whatever the clocks say.
type damping struct {
	WaitSeconds float64 `json:"wait_seconds"`
	// Recovered says that the last change was a rise.
	Recovered bool `json:"recovered,omitempty"`
	// RisenSeconds is how long ago that was; the host was well for WellSeconds since then or since
	// the wait was halved last.
	RisenSeconds float64 `json:"risen_seconds,omitempty"`
	WellSeconds  float64 `json:"well_seconds,omitempty"`
}

// damping is what restore goes on from; nil when there is nothing to remember.
func (m *Machine) damping() *damping {
	d := damping{WaitSeconds: m.wait.Seconds()}
	relapse := m.recovered && m.time.now-m.risen < m.rules.MaxUpAfter
	if m.wait <= m.rules.UpAfter && !relapse {
		return nil
	}
	if m.recovered {
		d.Recovered, d.RisenSeconds, d.WellSeconds = true, (m.time.now - m.risen).Seconds(), (m.time.now - m.well).Seconds()
	}
	return &d
}

// restore goes on from the damping of an earlier Machine. What passed since then is not known, and
// so neither forgives a relapse nor excuses the next.
func (m *Machine) restore(d *damping) {
	if d == nil {
		return
	}
	within := func(s float64, least time.Duration) time.Duration {
		return time.Duration(max(least.Seconds(), min(s, m.rules.MaxUpAfter.Seconds())) * float64(time.Second))
	}
	m.wait = within(d.WaitSeconds, m.rules.UpAfter)
	m.recovered = d.Recovered
	m.risen, m.well = m.time.now-within(d.RisenSeconds, 0), m.time.now-within(d.WellSeconds, 0)
}
