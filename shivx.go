// Package shivx is the vocabulary shared by every part of ShivX: what is watched,
// what was found, which step is under way and how a run ended. It does no I/O.
//
// Strings in this package are wire format: they stand in workflow histories,
// ledgers and configuration files, and never change their meaning.
package shivx

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Target names one component on one host.
type Target struct {
	// Component is the name given in the configuration, e.g. "redis".
	Component string `json:"component"`
	// Host is the name of the agent that runs the component's activities.
	Host string `json:"host,omitempty"`
}

// String returns "component@host", the form used in workflow ids.
func (t Target) String() string {
	if t.Host == "" {
		return t.Component
	}
	return t.Component + "@" + t.Host
}

// ParseTarget reads "component" or "component@host".
func ParseTarget(s string) (Target, error) {
	component, host, found := strings.Cut(s, "@")
	if component == "" || (found && host == "") || strings.Contains(host, "@") {
		return Target{}, fmt.Errorf("%q is not a target; write NAME or NAME@HOST", s)
	}
	return Target{Component: component, Host: host}, nil
}

// Step is one of the six steps of the self-heal runbook.
type Step string

// The six steps, in order.
const (
	StepIsolate     Step = "isolate"
	StepCheckpoint  Step = "checkpoint"
	StepRecover     Step = "recover"
	StepValidate    Step = "validate"
	StepReintegrate Step = "reintegrate"
	StepLog         Step = "log"
)

// StepUndo is the compensation of StepRecover; it is no step of its own in a run that succeeds.
const StepUndo Step = "undo"

// Steps returns the six steps in order.
func Steps() []Step {
	return []Step{StepIsolate, StepCheckpoint, StepRecover, StepValidate, StepReintegrate, StepLog}
}

// RecoveryType says what kind of thing a recovery strategy repairs.
type RecoveryType string

// The recovery types.
const (
	RecoverProcess  RecoveryType = "process"
	RecoverNetwork  RecoveryType = "network"
	RecoverData     RecoveryType = "data"
	RecoverState    RecoveryType = "state"
	RecoverDatabase RecoveryType = "database"
	RecoverCustom   RecoveryType = "custom"
)

// Source says who found a fault.
type Source string

// The sources of a finding.
const (
	SourceHealthCheck Source = "health_check"
	SourceProcessExit Source = "process_exit"
	SourceAlert       Source = "alert"
	SourceHeartbeat   Source = "heartbeat"
	SourceOperator    Source = "operator"
)

// Severity grades a ledger record or a finding.
type Severity string

// The severities, mildest first.
const (
	SeverityInfo     Severity = "info"
	SeverityWarning  Severity = "warning"
	SeverityError    Severity = "error"
	SeverityCritical Severity = "critical"
)

// Finding is one fault of one component, seen by one source.
type Finding struct {
	// ID is unique; a finding delivered twice keeps its ID.
	ID string `json:"id"`
	Target
	Source Source `json:"source"`
	// Signal is the name of the check or alert, e.g. "http" or "RedisDown".
	Signal string `json:"signal"`
	// Reason is one line for people.
	Reason   string   `json:"reason"`
	Severity Severity `json:"severity"`
	// ObservedAt is when the source saw it.
	ObservedAt time.Time `json:"observed_at"`
	// Resolved is true when the finding says that the fault is over.
	Resolved bool `json:"resolved,omitempty"`
}

// Outcome says how a run ended.
type Outcome string

// The outcomes of a self-heal run.
const (
	// OutcomeHealed: recovered, validated and back in service.
	OutcomeHealed Outcome = "healed"
	// OutcomeHealthy: nothing to do, the checks passed before anything was touched.
	OutcomeHealthy Outcome = "already-healthy"
	// OutcomeResolved: the alert resolved by itself; compensated and verified.
	OutcomeResolved Outcome = "resolved"
	// OutcomeAborted: stopped by an operator; compensated.
	OutcomeAborted Outcome = "aborted"
	// OutcomeFailed: the ladder is used up; people were told.
	OutcomeFailed Outcome = "failed"
	// OutcomeRefused: not allowed to run now: busy, in maintenance, over budget, or not approved.
	OutcomeRefused Outcome = "refused"
	// OutcomeUnreachable: no agent of the host took the work in time; people were told.
	OutcomeUnreachable Outcome = "host-unreachable"
	// OutcomePlanned: a plan was made and nothing was changed.
	OutcomePlanned Outcome = "planned"
)

// InService says whether the component is back in service after a run with this outcome.
func (o Outcome) InService() bool {
	return o == OutcomeHealed || o == OutcomeHealthy || o == OutcomeResolved
}

// Hint wraps an error with what the reader can do about it.
func Hint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hintError{err: err, hint: hint}
}

// HintOf returns the hint nearest to the surface of err, or "".
func HintOf(err error) string {
	if h, ok := errors.AsType[*hintError](err); ok {
		return h.hint
	}
	return ""
}

type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }
