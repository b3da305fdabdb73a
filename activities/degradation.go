package activities

import "github.com/shivx/shivx"

// The activities of the runbook DegradationResponse. Both run on the queue of the host they touch.
var (
	// ApplyLevel makes sure that the host's load-shedding hooks are what its level asks for.
	ApplyLevel = Activity[ApplyLevelInput, AppliedLevel]{"ApplyLevel"}
	// SetOverride holds the host at a level until an end, or ends that, and returns the change that
	// the host recorded.
	SetOverride = Activity[SetOverrideInput, shivx.LevelChange]{"SetOverride"}
)

// Error types by which a host says why it did not do what it was asked for.
const (
	// ErrHooksFailed: the hooks could not be looked after at all.
	ErrHooksFailed = "HooksFailed"
	// ErrNoOverride: there is no override to end.
	ErrNoOverride = "NoOverride"
	// ErrOverrideFailed: the host could not do it.
	ErrOverrideFailed = "OverrideFailed"
	// ErrOverrideUnknown: whether the host did it is not known.
	ErrOverrideUnknown = "OverrideUnknown"
	// ErrHostAway: no agent of the host took the work in time.
	ErrHostAway = "HostAway"
)

// ApplyLevelInput says for which change the host is asked. The host applies the level it has by
// then, which may be newer.
type ApplyLevelInput struct {
	Host   string      `json:"host"`
	Number uint64      `json:"number,omitempty"`
	Level  shivx.Level `json:"level,omitempty"`
}

// AppliedLevel is what is in force on the host.
type AppliedLevel struct {
	Level shivx.Level `json:"level"`
	// Automatic is the level by score alone.
	Automatic shivx.Level `json:"automatic_level"`
	// Number is that of the last change on the host.
	Number uint64 `json:"number"`
	// Score, 0–100, is nil before the first sample.
	Score      *float64 `json:"score,omitempty"`
	Confidence float64  `json:"confidence"`
	// FeaturesOff names the features that are off.
	FeaturesOff []string `json:"features_off,omitempty"`
	// Hooks with what is wrong with each.
	Hooks []shivx.HookState `json:"hooks,omitempty"`
}

// SetOverrideInput asks a host for an override.
type SetOverrideInput struct {
	Host string `json:"host"`
	// Key is the same for every repetition of this request.
	Key     string                `json:"key"`
	Request shivx.OverrideRequest `json:"request"`
}
