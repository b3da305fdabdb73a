package forecasting

import (
	"fmt"
	"math"
	"time"
)

// spikeDays is how many days are seen before the first forecast: one to learn from, one to see how far it is off.
const spikeDays = 2

// Spike forecasts whether a load, such as that of the CPU, reaches its capacity, by what it does at this time of the day on
// other days: a seasonal template (template.go) and the distribution and the autocorrelation of what the
// series differs from it (residuals.go). When the capacity is first reached is the first passage of that
// process over the way from the template up to the capacity (spike_passage.go).
//
// Times are in UTC, days are weekdays or weekends. A Spike takes less than 4 KiB and is not safe for use by several
// goroutines.
type Spike struct {
	capacity float64
	horizon  int32
	grid     grid

	seen      int64 // steps with a measurement that are over
	last      float64
	template  template
	residuals residuals
	alert     bool
}

// spikeAlert: the best F1 on the train parts of metrics of hosts lies at 16 and 22 %; see docs/FORECAST.md.
var spikeAlert = thresholds{open: 0.2, close: 0.15}

// NewSpike returns a forecaster that has seen nothing.
func NewSpike(o Options) (*Spike, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	step := int64(o.step())
	return &Spike{capacity: o.Capacity, horizon: int32(o.steps()), grid: grid{step: step},
		template: template{step: step}, residuals: newResiduals()}, nil
}

// Update takes a measurement. Measurements come in the order of their times: one that is older than the open step
// changes nothing, and neither does one that is no number. Gaps are not filled. A clock that goes back by more than 48
// steps is followed. After a jump of four weeks, either way, what was learnt of the days counts as one of them.
func (s *Spike) Update(at time.Time, v float64) {
	before := s.grid.index
	what, gap := s.grid.look(at, v)
	switch what {
	case newLife:
		if s.grid.begun {
			s.close()
			s.rebase(floorDiv(at.UnixNano(), s.grid.step) - before)
		}
		s.grid.put(at, v)
	case nextStep:
		s.close()
		if gap > 1 {
			s.residuals.skip(gap - 1)
		}
		s.grid.put(at, v)
	case sameStep:
		s.grid.add(v)
	case ignored:
	}
}

// rebase takes a jump of the time, by so many steps.
func (s *Spike) rebase(steps int64) {
	const long = 28 * 24 * time.Hour
	s.residuals.skip(slowSteps)
	if steps < -int64(long)/s.grid.step || steps > int64(long)/s.grid.step {
		s.template.age()
	}
}

// close takes the open step, which is over.
func (s *Spike) close() {
	s.last = s.grid.mean()
	mean, spread, known := s.template.expect(s.grid.index)
	if known && s.seen >= s.day() {
		unit := s.floor(mean, spread)
		s.residuals.take((s.last-mean)/unit, (s.capacity-mean)/unit)
	}
	s.template.take(s.grid.index, s.last, mean, spread, known)
	s.seen++
}

// day is how many steps a day has.
func (s *Spike) day() int64 { return max(1, int64(24*time.Hour)/s.grid.step) }

// floor returns a spread that is never nothing: a thousandth of the way to the capacity.
func (s *Spike) floor(mean, spread float64) float64 {
	return math.Max(spread, math.Max(1e-3*math.Abs(s.capacity-mean), 1e-9*math.Max(math.Abs(s.capacity), 1e-20)))
}

// Expected returns what the template expects at a time, and the bounds between which a value then is with a
// probability of 80 %; ok is false while it does not know.
func (s *Spike) Expected(at time.Time) (mean, low, high float64, ok bool) {
	if s.seen < s.day() {
		return 0, 0, 0, false
	}
	mean, spread, ok := s.template.expect(floorDiv(at.UnixNano(), s.grid.step))
	if !ok {
		return 0, 0, 0, false
	}
	spread = s.floor(mean, spread)
	return mean, mean + spread*math.Min(0, s.residuals.quantile(0.1)), mean + spread*math.Max(0, s.residuals.quantile(0.9)), true
}

// Quietest returns when the window of that length begins, between two times, over which the template expects the
// least; the first of those that are alike. It begins at from or where a slot of the template does (ten minutes, or a step).
// It says no when the template does not know, or no window lies between the times. More than a week after from is not
// looked at, for weeks are alike.
func (s *Spike) Quietest(from, to time.Time, window time.Duration) (time.Time, bool) {
	const week = 7 * 24 * time.Hour
	if s.seen < s.day() || window <= 0 || window > week {
		return time.Time{}, false
	}
	if to.Sub(from) > week+window {
		to = from.Add(week + window)
	}
	width := time.Duration(s.template.width())
	var best time.Time
	least, found := math.Inf(1), false
	for begin := from; !begin.Add(window).After(to); begin = begin.Truncate(width).Add(width) {
		if sum, ok := s.load(begin, window, width); ok && (!found || sum < least-1e-9*math.Abs(least)) {
			best, least, found = begin, sum, true
		}
	}
	return best, found
}

// load returns the mean that the template expects over a window, looking once in each slot.
func (s *Spike) load(begin time.Time, window, width time.Duration) (float64, bool) {
	sum, n := 0.0, 0.0
	for at := time.Duration(0); at < window; at += width {
		mean, _, ok := s.template.expect(floorDiv(begin.Add(at).UnixNano(), s.grid.step))
		if !ok {
			return 0, false
		}
		sum, n = sum+mean, n+1
	}
	return sum / n, true
}

// Forecast answers from what was measured so far, the open step included. The Level is what was measured last. The times
// are zero when the capacity is reached with less than 20 % within the horizon, else the median and the bounds
// of the time for the case that it is. Alerts follow the forecasts that are asked for: ask once a step. Leak is always
// 0; the causes are CauseSeason and CauseExcess.
func (s *Spike) Forecast() Forecast {
	if !s.grid.begun {
		return s.forecast()
	}
	c := *s
	c.close()
	c.grid.index++
	f := c.forecast()
	s.alert = c.alert
	return f
}

func (s *Spike) forecast() Forecast {
	if need := spikeDays * s.day(); s.seen < need {
		return Forecast{Missing: fmt.Sprintf("%d of %d steps seen", s.seen, need), Needs: need - s.seen}
	}
	var p passageSteps
	if unknown, ok := s.ahead(&p); !ok {
		return Forecast{Missing: fmt.Sprintf("no day known at %s UTC", unknown.Format("15:04"))}
	}
	out := Forecast{Ready: true, Level: s.last}
	chain := s.chain()
	out.Probability = p.first(chain, s.residuals.now, s.residuals.doubt)
	if s.last >= s.capacity {
		out.Probability = 1
	}
	s.alert = spikeAlert.judge(s.alert, out.Probability)
	out.Alert = s.alert
	s.when(&p, &out)
	if out.Probability > 0.01 {
		out.Causes = s.causes(&p, chain, out.Probability)
	}
	return out
}
