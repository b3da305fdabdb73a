package shivx

import "time"

// GoldenInfo is one golden as people see it.
type GoldenInfo struct {
	ID   string     `json:"id"`
	Set  string     `json:"set"`
	Host string     `json:"host"`
	Name string     `json:"name,omitempty"`
	Kind GoldenKind `json:"kind"`
	// Created is when it was taken, KeepUntil before when it must not be removed; zero: it may.
	Created   time.Time `json:"created"`
	KeepUntil time.Time `json:"keep_until,omitzero"`
	Files     int64     `json:"files"`
	// Bytes of its files, holes included, before deduplication and compression.
	Bytes int64 `json:"bytes"`
	// Unstable, Skipped and Missing count files that kept changing, what could not be stored, and paths
	// of the set that did not exist.
	Unstable int `json:"unstable,omitempty"`
	Skipped  int `json:"skipped,omitempty"`
	Missing  int `json:"missing,omitempty"`
	// Key is the public key that signed it, base64.
	Key string `json:"key,omitempty"`
}

// GoldenProgress is how far a step is. It is the detail of the heartbeats of its activity, which the
// Temporal UI and DescribeWorkflowExecution show.
type GoldenProgress struct {
	Step GoldenStep `json:"step"`
	// Bytes and Files done of BytesTotal and FilesTotal; a total of 0 is not known yet.
	Bytes      int64 `json:"bytes"`
	BytesTotal int64 `json:"bytes_total"`
	Files      int64 `json:"files"`
	FilesTotal int64 `json:"files_total"`
	// Rate is in bytes per second.
	Rate float64 `json:"rate"`
}

// States of a step, in GoldenStepReport.Outcome.
const (
	StepWaiting = "waiting"
	StepRunning = "running"
	StepDone    = "done"
	StepSkipped = "skipped"
	StepFailed  = "failed"
)

// GoldenStepReport is one line of a golden run's story.
type GoldenStepReport struct {
	Name GoldenStep `json:"name"`
	// Service that was stopped or started.
	Service string    `json:"service,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Seconds float64   `json:"seconds"`
	// Outcome is waiting, running, done, skipped or failed.
	Outcome string `json:"outcome"`
	Summary string `json:"summary,omitempty"`
	// Tries counts from 1; further ones are told from 2 on.
	Tries int `json:"tries,omitempty"`
	// Files and Bytes that the step read or wrote.
	Files int64 `json:"files,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
}

// GoldenCapture is what storing a golden took.
type GoldenCapture struct {
	// Files of the golden, and how many of them were known to be unchanged and not read.
	Files     int64 `json:"files"`
	Unchanged int64 `json:"unchanged"`
	// BytesRead from the files, BytesStored in the store for what it did not have yet.
	BytesRead   int64 `json:"bytes_read"`
	BytesStored int64 `json:"bytes_stored"`
	// Missing are paths of the set that did not exist, the first ten: a restore of the golden removes them.
	Missing []string `json:"missing,omitempty"`
	// Warnings say of a snapshot what would have kept a backup from being taken.
	Warnings []string `json:"warnings,omitempty"`
}

// GoldenChanges is how a restore changes, or would change, what is on the disk.
type GoldenChanges struct {
	Added   int64 `json:"added"`
	Removed int64 `json:"removed"`
	Changed int64 `json:"changed"`
	// Replaced counts the files that a whole restore wrote, which does not compare.
	Replaced  int64 `json:"replaced,omitempty"`
	Unchanged int64 `json:"unchanged"`
	// Bytes that are written.
	Bytes int64 `json:"bytes"`
	// Paths are the first of those that change, each with "+", "-" or "~" and a blank before it. Before them stands,
	// after "!" and a blank, what else the restore does and cannot undo.
	Paths []string `json:"paths,omitempty"`
}

// GoldenDamage is one place of a store that is not as it was written.
type GoldenDamage struct {
	// Golden that cannot be restored whole because of it; "" when none needs the place.
	Golden string `json:"golden,omitempty"`
	// Object is the file in the store, Path one of the stored files that is lost with it.
	Object string `json:"object"`
	Path   string `json:"path,omitempty"`
	What   string `json:"what"`
	// Repaired is true when parity has mended it.
	Repaired bool `json:"repaired,omitempty"`
}

// GoldenResult is how a golden run ended.
type GoldenResult struct {
	GoldenTarget
	Outcome Outcome `json:"outcome"`
	Message string  `json:"message"`
	// Golden is the one that was taken, verified, or restored from.
	Golden  *GoldenInfo        `json:"golden,omitempty"`
	Started time.Time          `json:"started"`
	Seconds float64            `json:"seconds"`
	Steps   []GoldenStepReport `json:"steps"`
	// LedgerSeq is the record of this run in the operational ledger.
	LedgerSeq uint64 `json:"ledger_seq,omitempty"`
}

// GoldenBackupResult is how a GoldenBackup ended.
type GoldenBackupResult struct {
	GoldenResult
	Capture GoldenCapture `json:"capture"`
	// Removed are the ids of goldens that need not be kept any more; of a plan: that would be removed.
	Removed []string `json:"removed,omitempty"`
}

// GoldenVerifyResult is how a GoldenVerify ended.
type GoldenVerifyResult struct {
	GoldenResult
	// Goldens and Bytes that were verified; Bytes as they are stored.
	Goldens int   `json:"goldens"`
	Bytes   int64 `json:"bytes"`
	// Damaged counts the places that are damaged still, Repaired those that are not any more; Damage has
	// the first of both.
	Damaged  int            `json:"damaged"`
	Repaired int            `json:"repaired,omitempty"`
	Damage   []GoldenDamage `json:"damage,omitempty"`
}

// GoldenRestoreResult is how a GoldenRestore ended.
type GoldenRestoreResult struct {
	GoldenResult
	// Restore names the restore in its journal on the host and in the ledger.
	Restore string        `json:"restore"`
	Changes GoldenChanges `json:"changes"`
	// Swapped is true when the restored state is in place.
	Swapped bool `json:"swapped"`
	// Stopped are services that the run stopped and could not start again.
	Stopped []string `json:"stopped,omitempty"`
	// Downtime is for how long, in seconds, at least one service was stopped.
	Downtime float64 `json:"downtime_seconds,omitempty"`
}

// SafeSnapshotResult is how a SafeSnapshot ended.
type SafeSnapshotResult struct {
	GoldenResult
	Action SnapshotAction `json:"action"`
	// Capture and Removed belong to SnapshotTake.
	Capture *GoldenCapture `json:"capture,omitempty"`
	Removed []string       `json:"removed,omitempty"`
	// The rest belongs to SnapshotRestore, as in a GoldenRestoreResult.
	Restore  string         `json:"restore,omitempty"`
	Changes  *GoldenChanges `json:"changes,omitempty"`
	Swapped  bool           `json:"swapped,omitempty"`
	Stopped  []string       `json:"stopped,omitempty"`
	Downtime float64        `json:"downtime_seconds,omitempty"`
}
