package forecasting

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	// highScore is what one in fifteen scores is above.
	highScore = 1.5
	// highPrior and fullPrior are how many rises the first guesses weigh.
	highPrior = 3
	fullPrior = 15
	// mostHazard is up to what factor more rises come than were to be expected.
	mostHazard = 1.5
)

// rises counts how often scores rose above a bound, and how often that was to be expected.
//
// High values of real load come in clusters, those of a Gaussian process apart, so that fewer first rises come than it
// has. The ratio of both is the extremal index of the load relative to that of the process, by the method of runs: a
// rise counts when it ends a time below (Smith and Weissman, Estimating the extremal index, J. R. Statist. Soc. B 56, 1994).
type rises struct {
	expected, came float64
	below          int32 // steps
}

// take counts a score of which mean and deviation were expected; older ones count less.
func (r *rises) take(score, bound, mean, sd float64) {
	if r.below >= farLag {
		const keep = 1 - 1.0/slowSteps
		r.expected = r.expected*keep + distuv.UnitNormal.CDF((mean-bound)/sd)
		r.came *= keep
		if score > bound {
			r.came++
		}
	}
	if r.below = min(r.below+1, farLag); score > bound {
		r.below = 0
	}
}

// hazard returns to what power a step ahead is survived: how many first rises above the capacity there are to one of
// the Gaussian process. While few are known that is drawn towards the ratio of those above highScore.
func (r *residuals) hazard() float64 {
	high := math.Min(1, (r.high.came+highPrior)/(r.high.expected+highPrior))
	return math.Min(mostHazard, (r.full.came+fullPrior*high)/(r.full.expected+fullPrior))
}
