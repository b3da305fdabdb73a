package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/backtest"
)

var (
	timing = settings{trees: 80, depth: 4, rate: 0.1, lambda: 2, least: 0.2}
	doubt  = settings{trees: 40, depth: 3, rate: 0.1, lambda: 2, least: 0.5}
)

// growing keeps the decisions on series that grow until they are exhausted. Each series weighs the same, however
// long it takes: x[reach] is where a guess begins.
func growing(rows []decision) []decision {
	var out []decision
	for i := 0; i < len(rows); {
		j := i
		for j < len(rows) && rows[j].series == rows[i].series && (j == i || rows[j].at > rows[j-1].at) {
			j++
		}
		first := len(out)
		for _, d := range rows[i:j] {
			if d.left > 0 {
				out = append(out, d)
			}
		}
		for k := first; k < len(out); k++ {
			out[k].weight /= float32(len(out) - first)
		}
		i = j
	}
	return out
}

// late is how much later than the straightest trend says, in logarithms; unsure is how far that was off.
func late(d *decision) float32 {
	return float32(math.Log(float64(d.left)/float64(d.x[0])) - math.Log(forecasting.Reach(float64(d.x[reachAt]))))
}

func unsure(d *decision) float32 { return float32(math.Log(math.Abs(d.off) + 0.02)) }

var reachAt = slices.Index(forecasting.FeatureNames(), "reach")

// timeDoubt fits how unsure the forecast of the time is on backgrounds that were held out, and returns the factors on that
// between which eight of ten outcomes lie.
func timeDoubt(leaks []backtest.Leak, others [folds][]decision) (doubtful *forecasting.Model, low, high float64) {
	var held []decision
	for f := range folds {
		m := fit(newTable(growing(others[f]), late).ofGrowth(), timing, square)
		var rows []decision
		for i := range leaks {
			if foldOf(leaks, i) == f {
				rows = append(rows, decide(&leaks[i], i, 48, 3, horizon)...)
			}
		}
		for k := range rows {
			rows[k].weight = 1
		}
		for _, d := range growing(rows) {
			d.off = float64(late(&d)) - predict(m, d.x)
			held = append(held, d)
		}
	}
	doubtful = fit(newTable(held, unsure).ofGrowth(), doubt, square)
	var ratios []float64
	var half []float64
	for _, d := range held {
		l := leaks[d.series]
		for _, q := range []int{50, 75, 90} {
			if a := l.Onset + (l.Exhausted-l.Onset)*q/100; d.at <= a && a < d.at+3 {
				ratios = append(ratios, d.off/math.Exp(predict(doubtful, d.x)))
				if q == 50 {
					half = append(half, math.Abs(math.Expm1(-d.off)))
				}
			}
		}
	}
	slices.Sort(ratios)
	slices.Sort(half)
	fmt.Printf("time at half-life: median error %.3f on held-out backgrounds\n", half[len(half)/2])
	return doubtful, ratios[len(ratios)/10], ratios[len(ratios)*9/10]
}
