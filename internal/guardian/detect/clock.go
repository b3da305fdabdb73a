package detect

import (
	"time"

	"github.com/shivx/shivx/internal/guardian/logs"
)

// Time is that of the events. Each source has a clock of its own, its newest event: logs that are read
// side by side are never quite in step, and a source must not be judged by the clock of another.
//
// Events up to a minute behind the source's clock are counted where they belong. Those further behind
// are counted for failures, whose times are kept, and not for the rate; after sixteen of them in a row
// the clock is taken to have been wrong, as after one event with a time in the future, and is set back.
// An event ahead of the clock moves it: that is what the first event after a quiet night looks like.
// So a wrong time costs one source its rate and score for sixteen events, and no other source anything.

// lateMany is how many events in a row must be far behind a clock to set it back.
const lateMany = 16

// timeOf returns when an event was: without a time of its own, when the one before it was.
func (d *Detector) timeOf(e *logs.Event) int64 {
	if e.At > 0 {
		d.seen = e.At
	}
	return d.seen
}

// pass moves the clock of an entry to an event, and returns how far behind the clock the event is.
func (d *Detector) pass(e *entry, at int64) time.Duration {
	if at >= e.last {
		from := e.last
		e.last, e.streak = at, 0
		if at == from {
			return 0
		}
		d.passSeconds(e, second(from), second(at))
		d.decay(e, from, at)
		return 0
	}
	late := time.Duration(e.last - at)
	if late < minute {
		e.streak = 0
		return late
	}
	if e.streak++; e.streak < lateMany {
		return late
	}
	d.dropRequests(e)
	e.last, e.streak = at, 0
	return 0
}

// streamClock is about when the stream of events is, for what may be evicted. It follows events within
// an hour at once, and those further away when sixteen in a row are.
type streamClock struct {
	now int64
	far uint8
}

const clockLeap = int64(time.Hour)

func (c *streamClock) pass(at int64) {
	if ahead := at - c.now; c.now != 0 && (ahead > clockLeap || ahead < -clockLeap) {
		if c.far++; c.far < lateMany {
			return
		}
		c.now = at
	}
	c.now, c.far = max(c.now, at), 0
}
