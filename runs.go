package shivx

import "time"

// HostQueue returns the task queue on which the agent of host does its activities.
func HostQueue(host string) string { return "shivx-host-" + host }

// RunbookQueue is the task queue of the runbooks unless the configuration names another.
const RunbookQueue = "shivx"

// TaskTimeout is how long a worker may take over one decision of a runbook, which takes
// milliseconds; a decision that a crash cut off is made anew after it. Temporal's default is 10 s.
const TaskTimeout = 3 * time.Second

// Runbook kinds, the values of the search attribute ShivxRunbook.
const (
	RunbookSelfHeal  = "self-heal"
	RunbookComponent = "component"
	RunbookWitness   = "ledger-witness"

	RunbookDegradation = "degradation"
	RunbookIsolation   = "isolation"
	RunbookDefense     = "defense"

	RunbookGoldenBackup  = "golden-backup"
	RunbookGoldenVerify  = "golden-verify"
	RunbookGoldenRestore = "golden-restore"
	RunbookSafeSnapshot  = "safe-snapshot"

	RunbookFaultForecast = "fault-forecast"
	RunbookMitigation    = "mitigation"
)

// Custom search attributes.
const (
	AttrComponent = "ShivxComponent"
	AttrHost      = "ShivxHost"
	AttrRunbook   = "ShivxRunbook"
	AttrOutcome   = "ShivxOutcome"
	// AttrSet is the golden set of a run.
	AttrSet = "ShivxSet"
	// AttrSubsystem is the subsystem of a mitigation.
	AttrSubsystem = "ShivxSubsystem"
	// AttrChanged is when what a memo of the run says was changed last, by the server's clock.
	AttrChanged = "ShivxChanged"
)

// Types of search attributes, as Temporal calls them.
const (
	AttrKeyword  = "Keyword"
	AttrDatetime = "Datetime"
)

// SearchAttribute is the name of a custom search attribute with its type.
type SearchAttribute struct{ Name, Type string }

// SearchAttributes lists the custom search attributes.
func SearchAttributes() []SearchAttribute {
	return []SearchAttribute{
		{AttrComponent, AttrKeyword}, {AttrHost, AttrKeyword}, {AttrRunbook, AttrKeyword}, {AttrOutcome, AttrKeyword},
		{AttrSet, AttrKeyword}, {AttrSubsystem, AttrKeyword}, {AttrChanged, AttrDatetime},
	}
}

// CheckResult is what one health check found.
type CheckResult struct {
	Check   string `json:"check"`
	Healthy bool   `json:"healthy"`
	// Error says in one line why the check failed.
	Error string `json:"error,omitempty"`
}

// Limits keep automation from doing harm to one component.
type Limits struct {
	// Heals allowed per Window before people are asked instead.
	Heals  int      `json:"heals"`
	Window Duration `json:"window"`
	// Cooldown after a heal; doubles with each one that follows within Window, up to MaxCooldown.
	Cooldown    Duration `json:"cooldown"`
	MaxCooldown Duration `json:"max_cooldown"`
}

// DefaultLimits hold until the agent of the component's host has said otherwise.
func DefaultLimits() Limits {
	return Limits{Heals: 5, Window: Duration(time.Hour), Cooldown: Duration(10 * time.Second), MaxCooldown: Duration(10 * time.Minute)}
}

// Policy is what a component's entity must know of its configuration.
type Policy struct {
	Critical bool   `json:"critical"`
	Limits   Limits `json:"limits"`
	// CheckpointEvery is the time between two checkpoints taken while healthy; 0: none.
	CheckpointEvery Duration `json:"checkpoint_every"`
}

// DefensePolicy says when the mode of a fleet changes by itself.
type DefensePolicy struct {
	// Threats of the level high or critical within Window, of all hosts together, make the mode
	// ELEVATED, which ends when there were none for as long.
	Threats int      `json:"threats"`
	Window  Duration `json:"window"`
	// ConfirmWithin is how long a lockdown lasts, unless a person confirms it, whose request does not
	// say; 0: it needs no confirmation.
	ConfirmWithin Duration `json:"confirm_within"`
}

// DefaultDefensePolicy holds until an agent has said otherwise.
func DefaultDefensePolicy() DefensePolicy {
	return DefensePolicy{Threats: 5, Window: Duration(10 * time.Minute), ConfirmWithin: Duration(10 * time.Minute)}
}

// Approval is an N-of-M agreement with an end.
type Approval struct {
	Required int      `json:"required"`
	Of       []string `json:"of,omitempty"`
	TTL      Duration `json:"ttl"`
	// Grant is what holds when nobody decided within TTL.
	Grant bool `json:"grant_by_default,omitempty"`
}

// RecoveryRecord is one line of the operational ledger.
type RecoveryRecord struct {
	EventID   string    `json:"event_id"`
	Timestamp time.Time `json:"timestamp"`
	// EventType is fault, resolved, step_started, step_done, step_failed, recovery, checkpoint, golden, prediction, mitigation or escalation.
	EventType string `json:"event_type"`
	Component string `json:"component"`
	// Set is the golden set, of golden runs and their steps.
	Set string `json:"set,omitempty"`
	// Subsystem is that of predictions, mitigations and their steps.
	Subsystem string   `json:"subsystem,omitempty"`
	Host      string   `json:"host"`
	Severity  Severity `json:"severity"`
	// Run is the workflow id and run id, parted by a blank.
	Run      string `json:"run,omitempty"`
	Step     Step   `json:"step,omitempty"`
	Strategy string `json:"strategy,omitempty"`
	Attempt  int    `json:"attempt,omitempty"`
	// RecoveryType is set on recoveries and on the steps of a strategy.
	RecoveryType RecoveryType `json:"recovery_type,omitempty"`
	Outcome      Outcome      `json:"outcome,omitempty"`
	Success      *bool        `json:"success,omitempty"`
	DurationMS   int64        `json:"duration_ms,omitempty"`
	Message      string       `json:"message,omitempty"`
	Details      any          `json:"details,omitempty"`
}

// The event types of a RecoveryRecord.
const (
	EventFault       = "fault"
	EventResolved    = "resolved"
	EventStepStarted = "step_started"
	EventStepDone    = "step_done"
	EventStepFailed  = "step_failed"
	EventRecovery    = "recovery"
	EventCheckpoint  = "checkpoint"
	EventGolden      = "golden"
	// EventPrediction is an alert of a forecast that opens or closes, EventMitigation the end of a Mitigation.
	EventPrediction = "prediction"
	EventMitigation = "mitigation"
	EventEscalation = "escalation"
)

// LedgerHead is a signed statement of how far a ledger reaches, kept by a witness outside its host.
type LedgerHead struct {
	// Ledger is the file's name without folder and extension.
	Ledger string `json:"ledger"`
	Host   string `json:"host"`
	// Genesis is the first public key of the ledger, base64.
	Genesis string    `json:"genesis"`
	Epoch   uint64    `json:"epoch"`
	Seq     uint64    `json:"seq"`
	Hash    string    `json:"hash"`
	Time    time.Time `json:"time"`
	// Key signed this head, Next will sign the next one; base64.
	Key  string `json:"key"`
	Next string `json:"next"`
	Sig  string `json:"sig"`
}
