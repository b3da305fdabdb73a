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

// overridePatience is how long a person waits for the agent of a host to take an override.
const overridePatience = 20 * time.Second

// How much is kept: changes, messages to people, numbers that are missing, and ledgers that came before.
const (
	changesKept = 100
	toldKept    = 20
	untoldKept  = 20
	spansKept   = 20
	ledgersKept = 5
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
	// MissingNumbers lists changes of the ledger that were never told. The host tells them in order,
	// so that its position in the ledger must have been lost.
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
	// Told is what people were told, the latest; Untold is what they are still to be told.
	Told   []Message `json:"told,omitempty"`
	Untold []Message `json:"untold,omitempty"`
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

// Message is something to tell people.
type Message struct {
	Key  string    `json:"key"`
	Text string    `json:"text"`
	Hint string    `json:"hint,omitempty"`
	At   time.Time `json:"at"`
}

// degradation is the running DegradationResponse.
type degradation struct {
	DegradationState
	news    int // grows with everything that the main loop must look at
	mutex   workflow.Mutex
	signal  signalReader
	telling string    // key of the message that people are being told just now
	tellAt  time.Time // when people who could not be reached are told again
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

// count says whether the change is new, and keeps the count of its ledger. late is true for a
// number that was missing: newer ones are known.
func (s *DegradationState) count(c shivx.LevelChange, now time.Time) (isNew, late bool) {
	if slices.ContainsFunc(s.FormerLedgers, func(f FormerLedger) bool { return f.Ledger == c.Ledger }) {
		return false, false
	}
	if c.Ledger != s.Ledger {
		if s.Ledger != "" {
			s.FormerLedgers = latest(append(s.FormerLedgers, FormerLedger{s.Ledger, s.Number, now}), ledgersKept)
		}
		s.Ledger, s.Number, s.MissingNumbers = c.Ledger, 0, nil
		s.InForce, s.InForceNumber = "", 0 // was numbered by the other ledger
	}
	if c.Number <= s.Number {
		return s.fill(c.Number), true
	}
	if c.Number > s.Number+1 {
		s.MissingNumbers = latest(append(s.MissingNumbers, Span{s.Number + 1, c.Number - 1}), spansKept)
	}
	s.Number = c.Number
	return true, false
}

// fill takes n out of the missing numbers and says whether it was among them.
func (s *DegradationState) fill(n uint64) bool {
	for i, m := range s.MissingNumbers {
		if n < m.From || n > m.To {
			continue
		}
		var rest []Span
		if m.From < n {
			rest = append(rest, Span{m.From, n - 1})
		}
		if n < m.To {
			rest = append(rest, Span{n + 1, m.To})
		}
		s.MissingNumbers = slices.Replace(s.MissingNumbers, i, i+1, rest...)
		return true
	}
	return false
}

// keep puts a change among the others, in the order of the ledger.
func (s *DegradationState) keep(c shivx.LevelChange) {
	at := len(s.Changes)
	for at > 0 && s.Changes[at-1].Ledger == c.Ledger && s.Changes[at-1].Number > c.Number {
		at--
	}
	s.Changes = latest(slices.Insert(s.Changes, at, c), changesKept)
}

// latest drops the oldest so that n are left.
func latest[T any](list []T, n int) []T {
	if more := len(list) - n; more > 0 {
		return slices.Delete(list, 0, more)
	}
	return list
}
