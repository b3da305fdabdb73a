package main

import (
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
	p, leak    float64 // what was forecast, in a check
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
	end := len(l.Values)
	if l.Exhausted >= 0 {
		end = l.Exhausted
	}
	var out []decision
	watch(l.Values[:end], 1, time.Duration(horizon)*step, func(t int, b *forecasting.Breach) {
		if t < from || (t-from)%every != 0 {
			return
		}
		d := decision{series: series, at: t, x: features(b), weight: 1}
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
		out = append(out, d)
	})
	return out
}
