package shivx

import "slices"

// Workflow types, as typed into the Temporal UI.
const (
	TypeSelfHeal      = "SelfHeal"
	TypeComponent     = "Component"
	TypeLedgerWitness = "LedgerWitness"

	TypeDegradationResponse = "DegradationResponse"

	TypeThreatIsolation = "ThreatIsolation"
	TypeDefenseMode     = "DefenseMode"

	TypeGoldenBackup  = "GoldenBackup"
	TypeGoldenVerify  = "GoldenVerify"
	TypeGoldenRestore = "GoldenRestore"
	TypeSafeSnapshot  = "SafeSnapshot"

	TypeFaultForecast = "FaultForecast"
	TypeMitigation    = "Mitigation"
)

// CriticalRunbooks lists the workflow types that may start in DefenseLockdown: those that heal a host,
// those that guard it, those that bring its state back, and those that keep it from failing. A GoldenBackup is
// none of them: it would keep the state of a host under attack, and remove an older one for it. A FaultForecast
// only reads; a Mitigation asks people then before it does what may lose something, such as traces of the attack.
func CriticalRunbooks() []string {
	return []string{TypeSelfHeal, TypeComponent, TypeDegradationResponse, TypeLedgerWitness, TypeThreatIsolation, TypeDefenseMode,
		TypeGoldenVerify, TypeGoldenRestore, TypeSafeSnapshot, TypeFaultForecast, TypeMitigation}
}

// CriticalRunbook says whether a workflow of that type may start in DefenseLockdown.
func CriticalRunbook(workflowType string) bool {
	return slices.Contains(CriticalRunbooks(), workflowType)
}

// Signals.
const (
	// SignalFault tells a Component of a fault; argument Finding.
	SignalFault = "fault"
	// SignalResolved tells a Component, and it its run, that a fault is over; argument Finding.
	SignalResolved = "resolved"
	// SignalConfigure gives a Component its policy, argument Policy, or a DefenseMode its own, argument
	// DefensePolicy.
	SignalConfigure = "configure"
	// SignalReleased tells a Component that a run has ended; argument Released.
	SignalReleased = "released"
	// SignalHealth tells a DegradationResponse of a change of its host's level; argument LevelChange.
	SignalHealth = "health"
	// SignalAbort stops a run, which compensates; argument Abort.
	SignalAbort = "abort"
	// SignalIsolate tells a ThreatIsolation that its source is isolated, or of a change of its term;
	// argument Isolation.
	SignalIsolate = "isolate"
	// SignalRestore lets the source of a ThreatIsolation go, or ends a lockdown of a DefenseMode;
	// argument {"by","why"}. A ThreatIsolation takes an Isolation that is lifted, too.
	SignalRestore = "restore"
	// SignalThreat tells a DefenseMode of a threat; argument Threat.
	SignalThreat = "threat"
	// SignalLockdown asks a DefenseMode for a lockdown; argument ModeRequest without a mode.
	SignalLockdown = "lockdown"
	// SignalMode tells a DefenseMode that a host has changed its mode; argument ModeChange.
	SignalMode = "mode"
)

// ProblemOtherName is the type of the RFC 9457 document with which an agent refuses what is asked
// for in the name of another.
const ProblemOtherName = "urn:shivx:problem:other-name"

// Updates.
const (
	// UpdateHeal asks a Component for a heal; argument HealRequest, result RunRef.
	UpdateHeal = "heal"
	// UpdateSetMaintenance keeps automation away from a component; argument Maintenance.
	UpdateSetMaintenance = "set-maintenance"
	// UpdateAcquire takes a Component's lock for a run started by hand.
	UpdateAcquire = "acquire"
	// UpdateCheckpoint takes a checkpoint of a healthy component; argument CheckpointRequest.
	UpdateCheckpoint = "checkpoint"
	// UpdateApprove answers a run that waits for approval; argument Decision.
	UpdateApprove = "approve"
	// UpdatePause holds a run before its next step; argument By.
	UpdatePause = "pause"
	// UpdateResume lets a paused run go on; argument By.
	UpdateResume = "resume"
	// UpdateOverride holds a host at a level until an end, or ends that; argument OverrideRequest,
	// result LevelChange.
	UpdateOverride = "override"
	// UpdateWitness gives a LedgerWitness a signed head; argument LedgerHead.
	UpdateWitness = "witness"
	// UpdateExtend changes the term of a ThreatIsolation; argument IsolationRequest, result Isolation.
	UpdateExtend = "extend"
	// UpdateSetMode asks a DefenseMode for a mode; argument ModeRequest, result ModeChange.
	UpdateSetMode = "set-mode"
	// UpdateConfirm keeps a lockdown that would end by itself; argument {"by"}, result ModeChange.
	UpdateConfirm = "confirm"
)

// Queries.
const (
	// QueryStatus returns the state of a workflow.
	QueryStatus = "status"
	// QueryHeads returns the heads a LedgerWitness has seen.
	QueryHeads = "heads"
	// QueryProgress returns how far a golden run is.
	QueryProgress = "progress"
	// QueryHeatmap returns the Heatmap of a FaultForecast.
	QueryHeatmap = "heatmap"
)

// ComponentID is the workflow id of the entity of t.
func ComponentID(t Target) string { return "component/" + t.String() }

// SelfHealID is the workflow id of a heal of t.
func SelfHealID(t Target) string { return "self-heal/" + t.String() }

// WitnessID is the workflow id of the witness of the ledgers of host.
func WitnessID(host string) string { return "ledger-witness/" + host }

// DegradationID is the workflow id of the DegradationResponse of host.
func DegradationID(host string) string { return "degradation@" + host }

// IsolationID is the workflow id of the ThreatIsolation of a source in the form of SourceString.
func IsolationID(source string) string { return "isolation/" + source }

// GoldenID is the workflow id of an action on a set; only one run of each can be open. Whoever starts a
// run under another id is kept apart by the locks of the store.
func GoldenID(a GoldenAction, t GoldenTarget) string {
	return GoldenPrefix + string(a) + "/" + t.String()
}

// FaultForecastID is the workflow id of the forecast of host, and of its schedule.
func FaultForecastID(host string) string { return "forecast@" + host }

// MitigationID is the workflow id of a mitigation for t; only one can be open.
func MitigationID(t SubsystemTarget) string { return "mitigation/" + t.String() }

// GoldenPrefix begins the ids of golden runs and of their schedules.
const GoldenPrefix = "golden/"

// DefenseModeID is the workflow id of the one DefenseMode of a fleet.
const DefenseModeID = "defense-mode"

// Memos by which hosts learn what holds for the fleet.
const (
	// MemoIsolation has the Isolation of a ThreatIsolation.
	MemoIsolation = "isolation"
	// MemoMode has the FleetMode of a DefenseMode.
	MemoMode = "mode"
)

// Memos of a schedule: what a list of schedules does not tell otherwise.
const (
	// MemoScheduleWhen says in words when it starts something, MemoScheduleTarget for what.
	MemoScheduleWhen   = "shivx_when"
	MemoScheduleTarget = "shivx_target"
	// MemoScheduleOwner names the host whose agent keeps the schedule as its configuration says.
	MemoScheduleOwner = "shivx_owner"
	// MemoSchedulePlan, of the runs that such a schedule starts, is a hash of what it was made from.
	MemoSchedulePlan = "shivx_plan"
)
