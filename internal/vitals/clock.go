package vitals

import (
	"fmt"
	"time"
)

const (
	// jumpTolerance is how far wall and monotonic time may part between two samples.
	jumpTolerance = 2 * time.Second
	// jumpNotice is how long a jump is told.
	jumpNotice = 10 * time.Minute
	// maxJumps bounds the notices of a clock that jumps all the time: the newest are told.
	maxJumps = 3
)

// clockWatch finds jumps of the wall clock by comparing it with the monotonic one.
type clockWatch struct {
	have  bool
	wall  time.Time
	mono  time.Duration
	jumps []jump
}

type jump struct {
	at   time.Duration
	text string
}

// look compares the clocks and returns the notices that are due.
func (w *clockWatch) look(wall time.Time, mono time.Duration) []string {
	wall = wall.Round(0) // without its monotonic part, which Sub would prefer
	if w.have {
		if by := wall.Sub(w.wall) - (mono - w.mono); by.Abs() > jumpTolerance {
			w.jumps = append(w.jumps, jump{mono, jumpText(by, wall)})
		}
	}
	w.have, w.wall, w.mono = true, wall, mono
	for len(w.jumps) > maxJumps || len(w.jumps) > 0 && mono-w.jumps[0].at >= jumpNotice {
		w.jumps = w.jumps[1:]
	}
	var notices []string
	for _, j := range w.jumps {
		notices = append(notices, j.text)
	}
	return notices
}

func jumpText(by time.Duration, to time.Time) string {
	direction := "forward"
	if by < 0 {
		direction = "back"
	}
	return fmt.Sprintf("the clock jumped %s by %s to %s", direction, by.Abs().Round(100*time.Millisecond), to.UTC().Format(time.RFC3339))
}
