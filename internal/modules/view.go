package modules

import (
	"time"

	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/resilience"
)

// Health tells what the checks of every component say.
type Health interface {
	Status() []health.ComponentStatus
}

var _ Health = (*health.Monitor)(nil)

// View is the registry together with the health of every module of the host.
type View struct {
	*Registry
	Health Health
	// Restarts says how often a module was recovered since the audit began.
	Restarts func(module string) int
}

// List returns every component and registered program, the configured ones first in the order of
// the configuration.
func (v *View) List() []resilience.Module {
	status := v.Health.Status()
	out := make([]resilience.Module, 0, len(status))
	for _, s := range status {
		c, known := v.Component(s.Component)
		if !known {
			continue // it was removed just now
		}
		_, registered := v.get(s.Component)
		out = append(out, resilience.Module{
			Name: s.Component, Critical: c.Critical, State: string(s.State), Score: Score(s),
			Restarts: v.Restarts(s.Component), LastError: lastError(s), Registered: registered, Since: s.Since,
		})
	}
	return out
}

// Score of a component, 0–100: 0 in a fault, else 100·(1 − failures/limit) of its worst check,
// which is 100 while all pass; failures are those in a row, limit is how many of them make a
// fault. Before every check has answered the state is unknown and the score 0 says nothing.
func Score(s health.ComponentStatus) float64 {
	if s.Fault != "" || s.State == health.StateUnknown {
		return 0
	}
	worst := 0
	for _, c := range s.Checks {
		worst = max(worst, c.Failures)
	}
	limit := max(s.Limit, 1)
	return 100 * float64(limit-min(worst, limit)) / float64(limit)
}

// lastError is what a failing check says now, else what was wrong last, with the check's name.
func lastError(s health.ComponentStatus) string {
	var text string
	var when time.Time
	for _, c := range s.Checks {
		switch {
		case c.LastError == "":
		case c.State == health.StateFailing:
			return c.Name + ": " + c.LastError
		case text == "" || c.Since.After(when): // it passes since then
			text, when = c.Name+": "+c.LastError, c.Since
		}
	}
	return text
}
