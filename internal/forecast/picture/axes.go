package picture

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
)

// clock labels a time axis, in seconds since 1970: the hour, and below it the day where that begins.
type clock struct {
	// most labels that have room.
	most int
}

var _ plot.Ticker = clock{}

var spans = []time.Duration{
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
	3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour,
}

// Ticks implements plot.Ticker.
func (c clock) Ticks(from, to float64) []plot.Tick {
	span := spans[len(spans)-1].Seconds()
	for _, s := range spans {
		if (to-from)/s.Seconds() <= float64(c.most) {
			span = s.Seconds()
			break
		}
	}
	for (to-from)/span > float64(c.most) {
		span *= 2
	}
	var ticks []plot.Tick
	day := ""
	for at := math.Ceil(from/span) * span; at <= to; at += span {
		t := time.Unix(int64(at), 0).UTC()
		label := t.Format("15:04")
		if d := t.Format("2 Jan"); d != day {
			label, day = label+"\n"+d+" UTC", d
		} else {
			label += "\n " // as high as the others
		}
		ticks = append(ticks, plot.Tick{Value: at, Label: label})
	}
	return ticks
}

// unit is how the values of a series are written.
type unit struct {
	// base is that of its prefixes: 1024 for bytes.
	base float64
	// factor by which values are multiplied.
	factor float64
	suffix string
	rate   bool
}

// unitOf reads the unit of a series from the end of its name, as Prometheus' conventions have it. Of a query whose
// result is of another unit than what it reads, nothing is known.
func unitOf(series string) unit {
	name, _, _ := strings.Cut(strings.TrimSpace(series), "{")
	name, _, _ = strings.Cut(name, " ")
	if strings.ContainsAny(name, "(+-*/") {
		return unit{base: 1000, factor: 1}
	}
	name, rate := strings.CutSuffix(name, "_total")
	u := unit{base: 1000, factor: 1, rate: rate}
	switch {
	case strings.HasSuffix(name, "_ratio"):
		u.factor, u.suffix = 100, " %"
	case strings.HasSuffix(name, "_bytes"):
		u.base, u.suffix = 1024, "B"
	case strings.HasSuffix(name, "_seconds"):
		u.suffix = "s"
	}
	return u
}

// text writes a value with at most so many digits after the point.
func (u unit) text(v float64, digits int) string {
	if v *= u.factor; !finite(v) {
		return "?"
	}
	prefix, small := "", math.Abs(v)
	if u.factor == 1 {
		for _, p := range []string{"k", "M", "G", "T", "P", "E"} {
			if small < u.base {
				break
			}
			v, small, prefix = v/u.base, small/u.base, p
		}
	}
	if prefix == "k" && u.base == 1024 {
		prefix = "K"
	}
	if prefix != "" && u.base == 1024 {
		prefix += "i"
	}
	number := strconv.FormatFloat(v, 'f', digits, 64)
	if small >= 1e6 || small != 0 && small < 1e-3 {
		number = strconv.FormatFloat(v, 'g', 3, 64)
	} else if strings.Contains(number, ".") {
		number = strings.TrimSuffix(strings.TrimRight(number, "0"), ".")
	}
	end := ""
	if u.rate {
		end = "/s"
	}
	if tail := prefix + u.suffix; u.suffix == " %" {
		return number + tail + end
	} else if tail != "" {
		return number + " " + tail + end
	}
	return number + end
}

// Ticks implements plot.Ticker: three to seven round values.
func (u unit) Ticks(from, to float64) []plot.Tick {
	step := u.roundStep((to - from) / 6)
	if !(step > 0) || math.IsInf(step, 0) {
		return nil
	}
	var ticks []plot.Tick
	for i := math.Ceil(from / step); i*step <= to; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: u.text(i*step, 3)})
	}
	return ticks
}

// roundStep is the least round number that is no less than x: 1, 2 or 5 times a power of ten, of bytes a power of 2.
func (u unit) roundStep(x float64) float64 {
	if u.base == 1024 {
		return math.Pow(2, math.Ceil(math.Log2(x)))
	}
	ten := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if m*ten >= x*(1-1e-9) {
			return m * ten
		}
	}
	return 10 * ten
}

var _ plot.Ticker = unit{}

// at writes a time, with its day where that is not the one of now.
func at(t, now time.Time) string {
	if t.UTC().Format(time.DateOnly) == now.UTC().Format(time.DateOnly) {
		return t.UTC().Format("15:04")
	}
	return t.UTC().Format("2 Jan 15:04")
}

// span writes a length of time in its largest units.
func span(d time.Duration) string {
	switch d = d.Round(time.Minute); {
	case d >= 48*time.Hour && d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
}
