package backtest

import (
	"context"
	"fmt"
	"math"
	"time"
)

// The protocol for a series of a user: a decision at every step below the capacity, after as many steps as
// ShivX needs before its first forecast.
const ownFirst = 48

// longestGap is how many steps without a measurement are filled with the value before them.
const longestGap = 48

// Point is a measurement.
type Point struct {
	At    time.Time
	Value float64
}

// Steps returns the mean of each step. A step without measurements has the value before it, at most 48 in a row;
// what is no number or of a step that is over is left out.
func Steps(points []Point, step time.Duration) []float64 {
	var out []float64
	var open, count int64
	for _, p := range points {
		if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
			continue
		}
		at := p.At.UnixNano() / int64(step)
		switch last := len(out) - 1; {
		case last < 0:
			out, open, count = append(out, p.Value), at, 1
		case at == open:
			count++
			out[last] += (p.Value - out[last]) / float64(count)
		case at > open:
			for range min(at-open-1, longestGap) {
				out = append(out, out[last])
			}
			out, open, count = append(out, p.Value), at, 1
		}
	}
	return out
}

// OwnScore is how a forecaster does on one series.
type OwnScore struct {
	Forecaster string `json:"forecaster"`
	Score
	// Events is how often the series reached the capacity from below, with a decision in the horizon before.
	Events int `json:"events"`
	// Caught is the share of them with an alert in the horizon before, Lead the median time from the first such
	// alert, in minutes.
	Caught Figure `json:"caught"`
	Lead   Figure `json:"lead_minutes"`
	// TimeError and Coverage are as in LeakScore, over all decisions in the horizon before an event.
	TimeError Figure `json:"time_error"`
	Coverage  Figure `json:"coverage"`
}

// Own judges contenders on one series.
func (j Judge) Own(ctx context.Context, values []float64, task Task, contenders []Contender) ([]OwnScore, error) {
	out := make([]OwnScore, len(contenders))
	next := reaches(values, task.Capacity)
	err := j.each(ctx, len(contenders), func(i int) error {
		f, err := contenders[i].New(task)
		if err != nil {
			return fmt.Errorf("%s: %w", contenders[i].Name, err)
		}
		out[i] = followOwn(f, values, next, task)
		out[i].Forecaster = contenders[i].Name
		return nil
	})
	return out, err
}

func followOwn(f Forecaster, values []float64, next []int, task Task) OwnScore {
	var (
		all           []decision
		errors, leads []float64
		points        timed
		s             OwnScore
	)
	event, caught := -1, -1
	for i, v := range values {
		f.Take(v)
		o := f.Look() // at every step, as alerts have hysteresis
		left := next[i] - i
		came := left <= task.Horizon
		if i < ownFirst || v >= task.Capacity || !came && i+task.Horizon >= len(values) {
			continue // what came of the last ones is not known
		}
		all = append(all, decision{float32(o.Probability), o.Alert, came})
		if !came {
			continue
		}
		if next[i] != event {
			event = next[i]
			s.Events++
		}
		if o.Alert && caught != event {
			caught = event
			leads = append(leads, float64(left)*task.Step.Minutes())
		}
		errors = append(errors, points.judge(o, float64(left)))
	}
	s.Score = score(all)
	s.Caught, s.Lead = share(len(leads), s.Events), median(leads)
	s.TimeError, s.Coverage = median(errors), points.coverage()
	return s
}
