package forecasting

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// reachedWithin returns the probability that a Brownian motion that drifts by the given amount and spreads by the
// given variance in each unit of time gets as far as the distance, more than 0, within a time.
//
// With a drift towards it the time of first passage is inverse Gaussian, of mean distance/drift and shape
// distance²/variance (Schrödinger, Phys. Z. 16, 1915; Chhikara and Folks, The Inverse Gaussian Distribution,
// 1989). The same formula holds with a drift away from it, where it stays below 1 for ever (Cox and Miller, The
// Theory of Stochastic Processes, 1965, section 5.7).
func reachedWithin(time, distance, drift, variance float64) float64 {
	if distance <= 0 {
		return 1
	}
	if time <= 0 {
		return 0
	}
	sd := math.Sqrt(variance * time)
	if sd < 1e-9*distance {
		if drift*time >= distance {
			return 1
		}
		return 0
	}
	direct := distuv.UnitNormal.CDF((drift*time - distance) / sd)
	x := (distance + drift*time) / sd
	// The second term is the product of what may be huge with what may be tiny.
	reflected := math.Exp(2*drift*distance/variance + logSurvival(x))
	return math.Min(1, direct+reflected)
}

// logSurvival returns the logarithm of the probability that a standard normal variable is larger than x.
func logSurvival(x float64) float64 {
	if x < 30 {
		return math.Log(distuv.UnitNormal.CDF(-x)) // its Survival is 1 less something near 1
	}
	// Mills' ratio, by its asymptotic series; the next term is below 1e-8 (Abramowitz and Stegun 26.2.12).
	xx := x * x
	return -xx/2 - math.Log(x*math.Sqrt(2*math.Pi)) + math.Log1p(-1/xx+3/(xx*xx)-15/(xx*xx*xx))
}

// hermite holds points and weights by which the mean of a function of a standard normal variable is summed
// (Gauss–Hermite quadrature, Abramowitz and Stegun table 25.10, with points times √2 and weights over √π).
var hermite = [...]struct{ at, weight float64 }{
	{-2.8569700138728056, 0.011257411327720689},
	{-1.3556261799742659, 0.22207592200561263},
	{0, 0.5333333333333333},
	{1.3556261799742659, 0.22207592200561263},
	{2.8569700138728056, 0.011257411327720689},
}
