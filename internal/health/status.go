package health

import "time"

// State of a component or a check.
type State string

// The states.
const (
	// StateUnknown: not every check has answered yet, and none failed.
	StateUnknown State = "unknown"
	// StateHealthy: every check passed when it was run last.
	StateHealthy State = "healthy"
	// StateFailing: a check failed when it was run last, or a fault is not over yet.
	StateFailing State = "failing"
)

// ComponentStatus is what the checks of one component say.
type ComponentStatus struct {
	Component string `json:"component"`
	State     State  `json:"state"`
	// Since is when the state began.
	Since time.Time `json:"since,omitzero"`
	// Fault is the ID of the open fault, that of its first finding; "" when there is none.
	Fault  string        `json:"fault,omitempty"`
	Checks []CheckStatus `json:"checks"`
	// Limit is how many failures in a row of one check make a fault.
	Limit int `json:"-"`
}

// CheckStatus is what one check says.
type CheckStatus struct {
	Name  string    `json:"name"`
	Kind  string    `json:"kind"`
	State State     `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// Failures in a row.
	Failures int `json:"failures"`
	// LastError is that of the last failure, also when it is over.
	LastError string `json:"last_error,omitempty"`
	// Last is the last answer; nil before the first.
	Last *Result `json:"last,omitempty"`
}

// Status returns what is known of every component, in the order of the configuration; those added
// later come last.
func (m *Monitor) Status() []ComponentStatus {
	all := m.all()
	out := make([]ComponentStatus, 0, len(all))
	for _, c := range all {
		out = append(out, c.status())
	}
	return out
}

func (c *component) status() ComponentStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ComponentStatus{Component: c.name, State: c.det.state(), Since: c.det.since, Limit: c.det.failures, Checks: make([]CheckStatus, len(c.checks))}
	if c.det.fault != nil {
		s.Fault = c.det.base()
	}
	for i, check := range c.det.checks {
		s.Checks[i] = check.status(c.checks[i].probe.kind)
	}
	return s
}

func (c *checkState) status(kind string) CheckStatus {
	s := CheckStatus{Name: c.name, Kind: kind, State: c.state(), Since: c.since, Failures: c.failures, LastError: c.lastErr}
	if s.State != StateUnknown {
		last := c.last
		s.Last = &last
	}
	return s
}

func (c *checkState) state() State {
	switch {
	case c.last.At.IsZero():
		return StateUnknown
	case c.last.Healthy:
		return StateHealthy
	}
	return StateFailing
}

// state of the component: failing before unknown before healthy.
func (d *detector) state() State {
	if d.fault != nil {
		return StateFailing
	}
	state := StateHealthy
	if len(d.checks) == 0 {
		state = StateUnknown
	}
	for _, c := range d.checks {
		switch c.state() {
		case StateFailing:
			return StateFailing
		case StateUnknown:
			state = StateUnknown
		case StateHealthy:
		}
	}
	return state
}
