package resilience

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strconv"

	"github.com/shivx/shivx"
)

// healthDetails are the details of a health_check.
type healthDetails struct {
	// Score is nil before the first sample.
	Score      *float64 `json:"score"`
	Confidence float64  `json:"confidence"`
	state
	// Terms that cost something, dearest first.
	Terms   []Term   `json:"terms,omitempty"`
	Missing []string `json:"missing,omitempty"`
	// Modules are those that are not in full health, Healthy counts the others.
	Modules       map[string]moduleDetails `json:"modules,omitempty"`
	Healthy       int                      `json:"healthy_modules"`
	Notices       []string                 `json:"notices,omitempty"`
	UptimeSeconds float64                  `json:"uptime_seconds"`
}

// moduleDetails is one module in a health_check; its restarts are with the state.
type moduleDetails struct {
	State     string  `json:"state"`
	Score     float64 `json:"score"`
	LastError string  `json:"last_error,omitempty"`
}

// recordHealth appends a health_check when it is due. It carries the state, and so must not
// overtake a change that waits to be recorded. The caller holds order.
func (c *Core) recordHealth(ctx context.Context) {
	now := c.clock.Elapsed()
	if now < c.recordAt && !c.recordNow || len(c.outbox) > 0 {
		return
	}
	at := c.now()
	st := c.Status()
	// Wall and monotonic clock together: the wall clock alone may show the same time twice.
	id := at.Format("20060102T150405.000Z") + "+" + strconv.FormatInt(now.Milliseconds(), 10)
	r := shivx.ResilienceRecord{
		EventID: c.id("health", id), Timestamp: at, EventType: shivx.EventHealthCheck,
		Module: shivx.ModuleHost, Details: c.healthDetails(st), Severity: levelSeverity(st.Level),
	}
	// One that the disk keeps waiting is in the ledger's queue; it must not be joined by one each sample.
	if err := c.append(ctx, "", encode(r)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return
	}
	c.recordNow = false
	if now >= c.recordAt {
		every := c.o.Rules.Monitor.RecordEvery
		c.recordAt += every
		if c.recordAt <= now {
			c.recordAt = now + every
		}
	}
}

func (c *Core) healthDetails(st Status) healthDetails {
	d := healthDetails{Modules: map[string]moduleDetails{}, Notices: st.Notices, UptimeSeconds: math.Round(st.UptimeSeconds)}
	c.mu.Lock()
	c.state.Damping = c.machine.damping()
	d.state = c.state.clone()
	c.mu.Unlock()
	if st.Score != nil {
		d.Score, d.Confidence, d.Missing = &st.Score.Value, st.Score.Confidence, st.Score.Missing
		for _, t := range st.Score.Terms {
			if t.Cost > 0 {
				d.Terms = append(d.Terms, t)
			}
		}
	}
	for _, m := range st.Modules {
		if m.State == "healthy" && m.Score == 100 {
			d.Healthy++
			continue
		}
		d.Modules[m.Name] = moduleDetails{State: m.State, Score: m.Score, LastError: m.LastError}
	}
	return d
}

// levelSeverity grades being at a level.
func levelSeverity(l shivx.Level) shivx.Severity {
	switch l {
	case shivx.LevelNormal:
		return shivx.SeverityInfo
	case shivx.LevelEmergency:
		return shivx.SeverityCritical
	default:
		return shivx.SeverityWarning
	}
}

func logLevel(s shivx.Severity) slog.Level {
	switch s {
	case shivx.SeverityInfo:
		return slog.LevelInfo
	case shivx.SeverityWarning:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}
