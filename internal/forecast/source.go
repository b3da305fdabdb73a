package forecast

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// Point is what was measured at a time, or over the step that begins then.
type Point struct {
	At time.Time
	// Value is the mean over the step, Last the newest in it; both the same for one measurement.
	Value, Last float64
}

// Series is measurements of one series, in the order of their times.
type Series struct {
	Name   string
	Labels map[string]string
	Points []Point
}

// String returns the name with the labels, as Prometheus writes it.
func (s Series) String() string { return seriesName(s.Name, s.Labels) }

// History is what the host measured before.
type History interface {
	// Query returns the series of that name that have the labels, measured between two times, both inclusive. A
	// point stands for a step, which begins at a multiple since 1970; without a step it is one measurement.
	Query(ctx context.Context, name string, labels map[string]string, from, to time.Time, step time.Duration) ([]Series, error)
}

// source is where the measurements of one entry of a subsystem's series come from.
type source interface {
	// read returns what was measured between two times, both inclusive, by steps. Without a step it returns what is
	// new, measurement by measurement, and may measure.
	read(ctx context.Context, from, to time.Time, step time.Duration) ([]reading, error)
}

// reading is what was read of one series.
type reading struct {
	name   string
	points []Point
}

func seriesName(name string, labels map[string]string) string {
	if len(labels) == 0 {
		return name
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+"="+strconv.Quote(labels[k]))
	}
	return name + "{" + strings.Join(parts, ",") + "}"
}

// The bounds of reading a longer past.
const (
	// pastSteps is how many steps are read when nothing is known of a series, for no more than pastTime; of a load that comes and goes
	// with the hours of weekdays and weekends for loadTime.
	pastSteps = 7200
	pastTime  = 5 * 24 * time.Hour
	loadTime  = 14 * 24 * time.Hour
	// chunkSteps and chunkTime are how much of it is read at once.
	chunkSteps = 5000
	chunkTime  = 6 * time.Hour
)

// past is how long before now is read what was measured of a subsystem when nothing is known of it.
func past(s config.Subsystem) time.Duration {
	if s.Model == string(shivx.ForecastSpike) {
		return loadTime
	}
	return min(pastTime, pastSteps*s.Step)
}

// feed is a source and how far it was read.
type feed struct {
	source    source
	component string
	// next is the time from which on measurements are new; zero: all are.
	next time.Time
	// away is why it could not be read last; "": it could.
	away error
}

// pull reads what is new up to now and hands it over: first what is long past, by steps, then the rest.
func (f *feed) pull(ctx context.Context, now time.Time, s config.Subsystem, take func([]reading)) error {
	from, step := f.next, s.Step
	if oldest := now.Add(-past(s)); from.Before(oldest) {
		from = oldest
	}
	if from.After(now) { // the clock went back; the models see to it
		from = now
	}
	whole := floor(now, step)
	for whole.Sub(from) > 4*step {
		from = floor(from, step)
		end := minTime(from.Add(max(min(chunkTime, chunkSteps*step).Truncate(step), step)), whole)
		got, err := f.source.read(ctx, from, end.Add(-time.Millisecond), step)
		if err != nil {
			return err
		}
		take(got)
		f.next, from = end, end
	}
	got, err := f.source.read(ctx, from, now, 0)
	if err != nil {
		return err
	}
	f.next = from
	for _, r := range got {
		if n := len(r.points); n > 0 {
			if after := r.points[n-1].At.Add(time.Millisecond); after.After(f.next) {
				f.next = after
			}
		}
	}
	take(got)
	return nil
}

// floor returns the beginning of the step in which t is, counted since 1970 as the models do.
func floor(t time.Time, step time.Duration) time.Time {
	n := t.UnixNano()
	return time.Unix(0, n-((n%int64(step))+int64(step))%int64(step)).UTC()
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
