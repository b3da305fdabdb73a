package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/backtest"
)

var (
	timing = settings{trees: 80, depth: 4, rate: 0.05, lambda: 5, least: 5, bag: true}
	doubt  = settings{trees: 40, depth: 3, rate: 0.1, lambda: 2, least: 0.5}
)

// recorded is how many times its worth a recorded series counts beside simulated ones.
const recorded = 20

// growing keeps the decisions on series that grow until they are exhausted. Each series weighs the same, however
// long it takes, and a recorded one as much as many that are simulated.
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
			out[k].weight = out[k].worth / float32(len(out)-first)
			if out[k].worth > 1 {
				out[k].weight *= recorded
			}
		}
		i = j
	}
	return out
}

// late is how much later than the line since the onset says, in logarithms; unsure is how far that was off.
func late(d *decision) float32 {
	return float32(math.Log(float64(d.left)/float64(d.x[0])) - math.Log(forecasting.Reach(float64(d.x[dayAt]), float64(d.x[daysAt]))))
}

func unsure(d *decision) float32 { return float32(math.Log(math.Abs(d.off) + 0.02)) }

var (
	dayAt  = slices.Index(forecasting.FeatureNames(), "onset-reach")
	daysAt = slices.Index(forecasting.FeatureNames(), "onset-reach-long")
)

// miss is how far the time that was forecast at a share of a leak's life was off, in logarithms, and over what was
// expected.
type miss struct {
	fold, life int
	off, ratio float64
}

// timeDoubt fits how unsure the forecast of the time is on backgrounds that were held out, and returns the factors on that
// between which eight of ten outcomes lie.
func timeDoubt(leaks []backtest.Leak, all []decision) (doubtful *forecasting.Model, low, high float64) {
	held := heldTimes(leaks, all)
	var misses []miss
	for f := range folds {
		m := fit(newTable(filter(held, func(d *decision) bool { return d.fold != f }), unsure).ofGrowth(), doubt, square)
		for _, d := range filter(held, func(d *decision) bool { return d.fold == f }) {
			l := leaks[d.series]
			for _, q := range []int{50, 75, 90} {
				if a := l.Onset + (l.Exhausted-l.Onset)*q/100; d.at <= a && a < d.at+3 {
					misses = append(misses, miss{f, q, d.off, d.off / math.Exp(predict(m, d.x))})
				}
			}
		}
	}
	reportTimes(misses)
	low, high = eightOfTen(misses, -1)
	return fit(newTable(held, unsure).ofGrowth(), doubt, square), low, high
}

// heldTimes returns the decisions on growing series with how far a forecast was off that was fitted on other folds.
func heldTimes(leaks []backtest.Leak, all []decision) []decision {
	var held []decision
	fold := foldsOf(leaks)
	for f := range folds {
		others := filter(all, func(d *decision) bool { return d.fold != f })
		m := fit(newTable(growing(others), late).ofGrowth(), timing, square)
		var rows []decision
		for i := range leaks {
			if fold[i] == f {
				rows = append(rows, decide(&leaks[i], i, 48, 3, horizon)...)
			}
		}
		for _, d := range growing(rows) {
			d.off, d.fold = float64(late(&d))-predict(m, d.x), f
			held = append(held, d)
		}
	}
	return held
}

// eightOfTen returns the bounds between which eight of ten ratios lie outside of a fold.
func eightOfTen(misses []miss, without int) (low, high float64) {
	var ratios []float64
	for _, m := range misses {
		if m.fold != without {
			ratios = append(ratios, m.ratio)
		}
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/10], ratios[len(ratios)*9/10]
}

// reportTimes prints how far forecasts were off, and how often the end lay within bounds chosen on the other folds.
func reportTimes(misses []miss) {
	inside := 0
	for f := range folds {
		low, high := eightOfTen(misses, f)
		for _, m := range misses {
			if m.fold == f && low <= m.ratio && m.ratio <= high {
				inside++
			}
		}
	}
	fmt.Print("time: median error")
	for _, life := range []int{50, 75, 90} {
		var errors []float64
		for _, m := range misses {
			if m.life == life {
				errors = append(errors, math.Abs(math.Expm1(-m.off)))
			}
		}
		slices.Sort(errors)
		fmt.Printf(" %.3f at %d %% of the life,", errors[len(errors)/2], life)
	}
	fmt.Printf(" %.1f %% within the interval\n", 100*float64(inside)/float64(len(misses)))
}
