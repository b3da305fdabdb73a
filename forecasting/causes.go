package forecasting

import "math"

// The features that a Drift and a Spike name as causes. A weight is by how much the log-odds would be less without it.
const (
	// CauseTrend is by how much the level grows within the horizon if it goes on, in the unit of the series.
	CauseTrend = "trend"
	// CauseLevel is how far the level is from where it was for days, in the unit of the series.
	CauseLevel = "level"
	// CauseSeason is the highest value that the template expects within the horizon, in the unit of the series.
	CauseSeason = "season"
	// CauseExcess is how far the series is above its template, in usual deviations: of a normal variable as rare.
	CauseExcess = "above-season"
)

// ordered returns the causes that weigh anything, the strongest first.
func ordered(a, b Cause) []Cause {
	if b.Weight > a.Weight {
		a, b = b, a
	}
	var out []Cause
	for _, c := range [...]Cause{a, b} {
		if c.Weight > 0.05 {
			out = append(out, c)
		}
	}
	return out
}

// logit returns log-odds, of a probability drawn away from 0 and 1 so that they are finite.
func logit(p float64) float64 {
	p = math.Max(1e-6, math.Min(1-1e-6, p))
	return math.Log(p / (1 - p))
}
