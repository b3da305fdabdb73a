package resilience

import (
	"fmt"
	"maps"
	"slices"

	"github.com/shivx/shivx"
)

// samplesMissed is how many samples may be missing before monitoring no longer counts as active.
const samplesMissed = 3

// Status says all that is known now.
func (c *Core) Status() Status {
	features := c.Features()
	modules := c.modules()
	hooks := c.hookStates()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Elapsed()
	s := Status{
		Host: c.o.Host, Level: c.state.Level, Automatic: c.state.Automatic, Changes: c.state.Changes, Since: c.state.Since,
		Override: c.state.Override, Held: c.held, DegradedFeatures: []shivx.Feature{}, Modules: modules, Hooks: hooks,
		Notices: c.notices(), UptimeSeconds: (now - c.started).Seconds(),
	}
	if s.Override != nil {
		s.Held = held(s.Override)
	}
	for _, f := range features.List {
		if !f.Enabled {
			s.DegradedFeatures = append(s.DegradedFeatures, f)
		}
	}
	if c.sample != nil {
		score := c.sample.score
		s.Score, s.SampledAt = &score, c.sample.at
		s.MonitoringActive = now-c.sample.elapsed <= samplesMissed*c.o.Rules.Monitor.Every
	}
	return s
}

// notices lists what people should know. The caller holds mu.
func (c *Core) notices() []string {
	var out []string
	if c.sample != nil {
		out = append(out, c.sample.notices...)
	}
	for _, what := range slices.Sorted(maps.Keys(c.trouble)) {
		out = append(out, c.trouble[what])
	}
	if c.ledgerErr != nil {
		text := "the resilience audit cannot be written: " + advised(c.ledgerErr)
		if c.waiting > 0 {
			text += fmt.Sprintf("; %d records wait in memory and are written as soon as it can", c.waiting)
		}
		out = append(out, text)
	}
	return out
}
