package backtest

import (
	"context"
	"fmt"
	"math"
	"time"
)

// The protocol for leaks: 5-minute steps, a decision every 15 minutes from the second day until exhaustion,
// positive when the series is exhausted within 6 hours.
const (
	gridStep       = 5 * time.Minute
	leakHorizon    = 72
	leakFirst      = 288
	leakEvery      = 3
	leakCapacity   = 1
	leakLifePoints = 3
)

// leakLife are the shares of a leak's life, from onset to exhaustion, at which the time is judged.
func leakLife() [leakLifePoints]float64 { return [...]float64{0.5, 0.75, 0.9} }

// LeakScore is how a forecaster does on leaks and on healthy series.
type LeakScore struct {
	Forecaster string `json:"forecaster"`
	Score
	Leaks int `json:"leaks"`
	Clean int `json:"clean"`
	// CleanAlerted is the share of series that are never exhausted and had an alert at any decision.
	CleanAlerted Figure `json:"clean_alerted"`
	// Caught is the share of leaks with an alert at a decision from the onset to the end.
	Caught Figure `json:"caught"`
	// Lead is the median time from the first such alert to the end, in minutes.
	Lead Figure `json:"lead_minutes"`
	// TimeError is the median |error of the time to exhaustion| / time left, at 50, 75 and 90 % of the leak's life.
	// A forecast without a time is wrong by 1.
	TimeError [leakLifePoints]Figure `json:"time_error"`
	// Coverage is the share of these moments whose 80 % interval holds the end; one without an interval does not.
	Coverage Figure `json:"coverage"`
}

// leakRun is one forecaster on one series.
type leakRun struct {
	decisions []decision
	alerted   bool
	lead      float64 // in steps; 0: not caught
	points    timed
	errors    [leakLifePoints]float64
}

// timed counts forecasts of a time.
type timed struct{ asked, intervals, covered int }

// judge returns the error of the time when the capacity is reached left steps from now.
func (t *timed) judge(o Outlook, left float64) float64 {
	t.asked++
	if !math.IsNaN(o.Low) {
		t.intervals++
		if o.Low <= left && left <= o.High {
			t.covered++
		}
	}
	if math.IsNaN(o.In) {
		return 1
	}
	return math.Abs(o.In-left) / left
}

func (t *timed) add(o timed) {
	t.asked, t.intervals, t.covered = t.asked+o.asked, t.intervals+o.intervals, t.covered+o.covered
}

// coverage is NaN for a forecaster that gives no intervals.
func (t *timed) coverage() Figure {
	if t.intervals == 0 {
		return Figure(math.NaN())
	}
	return share(t.covered, t.asked)
}

// Leaks judges contenders on series that may be exhausted.
func (j Judge) Leaks(ctx context.Context, leaks []Leak, contenders []Contender) ([]LeakScore, error) {
	task := Task{Capacity: leakCapacity, Horizon: leakHorizon, Step: gridStep}
	runs := make([][]leakRun, len(leaks))
	err := j.each(ctx, len(leaks), func(i int) error {
		for _, c := range contenders {
			f, err := c.New(task)
			if err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			runs[i] = append(runs[i], leaks[i].follow(f))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]LeakScore, len(contenders))
	for k, c := range contenders {
		of := make([]leakRun, len(leaks))
		for i := range leaks {
			of[i] = runs[i][k]
		}
		out[k] = scoreLeaks(leaks, of)
		out[k].Forecaster = c.Name
	}
	return out, nil
}

// follow asks at every step, as alerts have hysteresis, and judges at the decisions.
func (l *Leak) follow(f Forecaster) leakRun {
	var run leakRun
	for i, v := range l.Values[:l.End()] {
		f.Take(v)
		o := f.Look()
		for k, part := range leakLife() {
			if l.Exhausted >= 0 && i == l.Onset+int(math.Round(part*float64(l.Exhausted-l.Onset))) {
				run.errors[k] = run.points.judge(o, float64(l.Exhausted-i))
			}
		}
		if i < leakFirst || (i-leakFirst)%leakEvery != 0 {
			continue
		}
		came := l.Exhausted >= 0 && l.Exhausted-i <= leakHorizon
		run.decisions = append(run.decisions, decision{float32(o.Probability), o.Alert, came})
		run.alerted = run.alerted || o.Alert
		if o.Alert && l.Exhausted >= 0 && i >= l.Onset && run.lead == 0 {
			run.lead = float64(l.Exhausted - i)
		}
	}
	return run
}

func scoreLeaks(leaks []Leak, runs []leakRun) LeakScore {
	var (
		all     []decision
		s       LeakScore
		alerted int
		leads   []float64
		errors  [leakLifePoints][]float64
		points  timed
	)
	for i, run := range runs {
		all = append(all, run.decisions...)
		if leaks[i].Exhausted < 0 {
			s.Clean++
			if run.alerted {
				alerted++
			}
			continue
		}
		s.Leaks++
		if run.lead > 0 {
			leads = append(leads, run.lead*gridStep.Minutes())
		}
		points.add(run.points)
		for k, e := range run.errors {
			errors[k] = append(errors[k], e)
		}
	}
	s.Score = score(all)
	s.CleanAlerted, s.Caught, s.Lead = share(alerted, s.Clean), share(len(leads), s.Leaks), median(leads)
	for k := range errors {
		s.TimeError[k] = median(errors[k])
	}
	s.Coverage = points.coverage()
	return s
}
