package health

import (
	"fmt"
	"strconv"
	"time"

	"github.com/shivx/shivx"
)

// detector decides when a component is faulty. It knows no clock but the times of its samples,
// which carry a monotonic reading outside of tests: a jump of the clock moves no interval.
//
// A fault begins when one check has failed often enough in a row, or at once when a process is
// gone. It ends when every check has passed with a run begun after the last failure. In between
// it is repeated every remind, and at once when a further process is gone, so that a heal that
// was lost or refused is tried again.
type detector struct {
	target   shivx.Target
	critical bool
	failures int
	remind   time.Duration
	checks   []*checkState
	fault    *fault
	since    time.Time // when state became what it is
}

// checkState is what is known of one check.
type checkState struct {
	name     string
	last     Result // zero before the first answer
	failures int    // in a row
	since    time.Time
	lastErr  string // of the last failure, also when it is over
}

// fault is an open episode.
type fault struct {
	source     shivx.Source
	check      string
	start      time.Time
	lastFailed time.Time
	lastReport time.Time
	reports    int
	gone       string // the process whose exit was reported last
}

// sample is one answer of one check.
type sample struct {
	Result
	// gone names the process instance whose exit this sample tells of; "" if it tells of none.
	gone string
	// source of a finding that follows from this sample; "" is a health check.
	source shivx.Source
}

func newDetector(target shivx.Target, critical bool, failures int, remind time.Duration, checks []string) *detector {
	d := &detector{target: target, critical: critical, failures: failures, remind: remind}
	for _, name := range checks {
		d.checks = append(d.checks, &checkState{name: name})
	}
	return d
}

// observe takes in one sample and returns the finding that follows from it, if any.
func (d *detector) observe(s sample) (shivx.Finding, bool) {
	before := d.state()
	f, found := d.step(s)
	if d.since.IsZero() || d.state() != before {
		d.since = s.At
	}
	return f, found
}

func (d *detector) step(s sample) (shivx.Finding, bool) {
	c := d.check(s.Check)
	c.take(s.Result)
	switch {
	case d.fault == nil && s.Healthy:
		return shivx.Finding{}, false
	case d.fault == nil:
		return d.begin(c, s)
	case s.Healthy:
		return d.end(s)
	default:
		return d.goOn(c, s)
	}
}

func (c *checkState) take(r Result) {
	if c.last.At.IsZero() || c.last.Healthy != r.Healthy {
		c.since = r.At
	}
	c.last = r
	if r.Healthy {
		c.failures = 0
		return
	}
	c.failures++
	c.lastErr = r.Error
}

func (d *detector) begin(c *checkState, s sample) (shivx.Finding, bool) {
	if s.gone == "" && c.failures < d.failures {
		return shivx.Finding{}, false
	}
	d.fault = &fault{source: sourceOf(s), check: c.name, start: s.At, lastFailed: s.At, lastReport: s.At, reports: 1, gone: s.gone}
	reason := c.name + ": " + s.Error
	if s.gone == "" && c.failures > 1 {
		reason += ", " + strconv.Itoa(c.failures) + " times in a row"
	}
	return d.finding(d.base(), c.name, s, reason), true
}

func (d *detector) goOn(c *checkState, s sample) (shivx.Finding, bool) {
	f := d.fault
	if s.At.After(f.lastFailed) {
		f.lastFailed = s.At
	}
	again := s.gone != "" && s.gone != f.gone
	if !again && s.At.Sub(f.lastReport) < d.remind {
		return shivx.Finding{}, false
	}
	reason := c.name + ": " + s.Error
	if again {
		f.gone = s.gone
	} else {
		reason += fmt.Sprintf(", faulty for %s", s.At.Sub(f.start).Round(time.Second))
	}
	f.reports++
	f.lastReport = s.At
	return d.finding(d.base()+"#"+strconv.Itoa(f.reports), c.name, s, reason), true
}

func (d *detector) end(s sample) (shivx.Finding, bool) {
	for _, c := range d.checks {
		if !c.last.Healthy || !c.last.At.After(d.fault.lastFailed) {
			return shivx.Finding{}, false
		}
	}
	return d.close(s.At, fmt.Sprintf("all checks pass again after %s", s.At.Sub(d.fault.start).Round(time.Millisecond))), true
}

// close ends the open fault.
func (d *detector) close(at time.Time, why string) shivx.Finding {
	f := d.fault
	out := d.finding(d.base()+"#resolved", f.check, sample{Result: Result{At: at}}, f.check+": "+why)
	out.Source, out.Severity, out.Resolved = f.source, shivx.SeverityInfo, true
	d.fault = nil
	return out
}

// abandon ends a fault of which nobody will see the end; false when none is open.
func (d *detector) abandon(at time.Time, why string) (shivx.Finding, bool) {
	if d.fault == nil {
		return shivx.Finding{}, false
	}
	return d.close(at, why), true
}

func (d *detector) finding(id, signal string, s sample, reason string) shivx.Finding {
	severity := shivx.SeverityError
	if d.critical {
		severity = shivx.SeverityCritical
	}
	return shivx.Finding{
		ID: id, Target: d.target, Source: sourceOf(s), Signal: signal,
		Reason: reason, Severity: severity, ObservedAt: s.At,
	}
}

func sourceOf(s sample) shivx.Source {
	switch {
	case s.gone != "":
		return shivx.SourceProcessExit
	case s.source != "":
		return s.source
	}
	return shivx.SourceHealthCheck
}

// base is the ID of the episode and of its first finding.
func (d *detector) base() string {
	return fmt.Sprintf("%s/%s/%s/%d", d.target.Host, d.target.Component, d.fault.check, d.fault.start.UnixNano())
}

// check returns the state of a check; samples come of the component's own checks alone.
func (d *detector) check(name string) *checkState {
	for _, c := range d.checks {
		if c.name == name {
			return c
		}
	}
	panic("health: a sample of the unknown check " + name)
}
