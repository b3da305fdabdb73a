package picture

import (
	"fmt"
	"math"
	"time"

	"gonum.org/v1/plot"

	"github.com/shivx/shivx/internal/forecast/unit"
)

// clock labels a time axis, in seconds since 1970: the hour, and below it the day where that begins.
type clock struct {
	// most labels that have room; of those with a day two thirds.
	most int
}

var _ plot.Ticker = clock{}

var spans = []time.Duration{
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
	3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour,
}

// Ticks implements plot.Ticker.
func (c clock) Ticks(from, to float64) []plot.Tick {
	span := 0.0
	for _, s := range spans {
		most := float64(c.most)
		if s >= 24*time.Hour {
			most *= 2. / 3
		}
		if span = s.Seconds(); (to-from)/span <= most {
			break
		}
	}
	for (to-from)/span > float64(c.most)*2/3 && span >= spans[len(spans)-1].Seconds() {
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

// scale labels an axis of values.
type scale struct{ unit.Unit }

var _ plot.Ticker = scale{}

// Ticks implements plot.Ticker: three to seven round values.
func (s scale) Ticks(from, to float64) []plot.Tick {
	step := s.Step((to - from) / 6)
	if !(step > 0) || math.IsInf(step, 0) {
		return nil
	}
	var ticks []plot.Tick
	for i := math.Ceil(from / step); i*step <= to; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: s.Text(i*step, 3)})
	}
	return ticks
}

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
