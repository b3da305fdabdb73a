package forecast

import (
	"context"
	"errors"
	"time"

	"github.com/shivx/shivx"
)

// historySource reads the series of a metric in the host's own history.
type historySource struct {
	history History
	name    string
	match   map[string]string
	// of is the metric that is the limit, limit one that is given; "" and 0: the figure itself is watched.
	of    string
	limit float64
	// counter says that the newest of a step counts, not its mean.
	counter bool
}

var errNoHistory = shivx.Hint(errors.New("there is no metric history"), "see the log of the agent's start for the reason")

func (h *historySource) read(ctx context.Context, from, to time.Time, step time.Duration) ([]reading, error) {
	if h.history == nil {
		return nil, errNoHistory
	}
	found, err := h.history.Query(ctx, h.name, h.match, from, to, step)
	if err != nil {
		return nil, err
	}
	limits := map[string][]Point{}
	if h.of != "" {
		of, err := h.history.Query(ctx, h.of, h.match, from, to, step)
		if err != nil {
			return nil, err
		}
		for _, s := range of {
			limits[seriesName("", s.Labels)] = s.Points
		}
	}
	out := make([]reading, 0, len(found))
	for _, s := range found {
		r := reading{name: s.String(), points: s.Points}
		if h.counter {
			newest(r.points)
		}
		switch {
		case h.of != "":
			r.name = seriesName(h.name+"/"+h.of, s.Labels)
			r.points = shares(r.points, limits[seriesName("", s.Labels)])
		case h.limit > 0:
			scale(r.points, 1/h.limit)
		}
		out = append(out, r)
	}
	return out, nil
}

// newest lets the newest of each step stand for it: the mean of a counter over a step in which it began anew is none.
func newest(points []Point) {
	for i := range points {
		points[i].Value = points[i].Last
	}
}

func scale(points []Point, by float64) {
	for i := range points {
		points[i].Value *= by
		points[i].Last *= by
	}
}

// shares divides points by the limits at their times, or by the last before. Where there is no limit there is no share.
func shares(points, limits []Point) []Point {
	out := points[:0]
	j := -1
	for _, p := range points {
		for j+1 < len(limits) && !limits[j+1].At.After(p.At) {
			j++
		}
		if j < 0 || !(limits[j].Value > 0) {
			continue
		}
		p.Value, p.Last = p.Value/limits[j].Value, p.Last/limits[j].Value
		out = append(out, p)
	}
	return out
}
