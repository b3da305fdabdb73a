package main

import (
	"math/rand/v2"
	"time"

	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/backtest"
)

const (
	step    = 5 * time.Minute
	horizon = 72 // steps, of exhaustion
)

// decision is what a model sees at a step, and what came of it.
type decision struct {
	series, at int
	x          []float32
	soon, ever float32 // 1: reached within the horizon; 1: grows until it is reached
	left       float32 // steps, of a series that grows until it is exhausted
	weight     float32
	healthy    bool    // a series that is never exhausted
	worth      float32 // of the whole series beside others
	fold       int     // to which the background belongs; -1: to none
	p          float64 // what was forecast, in a check
	odds       float64 // the same in log-odds
	alert      float64 // and of an alert
	off        float64 // how far the forecast of the time was off, in logarithms
}

func soon(d *decision) float32 { return d.soon }
func ever(d *decision) float32 { return d.ever }

// watch updates a forecaster with each value and calls look after it.
func watch(values []float64, capacity float64, ahead time.Duration, look func(t int, b *forecasting.Breach)) {
	b, err := forecasting.NewBreach(forecasting.Options{Capacity: capacity, Horizon: ahead, Step: step})
	if err != nil {
		panic(err) // fixed options, and capacities that are quantiles
	}
	for t, v := range values {
		b.Update(time.Unix(0, 0).Add(time.Duration(t)*step), v)
		look(t, b)
	}
}

func features(b *forecasting.Breach) []float32 {
	f := b.Features(nil)
	x := make([]float32, len(f))
	for i, v := range f {
		x[i] = float32(v)
	}
	return x
}

// decide returns a decision each so many steps, from a step to the exhaustion, on a horizon in steps.
func decide(l *backtest.Leak, series, from, every, horizon int) []decision {
	var out []decision
	watch(l.Values[:l.End()], 1, time.Duration(horizon)*step, func(t int, b *forecasting.Breach) {
		if t >= from && (t-from)%every == 0 {
			out = append(out, decisionAt(l, t, horizon, series, b))
		}
	})
	return out
}

func decisionAt(l *backtest.Leak, t, horizon, series int, b *forecasting.Breach) decision {
	d := decision{series: series, at: t, x: features(b), weight: 1, worth: 1, healthy: l.Exhausted < 0}
	if l.Exhausted >= 0 {
		left := l.Exhausted - t
		if left <= horizon {
			d.soon = 1
		}
		if t >= l.Onset && left <= 6*horizon {
			d.ever = 1
		}
		if t >= l.Onset {
			d.left = float32(left)
		}
	}
	return d
}

// sample returns decisions at random steps, those more often from which more is learned. Their weights make up
// for it.
func sample(r *rand.Rand, l *backtest.Leak, series, every, horizon int) []decision {
	var out []decision
	watch(l.Values[:l.End()], 1, time.Duration(horizon)*step, func(t int, b *forecasting.Breach) {
		if t < 2*horizon || t%every != 0 {
			return
		}
		keep := keepAt(l, t, horizon)
		if r.Float64() < keep {
			d := decisionAt(l, t, horizon, series, b)
			d.weight = float32(1 / keep)
			out = append(out, d)
		}
	})
	return out
}

func keepAt(l *backtest.Leak, t, horizon int) float64 {
	left := l.Exhausted - t
	switch {
	case l.Exhausted >= 0 && left <= horizon:
		return 0.8
	case t < l.Onset || l.Kind == "none":
		return 0.12
	case l.Exhausted >= 0 && left <= 3*horizon:
		return 0.8
	case l.Exhausted < 0 && t < l.Onset+5*horizon:
		return 0.5
	default:
		return 0.25
	}
}
