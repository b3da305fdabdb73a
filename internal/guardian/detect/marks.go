package detect

import "time"

// metric is one figure with thresholds.
type metric uint8

const (
	rateMetric    metric = iota // requests in a minute
	burstMetric                 // failures within failure_window
	slowMetric                  // failures within slow_window
	sprayMetric                 // accounts that failed within slow_window
	scanMetric                  // score of a scanner
	networkMetric               // failing sources of a network
	metrics
)

// limit is from where on a figure is recorded and from where on it isolates. A threshold that was
// passed is passed again only after the figure has fallen below half of it, or after a time: so a
// critical one whose decision came too late to act on comes again, and a warning does not fill the
// audit.
type limit struct {
	warning, critical   int // no warning: 0
	window              time.Duration
	again, warningAgain time.Duration
}

// warned and serious are the levels of a mark.
const (
	warned  = 1
	serious = 2
)

// passes says which threshold a figure has passed by an event, 0 for none, and marks it.
func (d *Detector) passes(e *entry, at int64, m metric, before, after int) int {
	l := &d.limits[m]
	level, since := 0, int64(0)
	if e.marks != 0 {
		level, since = d.mark(e, m, at)
		fallen := level
		if fallen == serious && (2*before < l.critical || over(at, since, l.again)) {
			fallen = warned
		}
		if fallen == warned && (2*before < l.warning || l.warning == 0 || over(at, since, l.warningAgain)) {
			fallen = 0
		}
		if fallen != level {
			level = fallen
			d.setMark(e, m, level, since)
		}
	}
	reached := 0
	switch {
	case after >= l.critical:
		reached = serious
	case l.warning > 0 && after >= l.warning:
		reached = warned
	}
	if reached <= level {
		return 0
	}
	d.setMark(e, m, reached, micros(at))
	return reached
}

// over says whether a time has passed; it has when clocks were set back by as much.
func over(at, since int64, wait time.Duration) bool {
	gone := time.Duration(micros(at)-since) * time.Microsecond
	return gone >= wait || gone <= -wait
}

// mark returns the level at which a figure was last, and since when, in microseconds.
func (d *Detector) mark(e *entry, m metric, at int64) (level int, since int64) {
	w := d.blocks.at(e.marks).words[2*m:][:2]
	return int(w[1] & 0xffff), fullTime(uint64(w[0])|uint64(w[1]>>16)<<32, micros(at))
}

func (d *Detector) setMark(e *entry, m metric, level int, since int64) {
	if e.marks == 0 {
		if e.marks = d.take(); e.marks == 0 {
			return // better told twice than not at all
		}
	}
	w := d.blocks.at(e.marks).words[2*m:][:2]
	w[0], w[1] = uint32(since), uint32(uint64(since)>>32)<<16|uint32(level)
}
