package forecasting

import (
	"math"
	"time"
)

// mixture is what the filters of a Drift say of its way to the capacity, on their scale and in steps.
type mixture struct {
	level float64
	parts [len(driftWander)]way
}

// way is what one filter says.
type way struct {
	weight, distance, slope float64
	// doubt is the standard deviation of what is not known of the slope, variance how much the level spreads in a step.
	doubt, variance float64
}

func (d *Drift) mixture(b *bank) mixture {
	best := math.Inf(-1)
	for _, l := range b.logs {
		best = math.Max(best, l)
	}
	var m mixture
	total := 0.0
	horizon := float64(d.horizon)
	for i, k := range b.filters {
		w := way{weight: math.Exp(b.logs[i] - best), distance: d.limit() - k.level, slope: k.slope}
		w.doubt = math.Sqrt(k.noise * k.varSlope)
		// What the slope wanders within the horizon adds to the level like a third of its end, and what is not known of
		// the level like noise of the whole.
		w.variance = k.noise * (driftWander[i] + d.wanderSlope()*horizon*horizon/3 + k.varLevel/horizon)
		total += w.weight
		m.level += w.weight * k.level
		m.parts[i] = w
	}
	m.level /= total
	for i := range m.parts {
		m.parts[i].weight /= total
	}
	return m
}

// within returns the probability that the capacity is reached within so many steps.
func (m *mixture) within(steps float64) float64 {
	p := 0.0
	for _, w := range m.parts {
		for _, h := range hermite {
			p += w.weight * h.weight * reachedWithin(steps, w.distance, w.slope+h.at*w.doubt, w.variance)
		}
	}
	return math.Max(0, math.Min(1, p))
}

// when returns the time within which the capacity is reached with a probability; zero when that is more than
// a hundred horizons after now.
func (m *mixture) when(p float64, now time.Time, d *Drift) time.Time {
	low, high := 1e-3*float64(d.horizon), 100*float64(d.horizon)
	if m.within(high) < p {
		return time.Time{}
	}
	for range 16 { // to less than a thousandth
		if middle := math.Sqrt(low * high); m.within(middle) < p {
			low = middle
		} else {
			high = middle
		}
	}
	return now.Add(time.Duration(math.Min(high*float64(d.grid.step), math.MaxInt64/2)))
}
