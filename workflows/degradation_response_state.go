package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// How hooks in error are tried again: the first pause, and how many times in a row they may fail
// before people are told.
const (
	retryFirst      = 10 * time.Second
	triesBeforeTold = 5
)

// askAgain is the longest pause before hooks in error are tried again, and before a host that does
// not answer is asked again.
const askAgain = 5 * time.Minute

// The agent ends the activities itself a little earlier.
const (
	applyTimeout    = 10 * time.Minute
	overrideTimeout = 20 * time.Second
)

// overtakeAfter is how long a change of the level waits for an answer about an older one. The host
// finishes the hook that it is switching, and then does what is newest.
const overtakeAfter = 10 * time.Second

// overridePatience is how long a person waits for the agent of a host to take an override.
const overridePatience = 20 * time.Second

// How much is kept: changes, numbers that are missing, ledgers that came before, and times that the
// audit went back.
const (
	changesKept = 100
	spansKept   = 20
	ledgersKept = 5
	rewindsKept = 5
)

// DegradationState is what a DegradationResponse knows; it is the answer to the query "status".
type DegradationState struct {
	Host string `json:"host"`
	// Level is the one after the last change told by the host; "" before the first.
	Level shivx.Level `json:"level,omitempty"`
	// Since is when the host came to it.
	Since time.Time `json:"since,omitzero"`
	// Override in force after the last change.
	Override *shivx.Override `json:"override,omitempty"`
	// Ledger numbers the changes; Number is that of the last one.
	Ledger string `json:"ledger,omitempty"`
	Number uint64 `json:"number"`
	// FormerLedgers lists ledgers that numbered the changes before, oldest first.
	FormerLedgers []FormerLedger `json:"former_ledgers,omitempty"`
	// Rewinds says when the host's audit went back, as after an old copy was put back; oldest first.
	Rewinds []Rewind `json:"rewinds,omitempty"`
	// MissingNumbers lists changes of the ledger, after the first that was told, that were never told.
	// The host tells them in order, so that its position in the ledger must have been lost.
	MissingNumbers []Span `json:"missing_numbers,omitempty"`
	// Changes are the latest ones, oldest first.
	Changes []shivx.LevelChange `json:"changes,omitempty"`
	// Applied is the change for which the host was asked last, AppliedAt when it answered. The rest
	// down to Hooks is its answer; the level in force may be newer than Level.
	Applied        uint64      `json:"applied"`
	AppliedAt      time.Time   `json:"applied_at,omitzero"`
	InForce        shivx.Level `json:"in_force,omitempty"`
	InForceNumber  uint64      `json:"in_force_number,omitempty"`
	AutomaticLevel shivx.Level `json:"automatic_level,omitempty"`
	// Score, 0–100, with its Confidence, 0–1; nil before the first sample.
	Score       *float64          `json:"score,omitempty"`
	Confidence  float64           `json:"confidence,omitempty"`
	FeaturesOff []string          `json:"features_off,omitempty"`
	Hooks       []shivx.HookState `json:"hooks,omitempty"`
	// Unapplied is true while the host is to be asked again, at ApplyAt; zero: at once.
	Unapplied bool      `json:"unapplied,omitempty"`
	ApplyAt   time.Time `json:"apply_at,omitzero"`
	// Failures counts answers in a row with hooks in error, LastError says which and why.
	Failures  int    `json:"failures,omitempty"`
	LastError string `json:"last_error,omitempty"`
	// AwaySince is set while the host does not answer.
	AwaySince time.Time `json:"host_away_since,omitzero"`
	// ToldHooks names the hooks in error that people know of.
	ToldHooks []string `json:"told_hooks,omitempty"`
	Messages
	// Emergency is the key of the message of the emergency that holds; "" when none does.
	Emergency string `json:"emergency,omitempty"`
}

// Span is a range of numbers of changes, both ends included.
type Span struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// FormerLedger is a ledger that the host has replaced.
type FormerLedger struct {
	Ledger string `json:"ledger"`
	// Number is that of its last change.
	Number uint64 `json:"number"`
	// Until is when the first change of the next ledger came.
	Until time.Time `json:"until"`
}

// Rewind is one time that the host's audit went back.
type Rewind struct {
	// Ledger and From are the last change before.
	Ledger string `json:"ledger"`
	From   uint64 `json:"from"`
	// ToLedger and To are the last change of the copy that was put back.
	ToLedger string `json:"to_ledger"`
	To       uint64 `json:"to"`
	// At is when the first change came that showed it.
	At time.Time `json:"at"`
}

// degradation is the running DegradationResponse.
type degradation struct {
	DegradationState
	news   int // grows with everything that the main loop must look at
	mutex  workflow.Mutex
	signal signalReader
	teller
}

// HostAway says whether the host did not answer when it was asked last.
func (s DegradationState) HostAway() bool { return !s.AwaySince.IsZero() }

// LevelNow is the level that the host is known to be at; "" when none is known yet.
func (s DegradationState) LevelNow() shivx.Level {
	if s.Level == "" || s.InForce != "" && s.InForceNumber > s.Number {
		return s.InForce
	}
	return s.Level
}

// answered keeps what the host said of itself.
func (s *DegradationState) answered(a activities.AppliedLevel, now time.Time) {
	s.AppliedAt, s.InForce, s.InForceNumber, s.AutomaticLevel = now, a.Level, a.Number, a.Automatic
	s.Score, s.Confidence, s.FeaturesOff, s.Hooks = a.Score, a.Confidence, a.FeaturesOff, a.Hooks
}

// latest drops the oldest so that n are left.
func latest[T any](list []T, n int) []T {
	if more := len(list) - n; more > 0 {
		return slices.Delete(list, 0, more)
	}
	return list
}
