package activities

import (
	"time"

	"github.com/shivx/shivx"
)

// The activities of the golden runbooks. All run on the queue of the host whose set it is. Those that copy
// or read much tell how far they are by heartbeats with a shivx.GoldenProgress, and go on where they were
// when they are tried again.
var (
	// InspectSet reads what the host's configuration says about a set.
	InspectSet = Activity[InspectSetInput, SetPolicy]{"InspectSet"}
	// FindGolden finds a golden by what people call it.
	FindGolden = Activity[FindGoldenInput, shivx.GoldenInfo]{"FindGolden"}
	// TakeGolden stores the set as it is. Tried again after its commit it finds the golden of its run.
	TakeGolden = Activity[TakeGoldenInput, TakeGoldenResult]{"TakeGolden"}
	// PruneGoldens removes what the set's retention does not ask for.
	PruneGoldens = Activity[PruneGoldensInput, PruneGoldensResult]{"PruneGoldens"}
	// VerifyGolden compares stored bytes with what was signed. Damage is its result, not an error.
	VerifyGolden = Activity[VerifyGoldenInput, VerifyGoldenResult]{"VerifyGolden"}

	// StageRestore builds what a restore will put in place, beside the files in use. Called again it brings
	// what it has staged up to date with what is on the disk by then.
	StageRestore = Activity[RestoreInput, RestoreStep]{"StageRestore"}
	// ValidateRestore runs the set's validations on what is staged.
	ValidateRestore = Activity[RestoreInput, RestoreStep]{"ValidateRestore"}
	// SwapRestore puts what is staged in place and keeps what was there.
	SwapRestore = Activity[RestoreInput, RestoreStep]{"SwapRestore"}
	// LoadRestore does what databases need that are restored by their own programs, once their services run;
	// when there is none it is skipped. After an error nothing has changed.
	LoadRestore = Activity[RestoreInput, RestoreStep]{"LoadRestore"}
	// UndoRestore puts back what was there, also after a swap that was cut off; when nothing was swapped
	// it is skipped.
	UndoRestore = Activity[RestoreInput, RestoreStep]{"UndoRestore"}
	// FinishRestore ends a restore that holds: what was there before is removed, or kept for people.
	FinishRestore = Activity[RestoreInput, RestoreStep]{"FinishRestore"}
	// DiscardRestore removes what was staged; when nothing was, it is skipped.
	DiscardRestore = Activity[RestoreInput, RestoreStep]{"DiscardRestore"}

	// StopService stops a component's service and returns when nothing of it runs.
	StopService = Activity[ServiceInput, RestoreStep]{"StopService"}
	// StartService starts a component's service; one that runs is a success.
	StartService = Activity[ServiceInput, RestoreStep]{"StartService"}
	// CheckServices watches the health checks of services as the validation of a recovery does.
	CheckServices = Activity[CheckServicesInput, CheckServicesResult]{"CheckServices"}

	// LogGolden writes the end of a run to the operational ledger.
	LogGolden = Activity[LogGoldenInput, LogResult]{"LogGolden"}
)

// Error types by which a host says why it did not do what a golden runbook asked for. ErrBusy says that another
// restore is under way on the host or, of a backup, that the files are those of a restore that is not judged
// yet. A store that others have locked is waited for until the step's timeout.
const (
	// ErrUnknownSet: the set is not in the configuration of the host that was asked.
	ErrUnknownSet = "UnknownSet"
	// ErrUnknownGolden: the store has no such golden, or more than one that could be meant.
	ErrUnknownGolden = "UnknownGolden"
	// ErrUntrusted: the golden is signed by a key that is not trusted here.
	ErrUntrusted = "UntrustedGolden"
	// ErrRefused: the name is taken, the store is another or its key is, or the clock is wrong.
	ErrRefused = "GoldenRefused"
	// ErrDamaged: what is stored is not as it was written.
	ErrDamaged = "GoldenDamaged"
	// ErrNotValid: a staged configuration cannot be read, or its program refuses it.
	ErrNotValid = "NotValid"
	// ErrOver: the restore has ended, by its own run before a reset or by another restore. It is not gone on
	// with; one whose state stays in place is not undone.
	ErrOver = "RestoreOver"
	// ErrGoldenFailed: the step failed, and would again.
	ErrGoldenFailed = "GoldenFailed"
)

// GoldenOutcome is how a golden run ends on an error of that type, unless it had something to put back.
func GoldenOutcome(errorType string) shivx.Outcome {
	switch errorType {
	case ErrUnknownSet, ErrUnknownGolden, ErrUnknownComponent, ErrBusy, ErrUntrusted, ErrRefused:
		return shivx.OutcomeRefused
	case ErrDamaged:
		return shivx.OutcomeDamaged
	default:
		return shivx.OutcomeFailed
	}
}

// InspectSetInput names the set to inspect.
type InspectSetInput struct {
	shivx.GoldenTarget
}

// SetPolicy is what a run must know of a set before it starts.
type SetPolicy struct {
	shivx.GoldenTarget
	// Services are components in the order in which they are started.
	Services []string `json:"services,omitempty"`
	// Approval that a restore needs.
	Approval shivx.Approval `json:"approval,omitzero"`
	// Timeout of a step that reads or copies.
	Timeout shivx.Duration `json:"timeout"`
	// ServiceTimeout of the stop or the start of one service.
	ServiceTimeout shivx.Duration `json:"service_timeout"`
	// CheckTimeout of the health checks of all services together.
	CheckTimeout shivx.Duration `json:"check_timeout"`
}

// FindGoldenInput says which golden is meant.
type FindGoldenInput struct {
	shivx.GoldenTarget
	// Golden is an id, a unique beginning of one, a name, or "latest".
	Golden string `json:"golden"`
	// Kind of which it is the latest, and among which a name is looked for; an id may be of any.
	Kind shivx.GoldenKind `json:"kind"`
	// From is the host that took it; "": Host.
	From string `json:"from,omitempty"`
	// Trust names further public keys, base64, whose goldens are believed.
	Trust []string `json:"trust,omitempty"`
}

// TakeGoldenInput asks for a golden.
type TakeGoldenInput struct {
	shivx.GoldenTarget
	// Run is the workflow id and run id, parted by a blank; it identifies the effect.
	Run    string           `json:"run"`
	Kind   shivx.GoldenKind `json:"kind"`
	Name   string           `json:"name,omitempty"`
	Reason string           `json:"reason,omitempty"`
	// AllowMissing stores a golden although paths of the set are missing, or empty, that the one before has.
	AllowMissing bool `json:"allow_missing,omitempty"`
	// Plan counts what would be read and stores nothing.
	Plan bool `json:"plan,omitempty"`
}

// TakeGoldenResult names the golden that was stored.
type TakeGoldenResult struct {
	Summary string              `json:"summary"`
	Golden  shivx.GoldenInfo    `json:"golden"`
	Capture shivx.GoldenCapture `json:"capture"`
}

// PruneGoldensInput asks for the retention of a kind of a set's goldens.
type PruneGoldensInput struct {
	shivx.GoldenTarget
	Run  string           `json:"run"`
	Kind shivx.GoldenKind `json:"kind"`
	Plan bool             `json:"plan,omitempty"`
}

// PruneGoldensResult is what was removed.
type PruneGoldensResult struct {
	Summary string `json:"summary"`
	// Removed are the ids, Kept how many are left.
	Removed []string `json:"removed,omitempty"`
	Kept    int      `json:"kept"`
	// Freed is in bytes of the store.
	Freed int64 `json:"freed"`
}

// VerifyGoldenInput asks for the verification of a golden, or of all.
type VerifyGoldenInput struct {
	shivx.GoldenTarget
	Run string `json:"run"`
	// Golden is a whole id; "" with All.
	Golden string `json:"golden,omitempty"`
	// Paths that are needed; none: all of the golden.
	Paths  []string `json:"paths,omitempty"`
	All    bool     `json:"all,omitempty"`
	Repair bool     `json:"repair,omitempty"`
	Trust  []string `json:"trust,omitempty"`
	// Plan counts what would be read.
	Plan bool `json:"plan,omitempty"`
}

// VerifyGoldenResult is what was found.
type VerifyGoldenResult struct {
	Summary string `json:"summary"`
	// Goldens, Files and Bytes that were verified; Bytes as they are stored.
	Goldens int   `json:"goldens"`
	Files   int64 `json:"files"`
	Bytes   int64 `json:"bytes"`
	// Damaged counts the places that are damaged still, Repaired those that are not any more; Damage has
	// the first of both.
	Damaged  int                  `json:"damaged"`
	Repaired int                  `json:"repaired,omitempty"`
	Damage   []shivx.GoldenDamage `json:"damage,omitempty"`
}

// RestoreInput is one step of a restore.
type RestoreInput struct {
	shivx.GoldenTarget
	// Run is the workflow id and run id, parted by a blank.
	Run string `json:"run"`
	// Restore names the restore in its journal: the same for every step and every repetition of one, safe
	// as the name of a file. A step that took place is not repeated.
	Restore string            `json:"restore"`
	Golden  string            `json:"golden"`
	Paths   []string          `json:"paths,omitempty"`
	Mode    shivx.RestoreMode `json:"mode"`
	Trust   []string          `json:"trust,omitempty"`
	// Stopped is true once the services are stopped, so that nothing changes any more what is compared.
	Stopped bool `json:"stopped,omitempty"`
	// KeepOld keeps what was there before, in FinishRestore.
	KeepOld bool `json:"keep_old,omitempty"`
	// Plan reports what would change, in StageRestore.
	Plan bool `json:"plan,omitempty"`
}

// RestoreStep is what a step of a restore did.
type RestoreStep struct {
	Summary string `json:"summary"`
	// Skipped is true when there was nothing to do.
	Skipped bool `json:"skipped,omitempty"`
	// Files and Bytes that were written or compared.
	Files int64 `json:"files,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
	// Changes are set by StageRestore and SwapRestore.
	Changes *shivx.GoldenChanges `json:"changes,omitempty"`
}

// ServiceInput names a service of a set.
type ServiceInput struct {
	shivx.GoldenTarget
	Run     string `json:"run"`
	Restore string `json:"restore"`
	// Service is the name of a component of the host.
	Service string `json:"service"`
	// Attempt counts the stops, or the starts, of the service in this run, from 1: each is an effect of
	// its own, and the same in every repetition of its activity.
	Attempt int            `json:"attempt"`
	Timeout shivx.Duration `json:"timeout"`
}

// CheckServicesInput asks whether services are fit.
type CheckServicesInput struct {
	shivx.GoldenTarget
	Run      string         `json:"run"`
	Restore  string         `json:"restore"`
	Services []string       `json:"services"`
	Timeout  shivx.Duration `json:"timeout"`
}

// CheckServicesResult is the verdict.
type CheckServicesResult struct {
	Summary string `json:"summary"`
	Fit     bool   `json:"fit"`
	// Reasons says why not, one line each, beginning with the service.
	Reasons []string `json:"reasons,omitempty"`
}

// LogGoldenInput is how a golden run ended.
type LogGoldenInput struct {
	shivx.GoldenTarget
	Run         string                   `json:"run"`
	Action      shivx.GoldenAction       `json:"action"`
	Outcome     shivx.Outcome            `json:"outcome"`
	Message     string                   `json:"message"`
	Golden      string                   `json:"golden,omitempty"`
	Restore     string                   `json:"restore,omitempty"`
	Started     time.Time                `json:"started"`
	Seconds     float64                  `json:"seconds"`
	Steps       []shivx.GoldenStepReport `json:"steps,omitempty"`
	Reason      string                   `json:"reason,omitempty"`
	RequestedBy string                   `json:"requested_by,omitempty"`
	// Try tells the ends of one run apart: a local restore that was cut off, or got stuck, is taken up again.
	Try int `json:"try,omitempty"`
}

// GoldenSummary is what the Temporal UI calls a golden run.
func GoldenSummary(a shivx.GoldenAction, t shivx.GoldenTarget) string {
	return map[shivx.GoldenAction]string{
		shivx.GoldenBackup: "Golden backup of ", shivx.GoldenVerify: "Verification of the goldens of ",
		shivx.GoldenRestore: "Golden restore of ", shivx.GoldenSnapshot: "Safe snapshot of ",
	}[a] + t.String()
}

// GoldenDetails says in the Temporal UI what a golden run is.
func GoldenDetails(a shivx.GoldenAction) string {
	return map[shivx.GoldenAction]string{
		shivx.GoldenBackup: "Stores the set's files and databases as they are, and removes what its retention does not ask for.",
		shivx.GoldenVerify: "Reads what is stored and compares every byte with what was signed. Tells people of damage.",
		shivx.GoldenRestore: "Verifies a golden, asks for approval, builds the files beside those in use, stops the services, swaps, " +
			"starts them and runs their checks. Whatever fails after the stop puts the old state back. Answer with the update `approve`.",
		shivx.GoldenSnapshot: "Keeps the state of a set so that it can be rolled back to, or rolls back to such a state.",
	}[a] + " Stop it with the signal `abort`. Query: `progress`."
}

// GoldenRunbook is the value of the search attribute ShivxRunbook of a golden run.
func GoldenRunbook(a shivx.GoldenAction) string {
	return map[shivx.GoldenAction]string{
		shivx.GoldenBackup: shivx.RunbookGoldenBackup, shivx.GoldenVerify: shivx.RunbookGoldenVerify,
		shivx.GoldenRestore: shivx.RunbookGoldenRestore, shivx.GoldenSnapshot: shivx.RunbookSafeSnapshot,
	}[a]
}
