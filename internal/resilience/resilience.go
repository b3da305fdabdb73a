// Package resilience keeps a host's degradation level: it scores the host's vital figures and
// modules, lets the level follow the score, answers which features are on, and sheds load.
//
// It is a reflex: it works with Temporal away. Every change is recorded in the resilience audit
// before it is applied; the audit is its only memory and the outbox from which the runbook
// DegradationResponse is told.
package resilience

import (
	"time"

	"github.com/shivx/shivx"
)

// Term is what one reading or module does to the score.
type Term struct {
	// Name is the resource, with its subject in brackets, or "module NAME", e.g. "disk[/var]".
	Name string `json:"name"`
	// Reading is what was measured, for people, e.g. "97.3 %".
	Reading string `json:"reading"`
	// Score of this term by itself, 0–100; it says nothing when Missing and not Stale.
	Score float64 `json:"score"`
	// Cost is how many points it takes from the whole; the costs of all terms add up to 100 − score.
	Cost float64 `json:"cost"`
	// Missing says why there is no reading; its last known one is then counted for a while.
	Missing string `json:"missing,omitempty"`
	// Stale is true when an earlier reading is counted.
	Stale bool `json:"stale,omitempty"`
}

// Score is the health of the host at one time.
type Score struct {
	// Value is 0–100.
	Value float64 `json:"value"`
	// Confidence is the share of expected readings that are there, 0–1, by weight.
	Confidence float64 `json:"confidence"`
	// Terms, dearest first.
	Terms []Term `json:"terms"`
	// Missing names the terms without a reading.
	Missing []string `json:"missing,omitempty"`
	// lost is nil when nothing that cost points has been missing for long.
	lost *lost
}

// lost is what was last known of the terms that are missing and not counted any more.
type lost struct {
	// value is what Score.Value would be if they were counted still.
	value float64
	// term is the dearest of them, reading what was last read.
	term, reading string
}

// Module is one component, or registered program, of this host.
type Module struct {
	Name     string `json:"name"`
	Critical bool   `json:"critical"`
	// State is healthy, failing or unknown.
	State string `json:"state"`
	// Score is 0–100: 100 while every check passes, less with each failure in a row, 0 in a fault.
	Score float64 `json:"score"`
	// Restarts counts the recoveries since the audit began.
	Restarts  int    `json:"restarts"`
	LastError string `json:"last_error,omitempty"`
	// Registered is true when the program registered itself over HTTP.
	Registered bool      `json:"registered,omitempty"`
	Since      time.Time `json:"since,omitzero"`
}

// Status is what GET /api/resilience/status answers.
type Status struct {
	Host  string      `json:"host"`
	Level shivx.Level `json:"level"`
	// Automatic is the level by score alone; it differs while an override holds.
	Automatic shivx.Level `json:"automatic_level"`
	// Score is nil before the first sample.
	Score *Score `json:"score"`
	// Changes is the number of the last change of the level.
	Changes  uint64          `json:"changes"`
	Since    time.Time       `json:"since,omitzero"`
	Override *shivx.Override `json:"override,omitempty"`
	// Held says why the level does not follow the score just now; "" when it does.
	Held             string            `json:"held,omitempty"`
	DegradedFeatures []shivx.Feature   `json:"degraded_features"`
	Modules          []Module          `json:"modules"`
	Hooks            []shivx.HookState `json:"hooks,omitempty"`
	Notices          []string          `json:"notices,omitempty"`
	UptimeSeconds    float64           `json:"uptime_seconds"`
	MonitoringActive bool              `json:"monitoring_active"`
	SampledAt        time.Time         `json:"sampled_at,omitzero"`
}
