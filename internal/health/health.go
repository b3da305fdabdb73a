// Package health runs the checks of components and turns what they say into findings.
//
// A [Probe] does one check once. A [Monitor] repeats the probes of every component of this
// host; each answer is fed to the component's detector, a pure state machine in event time
// (detector.go), which decides when a fault begins, is repeated, and ends. The exit of a
// watched process does not wait for the next check: it is seen through a pidfd at once. Neither
// does the end of a program's heartbeats: it is seen when their lease runs out.
package health

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// What holds where a check or component says nothing.
const (
	defaultEvery    = 10 * time.Second
	defaultTimeout  = 5 * time.Second
	defaultFailures = 3
	defaultRemind   = time.Minute

	defaultRemindPeople = 30 * time.Minute
)

// Probe does one check once.
type Probe interface {
	// Check returns nil when healthy; the error is one line for people and holds no secret.
	Check(ctx context.Context) error
}

// Result is the answer of one check.
type Result struct {
	Check   string
	Healthy bool
	// Error is one line for people; "" when healthy.
	Error string
	Took  time.Duration
	// At is when the check began, so that an answer is never newer than what it saw.
	At time.Time
}

type resultJSON struct {
	Check   string    `json:"check"`
	Healthy bool      `json:"healthy"`
	Error   string    `json:"error,omitempty"`
	TookMS  float64   `json:"took_ms"`
	At      time.Time `json:"at"`
}

// MarshalJSON writes Took as took_ms, in milliseconds with three decimals.
func (r Result) MarshalJSON() ([]byte, error) {
	ms := math.Round(float64(r.Took)/float64(time.Microsecond)) / 1000
	return json.Marshal(resultJSON{r.Check, r.Healthy, r.Error, ms, r.At})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Result) UnmarshalJSON(data []byte) error {
	var j resultJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return fmt.Errorf("read a check's result: %w", err)
	}
	took := time.Duration(math.Round(j.TookMS*1000)) * time.Microsecond
	*r = Result{j.Check, j.Healthy, j.Error, took, j.At}
	return nil
}

// NewProbe returns the probe of c. Its Check takes no longer than the check's timeout.
func NewProbe(c config.Check) (Probe, error) { return newProbe(c, defaultProc) }

func newProbe(c config.Check, procRoot string) (*bounded, error) {
	kind, inner, err := build(c, procRoot)
	if err != nil {
		return nil, err
	}
	b := &bounded{name: c.Name, kind: kind, every: c.Every, timeout: c.Timeout, inner: inner}
	if b.name == "" {
		b.name = kind
	}
	if b.every <= 0 {
		b.every = defaultEvery
	}
	if b.timeout <= 0 {
		b.timeout = defaultTimeout
	}
	return b, nil
}

// build makes the probe of the one kind that is set.
func build(c config.Check, procRoot string) (kind string, p Probe, err error) {
	var kinds []string
	add := func(name string, set bool, make func() (Probe, error)) {
		if !set {
			return
		}
		if kinds = append(kinds, name); len(kinds) == 1 {
			kind = name
			p, err = make()
		}
	}
	add("http", c.HTTP != nil, func() (Probe, error) { return newHTTPProbe(*c.HTTP) })
	add("tcp", c.TCP != nil, func() (Probe, error) { return newTCPProbe(*c.TCP) })
	add("command", c.Command != nil, func() (Probe, error) { return newCommandProbe(*c.Command) })
	add("process", c.Process != nil, func() (Probe, error) { return newProcessProbe(*c.Process, procRoot) })
	add("systemd", c.Systemd != nil, func() (Probe, error) { return newSystemdProbe(*c.Systemd) })
	add("postgresql", c.PostgreSQL != nil, func() (Probe, error) { return newPostgreSQLProbe(*c.PostgreSQL) })
	add("redis", c.Redis != nil, func() (Probe, error) { return newRedisProbe(*c.Redis) })
	add("heartbeat", c.Heartbeat != nil, func() (Probe, error) { return newHeartbeatProbe(*c.Heartbeat) })
	switch {
	case len(kinds) == 0:
		return "", nil, shivx.Hint(fmt.Errorf("check %q has no kind", c.Name),
			"give it one of http, tcp, command, process, systemd, postgresql, redis, heartbeat")
	case len(kinds) > 1:
		return "", nil, shivx.Hint(fmt.Errorf("check %q has several kinds: %s", c.Name, strings.Join(kinds, ", ")),
			"make one check of each kind")
	case err != nil:
		return "", nil, fmt.Errorf("check %s: %w", kind, err)
	}
	return kind, p, nil
}

// bounded is a probe with its name and its times; it ends within its timeout.
type bounded struct {
	name, kind     string
	every, timeout time.Duration
	inner          Probe
}

var _ Probe = (*bounded)(nil)

// Check runs the probe within its timeout and keeps its error to one line.
func (b *bounded) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	err := b.inner.Check(ctx)
	if err == nil {
		return nil
	}
	return withLine(err, line(err, b.timeout))
}

// measure runs the check once and returns its result.
func (b *bounded) measure(ctx context.Context) Result {
	at := time.Now()
	err := b.Check(ctx)
	r := Result{Check: b.name, Healthy: err == nil, Took: time.Since(at), At: at}
	if err != nil {
		r.Error = err.Error()
		if hint := shivx.HintOf(err); hint != "" {
			r.Error += " (" + hint + ")"
		}
	}
	return r
}

// maxLine bounds a reason, which is stored in ledgers and workflow histories.
const maxLine = 700

// line returns err as one bounded line, with the timeout in words.
func line(err error, timeout time.Duration) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	s = strings.ReplaceAll(s, context.DeadlineExceeded.Error(), "no answer within "+timeout.String())
	return shorten(s, maxLine)
}

// shorten cuts s to at most n bytes, at a rune.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}

// lineError gives an error another text and keeps its chain.
type lineError struct {
	err  error
	text string
}

func withLine(err error, text string) error { return &lineError{err, text} }

func (e *lineError) Error() string { return e.text }
func (e *lineError) Unwrap() error { return e.err }
