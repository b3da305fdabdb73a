package shivx

// Workflow types, as typed into the Temporal UI.
const (
	TypeSelfHeal      = "SelfHeal"
	TypeComponent     = "Component"
	TypeLedgerWitness = "LedgerWitness"

	TypeDegradationResponse = "DegradationResponse"
)

// Signals.
const (
	// SignalFault tells a Component of a fault; argument Finding.
	SignalFault = "fault"
	// SignalResolved tells a Component, and it its run, that a fault is over; argument Finding.
	SignalResolved = "resolved"
	// SignalConfigure gives a Component its policy; argument Policy.
	SignalConfigure = "configure"
	// SignalReleased tells a Component that a run has ended; argument Released.
	SignalReleased = "released"
	// SignalHealth tells a DegradationResponse of a change of its host's level; argument LevelChange.
	SignalHealth = "health"
	// SignalAbort stops a run, which compensates; argument Abort.
	SignalAbort = "abort"
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
)

// Queries.
const (
	// QueryStatus returns the state of a workflow.
	QueryStatus = "status"
	// QueryHeads returns the heads a LedgerWitness has seen.
	QueryHeads = "heads"
)

// ComponentID is the workflow id of the entity of t.
func ComponentID(t Target) string { return "component/" + t.String() }

// SelfHealID is the workflow id of a heal of t.
func SelfHealID(t Target) string { return "self-heal/" + t.String() }

// WitnessID is the workflow id of the witness of the ledgers of host.
func WitnessID(host string) string { return "ledger-witness/" + host }

// DegradationID is the workflow id of the DegradationResponse of host.
func DegradationID(host string) string { return "degradation@" + host }
