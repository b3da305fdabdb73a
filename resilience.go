package shivx

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Level says how much of a host's work is done. A host never halts, it degrades.
type Level string

// The degradation levels, best first.
const (
	// LevelNormal: everything is on.
	LevelNormal Level = "NORMAL"
	// Level1: what is not critical is off, such as analytics and background tasks.
	Level1 Level = "LEVEL_1"
	// Level2: advanced features are off as well, such as AI inference and web search.
	Level2 Level = "LEVEL_2"
	// Level3: minimal; uploads and integrations are off as well.
	Level3 Level = "LEVEL_3"
	// LevelEmergency: the core only; writes to memory are off as well.
	LevelEmergency Level = "EMERGENCY"
)

// Levels returns the levels, best first.
func Levels() []Level { return []Level{LevelNormal, Level1, Level2, Level3, LevelEmergency} }

// Rank counts from 0 for NORMAL to 4 for EMERGENCY; -1 for no level at all.
func (l Level) Rank() int { return slices.Index(Levels(), l) }

// WorseThan says whether less is done at l than at other.
func (l Level) WorseThan(other Level) bool { return l.Rank() > other.Rank() }

// Floor is the lowest score of the level: NORMAL 80, LEVEL_1 65, LEVEL_2 50, LEVEL_3 30, EMERGENCY 0.
func (l Level) Floor() float64 {
	switch l {
	case LevelNormal:
		return 80
	case Level1:
		return 65
	case Level2:
		return 50
	case Level3:
		return 30
	case LevelEmergency:
	}
	return 0
}

// LevelOf returns the level of a score, 0–100.
func LevelOf(score float64) Level {
	for _, l := range Levels() {
		if score >= l.Floor() {
			return l
		}
	}
	return LevelEmergency
}

// ParseLevel reads a level, in any case and with "-" for "_".
func ParseLevel(s string) (Level, error) {
	l := Level(strings.ReplaceAll(strings.ToUpper(s), "-", "_"))
	if l.Rank() < 0 {
		return "", Hint(fmt.Errorf("%q is no degradation level", s), "write one of NORMAL, LEVEL_1, LEVEL_2, LEVEL_3, EMERGENCY")
	}
	return l, nil
}

// Override holds a host at a level, whatever its score, until its end.
type Override struct {
	Level Level `json:"level"`
	// By and Why say who asked for it and for what.
	By    string    `json:"by"`
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
	// Until is its end; an override always has one.
	Until time.Time `json:"until"`
}

// MaxOverride is the longest time an override may hold.
const MaxOverride = 7 * 24 * time.Hour

// OverrideRequest asks to hold a host at a level, or to end that.
type OverrideRequest struct {
	Level Level `json:"level,omitempty"`
	// For is how long it holds, at most MaxOverride.
	For Duration `json:"for,omitempty"`
	By  string   `json:"by"`
	Why string   `json:"why,omitempty"`
	// End ends the override in force; Level and For are empty then.
	End bool `json:"end,omitempty"`
	// NotAfter is when whoever asks has stopped waiting: a request that was held up until then is
	// not taken on any more. Zero: whenever.
	NotAfter time.Time `json:"not_after,omitzero"`
}

// InTime refuses a request that nobody waits for any more.
func (r OverrideRequest) InTime(now time.Time) error {
	if r.NotAfter.IsZero() || !now.After(r.NotAfter) {
		return nil
	}
	return Hint(fmt.Errorf("the request was held up for so long that nobody waits for it any more"),
		"ask again; if this comes at once, compare the clocks")
}

// Check says what is wrong with the request.
func (r OverrideRequest) Check() error {
	switch {
	case strings.TrimSpace(r.By) == "":
		return Hint(fmt.Errorf("an override needs to say who asks for it"), `set "by" to your name`)
	case r.End && (r.Level != "" || r.For != 0):
		return Hint(fmt.Errorf("the end of an override takes no level and no time"), `send "end" alone, or a level with a time`)
	case r.End:
		return nil
	case r.Level.Rank() < 0:
		return Hint(fmt.Errorf("%q is no degradation level", r.Level), "write one of NORMAL, LEVEL_1, LEVEL_2, LEVEL_3, EMERGENCY")
	case strings.TrimSpace(r.Why) == "":
		return Hint(fmt.Errorf("an override needs a reason"), `set "why" to one line`)
	case r.For <= 0 || r.For.Std() > MaxOverride:
		return Hint(fmt.Errorf("an override must end, and within %s", MaxOverride), `set "for" to a time such as "30m"`)
	}
	return nil
}

// Cause says why a host's level, or its override, changed.
type Cause string

// The causes of a LevelChange.
const (
	// CauseScore: the score crossed a threshold.
	CauseScore Cause = "score"
	// CauseOverride: an operator asked for it.
	CauseOverride Cause = "override"
	// CauseOverrideEnd: an override ended, by itself or by an operator.
	CauseOverrideEnd Cause = "override_end"
)

// LevelChange is one change of a host's level or of its override. It is the details of the
// records degradation, recovery and override, and the argument of SignalHealth.
type LevelChange struct {
	Host string `json:"host"`
	// Ledger names the ledger that numbers the changes: the beginning of its genesis key.
	Ledger string `json:"ledger"`
	// Number counts the changes in that ledger from 1, without a gap.
	Number uint64 `json:"number"`
	// From and To are equal when only the override changed.
	From  Level `json:"from"`
	To    Level `json:"to"`
	Cause Cause `json:"cause"`
	// Reason is one line for people.
	Reason string `json:"reason"`
	// Score and Confidence (0–1) at that time; Score is nil when nothing was measured yet.
	Score      *float64 `json:"score,omitempty"`
	Confidence float64  `json:"confidence"`
	// Override is what is in force after the change; nil: none.
	Override *Override `json:"override,omitempty"`
	At       time.Time `json:"at"`
}

// ResilienceRecord is one line of the resilience audit.
type ResilienceRecord struct {
	EventID   string    `json:"event_id"`
	Timestamp time.Time `json:"timestamp"`
	// EventType is health_check, restart, degradation, recovery, override, shed, unshed, module_registered or module_removed.
	EventType string `json:"event_type"`
	// Module is the component the event is about, or "host".
	Module   string   `json:"module"`
	Details  any      `json:"details"`
	Severity Severity `json:"severity"`
}

// The event types of a ResilienceRecord; degradation and recovery are changes of the level.
const (
	EventHealthCheck      = "health_check"
	EventRestart          = "restart"
	EventDegradation      = "degradation"
	EventOverride         = "override"
	EventShed             = "shed"
	EventUnshed           = "unshed"
	EventModuleRegistered = "module_registered"
	EventModuleRemoved    = "module_removed"
)

// ModuleHost is the module of events about the whole host.
const ModuleHost = "host"

// HookState says how far a load-shedding hook is.
type HookState struct {
	Name  string `json:"name"`
	Level Level  `json:"level"`
	// On is true while the load is shed.
	On bool `json:"on"`
	// Error is why the hook could not be switched as it should be; "" when it is.
	Error   string    `json:"error,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Summary string    `json:"summary,omitempty"`
}

// Feature is one feature of an application and the level from which on it is off.
type Feature struct {
	Name string `json:"name"`
	// OffAt is the best level at which it is off; "" when it never is.
	OffAt   Level `json:"off_at,omitempty"`
	Enabled bool  `json:"enabled"`
	// Reason says in one line why it is off, or that it is on.
	Reason string `json:"reason"`
}
