package abuse

import (
	"slices"
	"time"
)

const (
	// maxActions is how often a budget is enforced within an hour, bombs aside. What comes back as often
	// is not ended by force: something starts it again. A bomb may not wait, whatever was done before,
	// or a few harmless ones would buy the next its way; further ones are told of more and more rarely.
	maxActions = 6
	// maxTellings is how many sources of a budget are told of one by one within an hour.
	maxTellings = 20
	// shortestQuiet and longestQuiet bound the pause before the same is told again; it doubles.
	shortestQuiet = time.Minute
	longestQuiet  = time.Hour
	// firstRetry is the pause after enforcing has failed for the first time; it doubles too.
	firstRetry = 5 * time.Second
	// longestRetry keeps those pauses short enough for a bomb.
	longestRetry = time.Minute
)

// restraint keeps the watch from acting and talking without end. Its times are those of the readings.
type restraint struct {
	acted, told map[string][]time.Time // by budget
	// bombs are the actions against bombs, which acted does not count.
	bombs map[string][]time.Time // by budget
	quiet map[string]*quiet      // by budget and source
}

// quiet is a time in which something is not told again.
type quiet struct {
	until time.Time
	pause time.Duration
	// times it was told, and times it was not since.
	times, withheld int
}

func newRestraint() *restraint {
	return &restraint{acted: map[string][]time.Time{}, told: map[string][]time.Time{}, bombs: map[string][]time.Time{}, quiet: map[string]*quiet{}}
}

// mayAct says whether the budget may be enforced once more.
func (r *restraint) mayAct(budget string, now time.Time) bool {
	r.acted[budget] = within(r.acted[budget], now)
	return len(r.acted[budget]) < maxActions
}

// act counts an action and returns how many of its kind, against bombs or not, there were within the hour.
func (r *restraint) act(budget string, bomb bool, now time.Time) int {
	counts := r.acted
	if bomb {
		counts = r.bombs
	}
	counts[budget] = append(within(counts[budget], now), now)
	return len(counts[budget])
}

// actions is how many there were within the hour, of both kinds.
func (r *restraint) actions(budget string, now time.Time) int {
	return len(within(r.acted[budget], now)) + len(within(r.bombs[budget], now))
}

// within returns the times of the last hour.
func within(times []time.Time, now time.Time) []time.Time {
	recent := slices.IndexFunc(times, func(t time.Time) bool { return now.Sub(t) < time.Hour })
	if recent < 0 {
		return nil
	}
	return times[recent:]
}

// tell says whether a finding that nothing is done about is told now, and which time it is: quiet
// follows, longer each time, and ends when the source has been within its budget for an hour. Many
// sources of one budget are told of as one.
func (r *restraint) tell(budget, source string, now time.Time) (nth, withheld int, ok bool) {
	r.forget(now)
	r.told[budget] = within(r.told[budget], now)
	if r.quiet[budget+" "+source] == nil && len(r.told[budget]) >= maxTellings {
		source = ""
	}
	q := r.quiet[budget+" "+source]
	if q == nil {
		q = &quiet{pause: shortestQuiet / 2}
		r.quiet[budget+" "+source] = q
	}
	if now.Before(q.until) {
		q.withheld++
		return q.times, q.withheld, false
	}
	q.times++
	q.pause = min(2*q.pause, longestQuiet)
	q.until = now.Add(q.pause)
	withheld, q.withheld = q.withheld, 0
	r.told[budget] = append(r.told[budget], now)
	return q.times, withheld, true
}

// forget drops what has been quiet for an hour by itself.
func (r *restraint) forget(now time.Time) {
	for key, q := range r.quiet {
		if now.Sub(q.until) >= longestQuiet {
			delete(r.quiet, key)
		}
	}
}

// fail notes that enforcing has failed; it is tried again after a pause that doubles.
func (r *restraint) fail(budget, source string, now time.Time) {
	key := "failed " + budget + " " + source
	q := r.quiet[key]
	if q == nil {
		q = &quiet{pause: firstRetry / 2}
		r.quiet[key] = q
	}
	q.pause = min(2*q.pause, longestRetry)
	q.until = now.Add(q.pause)
}

// resting says whether it is too soon to try again.
func (r *restraint) resting(budget, source string, now time.Time) bool {
	q := r.quiet["failed "+budget+" "+source]
	return q != nil && now.Before(q.until)
}

// clear forgets a source.
func (r *restraint) clear(budget, source string) {
	delete(r.quiet, budget+" "+source)
	delete(r.quiet, "failed "+budget+" "+source)
}
