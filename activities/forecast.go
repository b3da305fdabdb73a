package activities

import (
	"time"

	"github.com/shivx/shivx"
)

// The activities of FaultForecast and Mitigation. All run on the queue of the host whose faults are forecast.
var (
	// ForecastFaults takes what was measured since and says what is predicted of each series and subsystem.
	ForecastFaults = Activity[ForecastFaultsInput, ForecastFaultsResult]{"ForecastFaults"}
	// InspectSubsystem reads what is predicted of a subsystem and what its configuration allows to be done.
	InspectSubsystem = Activity[InspectSubsystemInput, SubsystemPolicy]{"InspectSubsystem"}
	// PlanMitigation asks a plugin what an action would do; nothing is changed.
	PlanMitigation = Activity[MitigationInput, StepResult]{"PlanMitigation"}
	// Mitigate takes one action by its plugin, once, and keeps the forecast without it.
	Mitigate = Activity[MitigationInput, StepResult]{"Mitigate"}
	// MarkMitigation keeps the forecast without an action that another runbook takes, before it does.
	MarkMitigation = Activity[MitigationInput, StepResult]{"MarkMitigation"}
	// UndoMitigation takes back an action that did not help, where its plugin can.
	UndoMitigation = Activity[MitigationInput, StepResult]{"UndoMitigation"}
	// MeasureMitigation compares what came with what was forecast without the action.
	MeasureMitigation = Activity[MitigationInput, shivx.MitigationEffect]{"MeasureMitigation"}
	// LogMitigation writes the end of a run to the operational ledger.
	LogMitigation = Activity[LogMitigationInput, LogResult]{"LogMitigation"}
)

// Error types by which a host says why it did not do what these runbooks asked for, beside ErrPlugin and ErrUnknownEffect.
const (
	// ErrUnknownSubsystem: the subsystem, or the action, is not in the configuration of the host that was asked.
	ErrUnknownSubsystem = "UnknownSubsystem"
)

// ForecastFaultsInput names the host.
type ForecastFaultsInput struct {
	Host string `json:"host"`
}

// ForecastFaultsResult is what is predicted.
type ForecastFaultsResult struct {
	Heatmap shivx.Heatmap `json:"heatmap"`
	// Predictions of all series, or the hundred worst where there are more; GET /api/faults/predictions has all.
	Predictions []shivx.Prediction `json:"predictions"`
	// Mitigate names the subsystems with an open alert, and actions in their configuration of which one may be taken now.
	Mitigate []string `json:"mitigate,omitempty"`
}

// InspectSubsystemInput names the subsystem.
type InspectSubsystemInput struct {
	shivx.SubsystemTarget
}

// SubsystemPolicy is what a Mitigation must know before it starts.
type SubsystemPolicy struct {
	shivx.SubsystemTarget
	Risk shivx.Risk `json:"risk"`
	// Prediction is the worst of the subsystem; nil when nothing is known.
	Prediction *shivx.Prediction  `json:"prediction,omitempty"`
	Actions    []MitigationAction `json:"actions"`
	// Refused says why nothing may be done now, such as a used-up budget; "" when it may.
	Refused string `json:"refused,omitempty"`
	// BlackoutUntil is when a blackout ends in which nothing is done; zero: there is none now.
	BlackoutUntil time.Time `json:"blackout_until,omitzero"`
}

// MitigationAction is one action of a subsystem, in the order in which they are tried.
type MitigationAction struct {
	Name string `json:"name"`
	// Plugin takes it, or Component is restarted by its own runbook, by the strategy of that name where one is given.
	Plugin    string `json:"plugin,omitempty"`
	Component string `json:"component,omitempty"`
	Strategy  string `json:"strategy,omitempty"`
	// Snapshot is the golden set whose state is kept first; "": none.
	Snapshot    string         `json:"snapshot,omitempty"`
	Destructive bool           `json:"destructive,omitempty"`
	CanUndo     bool           `json:"can_undo,omitempty"`
	Timeout     shivx.Duration `json:"timeout"`
	Approval    shivx.Approval `json:"approval,omitzero"`
	// QuietAt is the quiet time before the failure in which it is to be taken; zero: now.
	QuietAt time.Time `json:"quiet_at,omitzero"`
	// MeasureAfter is how long after the action its effect is judged.
	MeasureAfter shivx.Duration `json:"measure_after"`
	// Useless says that it did not help before, and when that was; "" when it may be tried.
	Useless string `json:"useless,omitempty"`
	// Unavailable says why the plugin could not be asked what it is.
	Unavailable string `json:"unavailable,omitempty"`
}

// MitigationInput is one step of one action.
type MitigationInput struct {
	shivx.SubsystemTarget
	// Run is the workflow id and run id, parted by a blank; with the action it identifies the effect.
	Run    string `json:"run"`
	Action string `json:"action"`
	Reason string `json:"reason,omitempty"`
}

// LogMitigationInput is how a Mitigation ended.
type LogMitigationInput struct {
	shivx.SubsystemTarget
	Run        string                       `json:"run"`
	Outcome    shivx.Outcome                `json:"outcome"`
	Message    string                       `json:"message"`
	Prediction *shivx.Prediction            `json:"prediction,omitempty"`
	Effects    []shivx.MitigationEffect     `json:"effects,omitempty"`
	Started    time.Time                    `json:"started"`
	Seconds    float64                      `json:"seconds"`
	Steps      []shivx.MitigationStepReport `json:"steps,omitempty"`
	// Denied are actions that a person refused: nobody is asked for them again soon.
	Denied      []string `json:"denied,omitempty"`
	Reason      string   `json:"reason,omitempty"`
	RequestedBy string   `json:"requested_by,omitempty"`
}
