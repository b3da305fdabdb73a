package detect

import (
	"time"

	"github.com/shivx/shivx/internal/guardian/logs"
)

// Time is that of the events. Each source has a clock of its own, its newest event: logs that are read
// side by side are never quite in step, and a source must not be judged by the clock of another.
//
// Events up to a minute behind the source's clock are counted where they belong. Those further behind
// are ordinary, too: many servers log a request when it has ended, with the time of its beginning. Up
// to an hour behind, requests are taken to be now, as that is when they were told, unless the whole
// stream is behind: that is a log that is read later than another, and what it tells of hours was no
// flood. Such ones, and those further behind, do not count for the rate. Failures always count at their
// own times. None of them moves the clock: a source must not get rid of its rate and score by requests
// that it holds open.
//
// A source's clock is set back only if it was wrong: after sixteen events in a row that are behind,
// while it is ahead of the stream's clock by more than a minute. An event ahead of the clock moves it:
// that is what the first event after a quiet night looks like. So a wrong time costs one source its
// rate and score for sixteen events, and no other source anything.

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
	e.streak = min(e.streak+1, lateMany)
	if e.streak < lateMany || time.Duration(e.last-d.clock.now) <= minute {
		return late
	}
	d.dropRequests(e)
	e.last, e.streak = at, 0
	return 0
}

// heldOpen says whether a request is too far behind a source's clock for its minute, and not too far to
// be one that has ended only now. More than sixteen in a row, of all sources, were not held open.
func (d *Detector) heldOpen(last, at int64) bool {
	return second(last)-second(at) >= seconds && last-at <= clockLeap &&
		d.clock.far >= -lateMany && time.Duration(last-d.clock.now) <= minute
}

// streamClock is about when the stream of events is. It follows events within an hour at once, those
// further ahead when sixteen in a row are, and goes back when 256 in a row are behind by more than a
// minute: logs whose clock was set, and not the slow requests of one source.
type streamClock struct {
	now int64
	far int16 // events in a row that do not fit: so many ahead, or minus so many behind
}

const (
	clockLeap = int64(time.Hour)
	behindAll = 256
)

func (c *streamClock) pass(at int64) {
	ahead := at - c.now
	switch {
	case c.now == 0, ahead <= clockLeap && ahead >= -int64(minute):
		c.now, c.far = max(c.now, at), 0
		return
	case ahead > 0:
		c.far = max(c.far, 0) + 1
	default:
		c.far = min(c.far, 0) - 1
	}
	if c.far >= lateMany || c.far <= -behindAll {
		c.now, c.far = at, 0
	}
}
