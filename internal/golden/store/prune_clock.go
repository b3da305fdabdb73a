package store

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shivx/shivx"
)

const (
	// clockSlack is how far hosts may differ.
	clockSlack = time.Hour
	// clockGap is the least time without any golden that is suspicious, unless it was always so.
	clockGap = 30 * 24 * time.Hour
	// clockRest is how long goldens must have been made behind a gap to show that time does go on.
	clockRest = 7 * 24 * time.Hour
)

// ErrClock says that the clock cannot be right, or may not be.
var ErrClock = errors.New("the clock is suspicious")

// checkClock compares the clock with the times of the goldens, newest first. A clock that was set
// forward would end the protection of goldens before its time, and one that was set back would order
// them wrongly.
func checkClock(now time.Time, created []time.Time) error {
	if len(created) == 0 {
		return nil
	}
	hint := "check this host's clock with timedatectl; when it is right, run: shivx golden prune --clock-is-right"
	if newest := created[0]; newest.Sub(now) > clockSlack {
		return shivx.Hint(fmt.Errorf("%w: it says %s, and the newest golden is of %s", ErrClock, instant(now), instant(newest)), hint)
	}
	gaps := make([]time.Duration, 0, len(created))
	later := now
	for _, t := range created {
		gaps = append(gaps, later.Sub(t))
		later = t
	}
	usual := time.Duration(0)
	if older := slices.Clone(gaps[1:]); len(older) > 0 {
		slices.Sort(older)
		usual = older[len(older)/2]
	}
	later = now
	for i, gap := range gaps {
		if now.Sub(later) > clockRest {
			break
		}
		if gap > max(clockGap, 10*usual) {
			return shivx.Hint(fmt.Errorf("%w: it says %s, and there is no golden between %s and %s: was it set forward?",
				ErrClock, instant(now), instant(created[i]), instant(later)), hint)
		}
		later = created[i]
	}
	return nil
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }
