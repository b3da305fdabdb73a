package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/shivx/shivx/internal/backtest"
)

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func filter(ds []decision, keep func(*decision) bool) []decision {
	var out []decision
	for i := range ds {
		if keep(&ds[i]) {
			out = append(out, ds[i])
		}
	}
	return out
}

// crossValidate fits on all but a quarter of the backgrounds and forecasts that quarter, each in turn. It returns
// each step of the recorded series from the second day on, with the log-odds of what was forecast.
func crossValidate(rows []decision, leaks []backtest.Leak) []decision {
	var held []decision
	fold := foldsOf(leaks)
	for f := range folds {
		others := filter(rows, func(d *decision) bool { return d.fold != f })
		t := newTable(others, soon).ofGrowth()
		soonModel, alertModel := fit(t, exhaustion, chance), fit(t, alarm, warning)
		for i := range leaks {
			if fold[i] != f {
				continue
			}
			for _, d := range decide(&leaks[i], i, 288, 1, horizon) {
				d.odds, d.alert, d.fold = predict(soonModel, d.x), predict(alertModel, d.x), f
				d.x = nil
				held = append(held, d)
			}
		}
		fmt.Printf("fold %d of %d: fitted on %d decisions\n", f+1, folds, len(others))
	}
	return held
}

// straighten returns the line in log-odds that makes held-out probabilities mean what they say: Platt,
// Probabilistic outputs for support vector machines (1999), by Newton's method.
func straighten(ds []decision) (scale, shift float64) {
	scale = 1
	for range 25 {
		var g0, g1, h00, h01, h11 float64
		for _, d := range ds {
			g, h := chanceAt(scale*d.odds+shift, d.soon)
			g0, g1 = g0+g, g1+g*d.odds
			h00, h01, h11 = h00+h, h01+h*d.odds, h11+h*d.odds*d.odds
		}
		det := h00*h11 - h01*h01
		shift -= (h11*g0 - h01*g1) / det
		scale -= (h00*g1 - h01*g0) / det
	}
	return scale, shift
}

// hysteresis is how far the log-odds of an alert fall before it closes.
const hysteresis = 0.6

// quiet returns the least log-odds at which an alert opens on no more than a share of the healthy series.
func quiet(ds []decision, share float64) float64 {
	top := map[int]float64{}
	for _, d := range ds {
		if t, seen := top[d.series]; d.healthy && (!seen || d.alert > t) {
			top[d.series] = d.alert
		}
	}
	var all []float64
	for _, t := range top {
		all = append(all, t)
	}
	slices.Sort(all)
	return all[len(all)-1-int(share*float64(len(all)))] + 1e-6
}

// report prints how held-out decisions are judged. What is chosen, when an alert opens and how probabilities are
// straightened, is chosen on the other folds each time.
func report(leaks []backtest.Leak, held []decision) {
	for _, share := range []float64{0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1} {
		var ds []decision
		for f := range folds {
			open := quiet(filter(held, func(d *decision) bool { return d.fold != f }), share)
			for _, d := range filter(held, func(d *decision) bool { return d.fold == f }) {
				d.alert -= open
				ds = append(ds, d)
			}
		}
		fmt.Printf("open where the other folds had %2.0f %% of healthy series alerted: ", 100*share)
		judge(leaks, ds)
	}
	var p []float64
	var came []bool
	for f := range folds {
		a, b := straighten(filter(held, func(d *decision) bool { return d.fold != f }))
		for _, d := range held {
			if d.fold == f && d.judged() {
				p, came = append(p, logistic(a*d.odds+b)), append(came, d.soon > 0)
			}
		}
	}
	s := backtest.ScoreOf(p, came)
	fmt.Printf("probabilities: AUPRC %.3f, Brier skill %.3f, calibration error %.4f\n", s.AUPRC, s.BrierSkill, s.CalibrationError)
}

// judged says whether the protocol judges this step: one in three from the second day on.
func (d *decision) judged() bool { return (d.at-288)%3 == 0 }

// judge prints what alerts are worth that open at log-odds of 0.
func judge(leaks []backtest.Leak, ds []decision) {
	var tp, fp, fn float64
	open, alerted := map[int]bool{}, map[int]bool{}
	for _, d := range ds {
		a := d.alert >= 0 || open[d.series] && d.alert >= -hysteresis
		open[d.series] = a
		if !d.judged() {
			continue
		}
		switch {
		case a && d.soon > 0:
			tp++
		case a:
			fp++
		case d.soon > 0:
			fn++
		}
		if a && (d.healthy || d.at >= leaks[d.series].Onset) {
			alerted[d.series] = true
		}
	}
	var of, hit [2]float64
	for i, l := range leaks {
		k := 0
		if l.Exhausted >= 0 {
			k = 1
		}
		of[k]++
		if alerted[i] {
			hit[k]++
		}
	}
	fmt.Printf("F1 %.3f (precision %.2f, recall %.2f), clean alerted %.1f %%, caught %.1f %%\n",
		2*tp/(2*tp+fp+fn), tp/(tp+fp), tp/(tp+fn), 100*hit[0]/of[0], 100*hit[1]/of[1])
}
