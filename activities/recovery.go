package activities

import (
	"time"

	"github.com/shivx/shivx"
)

// The activities of the self-heal runbook. All run on the queue of the host they touch.
var (
	// Inspect reads a component's recovery policy and runs its checks once.
	Inspect = Activity[InspectInput, Inspection]{"Inspect"}
	// Isolate takes the component out of traffic.
	Isolate = Activity[StepInput, StepResult]{"Isolate"}
	// Checkpoint keeps a hash-listed copy of the component's state.
	Checkpoint = Activity[CheckpointInput, CheckpointResult]{"Checkpoint"}
	// Recover runs one strategy of the ladder.
	Recover = Activity[StepInput, StepResult]{"Recover"}
	// Validate watches the component for its observation window and judges its state.
	Validate = Activity[ValidateInput, Validation]{"Validate"}
	// Undo takes back a recovery that did not help.
	Undo = Activity[StepInput, StepResult]{"Undo"}
	// Reintegrate puts the component back into traffic.
	Reintegrate = Activity[StepInput, StepResult]{"Reintegrate"}
	// Log writes the end of a run to the operational ledger.
	Log = Activity[LogInput, LogResult]{"Log"}
	// Escalate tells people.
	Escalate = Activity[EscalateInput, EscalateResult]{"Escalate"}
)

// Error types by which a workflow tells why an activity failed.
const (
	// ErrPlugin: the plugin failed; the run climbs the ladder.
	ErrPlugin = "PluginFailed"
	// ErrUnknownEffect: a crash cut the step off and nobody can tell whether its effect took place.
	ErrUnknownEffect = "UnknownEffect"
	// ErrUnknownComponent: the component is not in the configuration of the host that was asked.
	ErrUnknownComponent = "UnknownComponent"
	// ErrBusy: another run holds the component, or it is in maintenance.
	ErrBusy = "Busy"
)

// InspectInput names the component to inspect.
type InspectInput struct {
	shivx.Target
}

// Inspection is what a self-heal run must know before it starts.
type Inspection struct {
	shivx.Target
	shivx.Policy
	// Healthy is true when every check passed just now.
	Healthy bool                `json:"healthy"`
	Checks  []shivx.CheckResult `json:"checks"`
	// Unhealthy lists the dependencies that are unhealthy just now.
	Unhealthy []string `json:"unhealthy_dependencies,omitempty"`
	// DependencyWait is how long to wait for them.
	DependencyWait shivx.Duration `json:"dependency_wait"`
	// IsolatedBy names the plugin that takes the component out of traffic; "" if there is none.
	IsolatedBy string `json:"isolated_by,omitempty"`
	// IsolateTimeout bounds the steps isolate and reintegrate.
	IsolateTimeout shivx.Duration `json:"isolate_timeout"`
	Ladder         []Strategy     `json:"ladder"`
	Observe        Observation    `json:"observe"`
	// ValidateTimeout bounds the whole of the step validate: the observation, the comparison of
	// the state, the consistency commands and the plugin.
	ValidateTimeout shivx.Duration `json:"validate_timeout"`
	// StayIsolated says that a component that could not be healed stays out of traffic.
	StayIsolated bool `json:"stay_isolated"`
}

// Strategy is one rung of the ladder.
type Strategy struct {
	Name     string             `json:"name"`
	Plugin   string             `json:"plugin"`
	Type     shivx.RecoveryType `json:"type"`
	Attempts int                `json:"attempts"`
	Timeout  shivx.Duration     `json:"timeout"`
	// Unavailable says why the plugin could not be asked what it is; it then counts as destructive.
	Unavailable string `json:"unavailable,omitempty"`
	// Destructive strategies need a checkpoint and, where there is one to be had, isolation first.
	Destructive bool           `json:"destructive,omitempty"`
	CanUndo     bool           `json:"can_undo,omitempty"`
	Approval    shivx.Approval `json:"approval,omitzero"`
}

// Observation says when a recovery counts as validated.
type Observation struct {
	// Window over which every check must pass; 0: one round.
	Window shivx.Duration `json:"window"`
	// Every is the time between two rounds.
	Every shivx.Duration `json:"every"`
	// Settle is how long the first passing round may take to come.
	Settle shivx.Duration `json:"settle"`
}

// StepInput is one step of one run on one host.
type StepInput struct {
	shivx.Target
	// Run identifies the run, and with step, strategy and attempt the effect.
	Run      string `json:"run"`
	Strategy string `json:"strategy,omitempty"`
	// Attempt counts the tries of the strategy, or of taking the component out of traffic and back.
	Attempt int `json:"attempt,omitempty"`
	// CheckpointID is the checkpoint taken before the recovery.
	CheckpointID string `json:"checkpoint,omitempty"`
	// Reason says why the run was started.
	Reason string `json:"reason,omitempty"`
	Plan   bool   `json:"plan,omitempty"`
}

// StepResult is what a step did.
type StepResult struct {
	Summary string   `json:"summary"`
	Changes []string `json:"changes,omitempty"`
	// Skipped is true when there was nothing to do.
	Skipped bool `json:"skipped,omitempty"`
	// Resumed is true when the effect had taken place before a crash and was not repeated.
	Resumed bool `json:"resumed,omitempty"`
}

// CheckpointInput asks for a checkpoint.
type CheckpointInput struct {
	StepInput
	// Healthy asks for a checkpoint to restore from; it is refused while a check fails.
	Healthy bool `json:"healthy,omitempty"`
}

// CheckpointResult names the checkpoint taken.
type CheckpointResult struct {
	StepResult
	ID    string `json:"id,omitempty"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

// ValidateInput asks whether the component is fit for service.
type ValidateInput struct {
	StepInput
	Observe Observation `json:"observe"`
}

// Validation is the verdict on a recovery.
type Validation struct {
	StepResult
	Fit bool `json:"fit"`
	// Rounds of checks that passed in a row at the end.
	Rounds int                 `json:"rounds"`
	Checks []shivx.CheckResult `json:"checks,omitempty"`
	// Reasons says why the component is not fit.
	Reasons []string `json:"reasons,omitempty"`
	Delta   Delta    `json:"delta,omitzero"`
}

// Delta counts how the state's files differ from the checkpoint.
type Delta struct {
	Added     int `json:"added"`
	Removed   int `json:"removed"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
}

// LogInput is how a run ended.
type LogInput struct {
	shivx.Target
	Run          string             `json:"run"`
	Outcome      shivx.Outcome      `json:"outcome"`
	RecoveryType shivx.RecoveryType `json:"recovery_type,omitempty"`
	Strategy     string             `json:"strategy,omitempty"`
	Message      string             `json:"message"`
	Started      time.Time          `json:"started"`
	Duration     shivx.Duration     `json:"duration"`
	Steps        []StepReport       `json:"steps,omitempty"`
	Finding      *shivx.Finding     `json:"finding,omitempty"`
	RequestedBy  string             `json:"requested_by,omitempty"`
	CheckpointID string             `json:"checkpoint,omitempty"`
}

// StepReport is one line of a run's story.
type StepReport struct {
	Step     shivx.Step `json:"step"`
	Strategy string     `json:"strategy,omitempty"`
	Attempt  int        `json:"attempt,omitempty"`
	// State is waiting, running, done, skipped or failed.
	State   string         `json:"state"`
	Summary string         `json:"summary,omitempty"`
	Changes []string       `json:"changes,omitempty"`
	Started time.Time      `json:"started,omitzero"`
	Took    shivx.Duration `json:"took,omitempty"`
}

// LogResult is the place of the record in the ledger.
type LogResult struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

// EscalateInput is what people are told.
type EscalateInput struct {
	shivx.Target
	Run     string        `json:"run"`
	Outcome shivx.Outcome `json:"outcome,omitempty"`
	Message string        `json:"message"`
	// Hint says what a person can do now.
	Hint string `json:"hint,omitempty"`
	// Key is the same for every repetition of this message.
	Key string `json:"key"`
}

// EscalateResult lists who was told and who could not be reached.
type EscalateResult struct {
	Told   []string `json:"told,omitempty"`
	Failed []string `json:"failed,omitempty"`
}
