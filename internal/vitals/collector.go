package vitals

import (
	"fmt"
	"math"
	"strconv"
)

const (
	firstSample = "first sample: a rate needs two readings"

	// rounding is how many percent more than all of something are put down to counters that are
	// not read at the same instant.
	rounding = 1
	// burst is the same for the CPU of a container, whose group may use up to twice its quota in
	// one period (cpu.max.burst).
	burst = 100
)

// collector gathers readings and figures and keeps impossible ones out.
type collector struct {
	readings []Reading
	figures  []Figure
}

// missing adds a reading without a value.
func (c *collector) missing(r Resource, subject, reason string) {
	c.readings = append(c.readings, Reading{Resource: r, Subject: subject, Missing: reason})
}

// add adds a reading if its percentage is possible, and says whether it is. Up to tolerance
// above 100 it is taken for 100; load alone has no upper end.
func (c *collector) add(r Reading, tolerance float64) bool {
	switch p := r.Percent; {
	case math.IsNaN(p) || math.IsInf(p, 0):
		r.Missing = "not a number"
	case p < 0:
		r.Missing = fmt.Sprintf("%s %% is less than nothing", short(p))
	case r.Resource != Load && p > 100+tolerance:
		r.Missing = fmt.Sprintf("%s %% is more than there is", short(p))
	case r.Resource != Load && p > 100:
		r.Percent = 100
	}
	if r.Missing != "" {
		r.Percent, r.Detail = 0, ""
	}
	c.readings = append(c.readings, r)
	return r.Missing == ""
}

// percent of the reading added last.
func (c *collector) percent() float64 { return c.readings[len(c.readings)-1].Percent }

// figure adds a value without a label.
func (c *collector) figure(name string, v float64) { c.labelled(name, "", "", v) }

// labelled adds a value; one that is no number is no value.
func (c *collector) labelled(name, label, subject string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return
	}
	c.figures = append(c.figures, Figure{Name: name, Label: label, Subject: subject, Value: v})
}

// short writes a number for people.
func short(v float64) string {
	if math.Abs(v) >= 1e6 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// ofBytes writes "7.2 of 8.0 GiB", both in the unit of the second.
func ofBytes(used, total float64) string {
	unit, name := unitOf(total)
	return short(used/unit) + " of " + short(total/unit) + " " + name
}

// bytesText writes "8.0 GiB".
func bytesText(n float64) string {
	unit, name := unitOf(n)
	return short(n/unit) + " " + name
}

func unitOf(n float64) (unit float64, name string) {
	unit, name = 1.0, "bytes"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if n < unit*1024 {
			break
		}
		unit, name = unit*1024, next
	}
	return unit, name
}

// ofCount writes "681 of 2466170".
func ofCount(used, total float64) string {
	return strconv.FormatFloat(used, 'f', 0, 64) + " of " + strconv.FormatFloat(total, 'f', 0, 64)
}
