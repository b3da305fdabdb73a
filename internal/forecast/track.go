package forecast

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/forecasting"
)

const (
	// mostTracks is how many series of a subsystem are shown, the worst first.
	mostTracks = 12
	// mostPast is how many points a track has.
	mostPast = 1000
	// bands is into how many parts a horizon is cut for a picture.
	bands = 36
)

// Tracks returns the past of the worst series of a subsystem over that long, and what is forecast for them.
func (e *Engine) Tracks(ctx context.Context, subsystem string, since time.Duration) ([]shivx.ForecastTrack, error) {
	e.mu.RLock()
	s, err := e.subsystem(subsystem)
	if err != nil {
		e.mu.RUnlock()
		return nil, err
	}
	now := e.o.Now()
	tracks := make([]shivx.ForecastTrack, 0, mostTracks)
	for _, t := range s.ranked() {
		tracks = append(tracks, shivx.ForecastTrack{Prediction: t.prediction, Ahead: s.ahead(t, now), Past: []shivx.TrackPoint{}})
	}
	e.mu.RUnlock()
	step := s.Step
	for since/step > mostPast {
		step *= 2
	}
	past, err := s.past(ctx, now.Add(-since), now, step)
	for i := range tracks {
		tracks[i].Past = append(tracks[i].Past, past[tracks[i].Prediction.Series]...)
	}
	return tracks, err
}

// ranked are the series to show, the worst first.
func (s *subsystem) ranked() []*tracker {
	all := make([]*tracker, 0, len(s.order))
	for _, name := range s.order {
		all = append(all, s.series[name])
	}
	slices.SortStableFunc(all, func(a, b *tracker) int {
		switch {
		case (a.prediction.Missing == "") != (b.prediction.Missing == ""):
			if a.prediction.Missing == "" {
				return -1
			}
			return 1
		case worse(&a.prediction, &b.prediction):
			return -1
		case worse(&b.prediction, &a.prediction):
			return 1
		}
		return 0
	})
	return all[:min(len(all), mostTracks)]
}

// past reads what was measured, by steps; of counters the rate.
func (s *subsystem) past(ctx context.Context, from, to time.Time, step time.Duration) (map[string][]shivx.TrackPoint, error) {
	out := map[string][]shivx.TrackPoint{}
	for _, f := range s.feeds {
		got, err := f.source.read(ctx, floor(from, step), to, step)
		if err != nil {
			return out, err
		}
		for _, r := range got {
			rate := forecasting.Counter{}
			for _, p := range r.points {
				v := p.Value
				if !countable(v) {
					continue
				}
				if s.Counter {
					var ok bool
					if v, ok = rate.Rate(p.At, v); !ok {
						continue
					}
				}
				out[r.name] = append(out[r.name], shivx.TrackPoint{At: p.At.UTC(), Value: v})
			}
		}
	}
	return out, nil
}

// ahead is what is forecast for a series: none where nothing is predicted.
func (s *subsystem) ahead(t *tracker, now time.Time) []shivx.TrackBand {
	p := &t.prediction
	if p.Missing != "" {
		return nil
	}
	out := make([]shivx.TrackBand, 0, bands)
	low, high := t.spread()
	load, isLoad := t.spike()
	for i := 1; i <= bands; i++ {
		at := now.Add(time.Duration(i) * s.Horizon / bands).UTC()
		b := shivx.TrackBand{At: at, Value: p.Value, Low: p.Value + low, High: p.Value + high}
		if isLoad {
			if mean, low, high, ok := load.Expected(at); ok {
				b.Value, b.Low, b.High = mean, low, high
			}
		} else if !p.BreachAt.IsZero() {
			b.Value = toward(p, p.BreachAt, at)
			b.High = math.Max(b.Value, toward(p, p.Low, at))
			b.Low = math.Min(b.Value, toward(p, p.High, at))
		}
		out = append(out, b)
	}
	return out
}

// toward is where a series is at a time if it goes straight to its capacity, and is there by then; by zero it never is.
func toward(p *shivx.Prediction, by, at time.Time) float64 {
	way := by.Sub(p.At).Seconds()
	switch {
	case by.IsZero():
		return p.Value
	case way <= 0:
		return math.Max(p.Value, p.Capacity)
	}
	return p.Value + (p.Capacity-p.Value)*at.Sub(p.At).Seconds()/way
}

// spread is how far a series was below and above its mean of late, eight times of ten.
func (t *tracker) spread() (low, high float64) {
	all := t.means()
	if len(all) == 0 {
		return 0, 0
	}
	mean := 0.0
	for _, v := range all {
		mean += v / float64(len(all))
	}
	slices.Sort(all)
	return math.Min(0, all[len(all)/10]-mean), math.Max(0, all[(9*len(all))/10]-mean)
}
