package shivx

import (
	"fmt"
	"strings"
	"time"
)

// GoldenTarget names one golden set on one host.
type GoldenTarget struct {
	// Set is the name given in the configuration, such as "system".
	Set string `json:"set"`
	// Host is the name of the agent that has the set. Each may have one of that name.
	Host string `json:"host,omitempty"`
}

// String returns "set@host", the form used in workflow ids.
func (t GoldenTarget) String() string {
	if t.Host == "" {
		return t.Set
	}
	return t.Set + "@" + t.Host
}

// ParseGoldenTarget reads "set" or "set@host".
func ParseGoldenTarget(s string) (GoldenTarget, error) {
	set, host, found := strings.Cut(s, "@")
	if set == "" || (found && host == "") || strings.ContainsAny(host, "@/") || strings.Contains(set, "/") {
		return GoldenTarget{}, Hint(fmt.Errorf("%q is no golden set", s), "write SET or SET@HOST")
	}
	return GoldenTarget{Set: set, Host: host}, nil
}

// GoldenAction is what a golden runbook does; it stands in workflow ids and in the ledger.
type GoldenAction string

// The actions.
const (
	GoldenBackup   GoldenAction = "backup"
	GoldenVerify   GoldenAction = "verify"
	GoldenRestore  GoldenAction = "restore"
	GoldenSnapshot GoldenAction = "snapshot"
)

// GoldenActions returns the actions.
func GoldenActions() []GoldenAction {
	return []GoldenAction{GoldenBackup, GoldenVerify, GoldenRestore, GoldenSnapshot}
}

// GoldenKind says why a golden was taken. "latest" never crosses the kinds: what a guardian keeps of a
// host under attack is not what a restore brings back unless it is named.
type GoldenKind string

// The kinds.
const (
	GoldenKindBackup   GoldenKind = "backup"
	GoldenKindSnapshot GoldenKind = "snapshot"
)

// GoldenLatest names the newest golden of a set and kind.
const GoldenLatest = "latest"

// GoldenStep is one step of a golden runbook.
type GoldenStep string

// The steps, in the order in which a run may take them.
const (
	// GoldenStepInspect reads what the host's configuration says about the set.
	GoldenStepInspect GoldenStep = "inspect"
	// GoldenStepResolve finds the golden that is meant.
	GoldenStepResolve GoldenStep = "resolve"
	// GoldenStepTake stores a golden.
	GoldenStepTake GoldenStep = "take"
	// GoldenStepPrune removes the goldens that need not be kept any more.
	GoldenStepPrune GoldenStep = "prune"
	// GoldenStepVerify compares every stored byte that is needed with the signed list.
	GoldenStepVerify GoldenStep = "verify"
	// GoldenStepApprove waits for people.
	GoldenStepApprove GoldenStep = "approve"
	// GoldenStepStage builds the restored files beside those in use.
	GoldenStepStage GoldenStep = "stage"
	// GoldenStepValidate looks whether the staged configurations can be read.
	GoldenStepValidate GoldenStep = "validate"
	// GoldenStepHold takes the locks of the services, so that nothing heals what is stopped on purpose.
	GoldenStepHold GoldenStep = "hold"
	// GoldenStepStop stops one service.
	GoldenStepStop GoldenStep = "stop"
	// GoldenStepSettle compares again what was staged while the services ran.
	GoldenStepSettle GoldenStep = "settle"
	// GoldenStepSwap puts the staged files in place; the old ones are kept.
	GoldenStepSwap GoldenStep = "swap"
	// GoldenStepStart starts one service.
	GoldenStepStart GoldenStep = "start"
	// GoldenStepLoad does what a restored database needs once its service runs.
	GoldenStepLoad GoldenStep = "load"
	// GoldenStepCheck runs the health checks of the services.
	GoldenStepCheck GoldenStep = "check"
	// GoldenStepFinish ends a restore that holds.
	GoldenStepFinish GoldenStep = "finish"
	// GoldenStepUndo puts the old files back.
	GoldenStepUndo GoldenStep = "undo"
	// GoldenStepDiscard removes what was staged.
	GoldenStepDiscard GoldenStep = "discard"
	// GoldenStepLog writes the end of the run to the operational ledger.
	GoldenStepLog GoldenStep = "log"
)

// RestoreMode says how files are put back.
type RestoreMode string

// The modes.
const (
	// RestoreWhole builds everything anew and replaces each root as a whole: what was added since is gone.
	RestoreWhole RestoreMode = "whole"
	// RestoreInPlace rewrites only what differs.
	RestoreInPlace RestoreMode = "in-place"
)

// SnapshotAction says what SafeSnapshot does.
type SnapshotAction string

// The actions of SafeSnapshot.
const (
	// SnapshotTake keeps the state as it is.
	SnapshotTake SnapshotAction = "take"
	// SnapshotRestore rolls back to a snapshot.
	SnapshotRestore SnapshotAction = "restore"
)

// The outcomes of golden runs beside those that every run may have.
const (
	// OutcomeStored: the golden is in the store, and durable.
	OutcomeStored Outcome = "stored"
	// OutcomeVerified: every byte is what was signed.
	OutcomeVerified Outcome = "verified"
	// OutcomeDamaged: something in the store is not as it was written; nothing was restored.
	OutcomeDamaged Outcome = "damaged"
	// OutcomeRestored: the files are back and the services healthy.
	OutcomeRestored Outcome = "restored"
	// OutcomeUndone: the restore failed after the swap; the old state is back.
	OutcomeUndone Outcome = "undone"
)

// GoldenDone says whether a golden run has done what it was for.
func (o Outcome) GoldenDone() bool {
	return o == OutcomeStored || o == OutcomeVerified || o == OutcomeRestored || o == OutcomePlanned
}

// GoldenRequest is what every golden runbook may be given. Only the set is required.
type GoldenRequest struct {
	GoldenTarget
	// Plan reports what would be done and changes nothing.
	Plan bool `json:"plan,omitempty"`
	// Reason says why, in one line; RequestedBy who asks.
	Reason      string `json:"reason,omitempty"`
	RequestedBy string `json:"requested_by,omitempty"`
}

// GoldenBackupInput is what a person or a schedule gives to GoldenBackup.
type GoldenBackupInput struct {
	GoldenRequest
	// Name is one for people; goldens are found by it.
	Name string `json:"name,omitempty"`
	// AllowMissing stores a golden although paths of the set are missing, or empty, that the one before has.
	AllowMissing bool `json:"allow_missing,omitempty"`
}

// GoldenVerifyInput is what a person or a schedule gives to GoldenVerify.
type GoldenVerifyInput struct {
	GoldenRequest
	// Golden is an id, a unique beginning of one, a name, or "latest", which it is by default.
	Golden string `json:"golden,omitempty"`
	// From is the host whose golden is meant; "": the host itself.
	From string `json:"from,omitempty"`
	// All verifies every golden of the store and every pack, whether a golden needs it or not.
	All bool `json:"all,omitempty"`
	// Repair mends what is damaged as far as there is parity.
	Repair bool `json:"repair,omitempty"`
	// Trust names further public keys, base64, whose goldens are believed.
	Trust []string `json:"trust,omitempty"`
}

// GoldenRestoreInput is what a person gives to GoldenRestore.
type GoldenRestoreInput struct {
	GoldenRequest
	// Golden is an id, a unique beginning of one, a name, or "latest", which it is by default.
	Golden string `json:"golden,omitempty"`
	// From is the host whose golden is meant, such as one that is gone; "": the host itself.
	From string `json:"from,omitempty"`
	// Paths are the files and folders to restore; none: all of the golden.
	Paths []string `json:"paths,omitempty"`
	// Mode is RestoreWhole unless it is set, or RestoreInPlace with Paths.
	Mode RestoreMode `json:"mode,omitempty"`
	// LeaveServices stops and starts nothing: for files that no service has open.
	LeaveServices bool `json:"leave_services,omitempty"`
	// KeepOld keeps the old state beside the restored one, for people to look at.
	KeepOld bool `json:"keep_old,omitempty"`
	// Trust names further public keys, base64, whose goldens are believed.
	Trust []string `json:"trust,omitempty"`
}

// SafeSnapshotInput is what a person, the guardian or another runbook gives to SafeSnapshot.
type SafeSnapshotInput struct {
	GoldenRequest
	// Action is SnapshotTake unless it is set.
	Action SnapshotAction `json:"action,omitempty"`
	// Name is one for people, of the snapshot that is taken.
	Name string `json:"name,omitempty"`
	// Golden is the snapshot to roll back to: an id, a unique beginning of one, a name, or "latest",
	// which it is by default.
	Golden string `json:"golden,omitempty"`
	// Mode of the rollback; RestoreWhole unless it is set.
	Mode RestoreMode `json:"mode,omitempty"`
	// KeepOlder removes no older snapshot for the one that is taken.
	KeepOlder bool `json:"keep_older,omitempty"`
}

// GoldenSchedule says when the runs of a set start by themselves.
type GoldenSchedule struct {
	// Backup and Verify are five cron fields; "": never.
	Backup string
	Verify string
	// TimeZone of both, such as Europe/Berlin.
	TimeZone string
	// Jitter spreads the starts over this time.
	Jitter time.Duration
}
