package shivx

import "time"

// MitigationStep is one step of the Mitigation runbook.
type MitigationStep string

// The steps, in the order in which a run may take them.
const (
	// MitigationInspect reads the prediction and what the host's configuration says.
	MitigationInspect MitigationStep = "inspect"
	// MitigationPlan asks each action what it would do.
	MitigationPlan MitigationStep = "plan"
	// MitigationWait waits for the end of a blackout, or for a quiet time before the failure.
	MitigationWait MitigationStep = "wait"
	// MitigationApprove waits for people.
	MitigationApprove MitigationStep = "approve"
	// MitigationSnapshot keeps the state before something risky is done.
	MitigationSnapshot MitigationStep = "snapshot"
	// MitigationAct takes one action.
	MitigationAct MitigationStep = "act"
	// MitigationMeasure compares what came with what was forecast without the action.
	MitigationMeasure MitigationStep = "measure"
	// MitigationUndo takes an action back that did not help.
	MitigationUndo MitigationStep = "undo"
	// MitigationLog writes the end of the run to the operational ledger.
	MitigationLog MitigationStep = "log"
)

// The outcomes of mitigations beside those that every run may have.
const (
	// OutcomePrevented: an action helped: the failure is not forecast any more, or later than without it.
	OutcomePrevented Outcome = "prevented"
	// OutcomeUseless: every action was taken and none helped; people were told.
	OutcomeUseless Outcome = "no-effect"
	// OutcomeUnneeded: nothing is forecast, or no longer.
	OutcomeUnneeded Outcome = "not-needed"
)

// MitigationDone says whether a mitigation has done what it was for.
func (o Outcome) MitigationDone() bool {
	return o == OutcomePrevented || o == OutcomeUnneeded || o == OutcomePlanned
}

// MitigationInput is what a person or a FaultForecast gives to Mitigation. Only the subsystem is required, and
// the host where it is not clear.
type MitigationInput struct {
	SubsystemTarget
	// Plan reports what would be done and changes nothing.
	Plan bool `json:"plan,omitempty"`
	// Action takes that one alone.
	Action string `json:"action,omitempty"`
	// Force acts although nothing is forecast, the budget is used up, it is a blackout, or the action did not help
	// before, and waits for no quiet time. What people must approve they must approve all the same.
	Force       bool   `json:"force,omitempty"`
	Reason      string `json:"reason,omitempty"`
	RequestedBy string `json:"requested_by,omitempty"`
}

// MitigationResult is how a Mitigation ended.
type MitigationResult struct {
	SubsystemTarget
	Outcome Outcome `json:"outcome"`
	Message string  `json:"message"`
	// Prediction is the one that was acted upon.
	Prediction *Prediction            `json:"prediction,omitempty"`
	Actions    []PlannedAction        `json:"actions,omitempty"`
	Effects    []MitigationEffect     `json:"effects,omitempty"`
	Started    time.Time              `json:"started"`
	Seconds    float64                `json:"seconds"`
	Steps      []MitigationStepReport `json:"steps"`
	// LedgerSeq is the record of this run in the operational ledger.
	LedgerSeq uint64 `json:"ledger_seq,omitempty"`
}

// PlannedAction is what one action would do.
type PlannedAction struct {
	Name string `json:"name"`
	// Plugin that takes it; "" when Component is healed.
	Plugin string `json:"plugin,omitempty"`
	// Component that is restarted by its own ladder.
	Component string `json:"component,omitempty"`
	// Summary and Changes are what it would do.
	Summary string   `json:"summary"`
	Changes []string `json:"changes,omitempty"`
	// Destructive actions may lose something.
	Destructive bool `json:"destructive,omitempty"`
	// At is when it would be taken: in the quiet time before the failure.
	At time.Time `json:"at,omitzero"`
	// Skip says why it is not taken; "" when it is.
	Skip string `json:"skip,omitempty"`
}

// MitigationEffect is what one action changed, against the forecast without it.
type MitigationEffect struct {
	Action string `json:"action"`
	// Taken is when, Measured when its effect was.
	Taken    time.Time `json:"taken"`
	Measured time.Time `json:"measured"`
	// Before is the level when the action was taken, Forecast the level that was then forecast for Measured without it, After the
	// level that was measured; in the unit of the series.
	Series   string  `json:"series"`
	Before   float64 `json:"before"`
	Forecast float64 `json:"forecast"`
	After    float64 `json:"after"`
	// ProbabilityBefore and ProbabilityAfter are those of a failure within the horizon.
	ProbabilityBefore float64 `json:"probability_before"`
	ProbabilityAfter  float64 `json:"probability_after"`
	// BreachBefore and BreachAfter are when the failure was, and is, forecast; zero: it is not.
	BreachBefore time.Time `json:"breach_before,omitzero"`
	BreachAfter  time.Time `json:"breach_after,omitzero"`
	// Helped says that it was worth it, and Why in one line.
	Helped bool   `json:"helped"`
	Why    string `json:"why"`
}

// MitigationStepReport is one line of a mitigation's story.
type MitigationStepReport struct {
	Name MitigationStep `json:"name"`
	// Action that was planned, taken or measured.
	Action  string    `json:"action,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Seconds float64   `json:"seconds"`
	// Outcome is waiting, running, done, skipped or failed.
	Outcome string   `json:"outcome"`
	Summary string   `json:"summary,omitempty"`
	Changes []string `json:"changes,omitempty"`
}
