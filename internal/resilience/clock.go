package resilience

import "time"

// Clock is what a Core knows of time.
type Clock interface {
	// Now is the wall clock; it may jump.
	Now() time.Time
	// Elapsed is the time since some moment, on a clock that never jumps.
	Elapsed() time.Duration
	// After sends once d has passed.
	After(d time.Duration) <-chan time.Time
}

var _ Clock = systemClock{}

// systemClock is the machine's clock.
type systemClock struct{ started time.Time }

func (systemClock) Now() time.Time { return time.Now() }

func (s systemClock) Elapsed() time.Duration { return time.Since(s.started) }

func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
