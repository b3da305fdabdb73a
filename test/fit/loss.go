package main

import (
	"math"
	"slices"
)

// loss gives where a sum begins, and the first and second derivative at a sum. press, unless nil, adds to the
// derivatives of all rows.
type loss struct {
	begin  func(t *table) float64
	derive func(sum float64, y float32) (g, h float64)
	press  func(t *table, sums []float64, g, h []float32)
}

// mean returns the weighted mean of the labels.
func mean(t *table) float64 {
	var sum, all float64
	for i, y := range t.y {
		sum, all = sum+float64(y*t.w[i]), all+float64(t.w[i])
	}
	return sum / all
}

func logOdds(t *table) float64 { return math.Log(mean(t) / (1 - mean(t))) }

func chanceAt(sum float64, y float32) (g, h float64) {
	p := logistic(sum)
	return p - float64(y), p * (1 - p)
}

// chance is the logistic loss of labels 0 and 1, square the squared error of any, warning that of labels 0 and 1
// for an alert that no healthy series may have at any time.
var (
	chance  = loss{begin: logOdds, derive: chanceAt}
	square  = loss{begin: mean, derive: func(sum float64, y float32) (g, h float64) { return sum - float64(y), 1 }}
	warning = loss{begin: logOdds, derive: chanceAt, press: pressHealthy}
)

// price of an alert on a healthy series, in decisions.
const price = 50

// pressHealthy adds, for each healthy series, the logistic loss of its highest sum: the softest of the maxima,
// log of the sum of exponentials, so that the moments that come next to an alert weigh too. A series counts
// as one of many instances does in Dietterich et al., Solving the multiple instance problem with
// axis-parallel rectangles, Artif. Intell. 89 (1997).
func pressHealthy(t *table, sums []float64, g, h []float32) {
	for i := 0; i < len(sums); {
		j := i + 1
		for j < len(sums) && t.healthy[j] == t.healthy[i] {
			j++
		}
		if t.healthy[i] >= 0 {
			pressOne(t, sums, g, h, i, j)
		}
		i = j
	}
}

func pressOne(t *table, sums []float64, g, h []float32, from, to int) {
	top := slices.Max(sums[from:to])
	all := 0.0
	for _, s := range sums[from:to] {
		all += math.Exp(s - top)
	}
	p := logistic(top + math.Log(all))
	bend := math.Max(p*(1-p), 0.05)
	for i := from; i < to; i++ {
		part := price * float64(t.worth[i]) * math.Exp(sums[i]-top) / all
		g[i] += float32(part * p)
		h[i] += float32(part * bend)
	}
}
