package forecasting

import (
	"math"
	"time"
)

const (
	// counterSlack is by what part a counter may fall without having begun anew: those that are put together of
	// several parts, such as of threads that end, are read while these change.
	counterSlack = 0.01
	// counterNear is the least interval between two values, in usual intervals: differences of values read nearly at
	// the same time, divided by nearly nothing, say nothing.
	counterNear = 0.05
	// counterHabit is over how many intervals the usual one goes.
	counterHabit = 20
)

// Counter makes a rate of a value that only grows, such as bytes sent since the start. The zero value is ready
// for use. It is not safe for use by several goroutines.
//
// A counter that fell to less has begun anew from zero, so that it has grown by what it shows, as in Prometheus' rate()
// (https://prometheus.io/docs/prometheus/latest/querying/functions/#rate). One that wrapped around is taken for such
// a one: its rate comes out too low once.
type Counter struct {
	at    int64 // nanoseconds since 1970
	last  float64
	usual float64 // interval in seconds
	begun bool
}

// Rate takes the value v at a time and returns how much the counter grew per second since the value before. It says no,
// and the rate is 0, where that is not known: for the first value and the first after a gap of more than 48 usual
// intervals, after a clock that went back, for a repeated time and for what is no number.
func (c *Counter) Rate(at time.Time, v float64) (perSecond float64, ok bool) {
	if !(v >= 0 && v <= largest) { // NaN, too
		return 0, false
	}
	now := at.UnixNano()
	seconds := (float64(now) - float64(c.at)) / 1e9
	switch {
	case !c.begun, seconds < 0, c.usual > 0 && seconds > longGap*c.usual:
		*c = Counter{at: now, last: v, begun: true}
		return 0, false
	case seconds <= counterNear*c.usual:
		return 0, false
	case v < c.last && v >= c.last*(1-counterSlack):
		v = c.last
	}
	grown := v - c.last
	if grown < 0 {
		grown = v
	}
	if c.usual == 0 {
		c.usual = seconds
	}
	c.usual += (seconds - c.usual) / counterHabit
	c.at, c.last = now, v
	return math.Min(grown/seconds, largest), true
}
