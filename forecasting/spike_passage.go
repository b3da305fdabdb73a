package forecasting

import (
	"math"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// sureScore is what a standard normal variable is not larger than, as far as a number can tell.
const sureScore = 8

// chainStates is how many states the slow part of the residuals is cut into.
const chainStates = 25

// chain is the slow part of the residuals as a chain of states: by the method of Rouwenhorst, which keeps mean,
// variance and autocorrelation exactly however slow it is (Kopecky and Suen, Finite state Markov-chain
// approximations to highly persistent processes, Rev. Econ. Dynam. 13, 2010).
type chain struct {
	states [chainStates]float64
	// to[i][j] is the probability of a step from i to j.
	to [chainStates][chainStates]float64
	// noise is the standard deviation of what comes on top, fast.
	noise float64
}

// newChain returns the chain of a process with variance share of which keep is kept from step to step.
func newChain(share, keep float64) *chain {
	c := &chain{noise: math.Sqrt(noiseOf(share))}
	for i := range c.states {
		c.states[i] = math.Sqrt(share/(chainStates-1)) * float64(2*i-chainStates+1)
	}
	p := (1 + keep) / 2
	// A state is how many of some independent parts are up, each of which stays as it is with probability p.
	c.to[0][0] = 1
	for n := 1; n < chainStates; n++ {
		var next [chainStates][chainStates]float64
		for i := range n {
			for j := range n {
				x := c.to[i][j]
				next[i][j] += p * x
				next[i][j+1] += (1 - p) * x
				next[i+1][j] += (1 - p) * x
				next[i+1][j+1] += p * x
			}
		}
		for i := 1; i < n; i++ {
			for j := range n + 1 {
				next[i][j] /= 2
			}
		}
		c.to = next
	}
	return c
}

// passageSteps is when a series first reaches its capacity, step by step.
type passageSteps struct {
	n int
	// scores is the normal score of the residual that reaches the capacity in each step ahead.
	scores [recent]float64
	// by is the probability that it is reached by the end of each step.
	by [recent]float64
	// hazard is to what power a step is survived.
	hazard float64
	// season is the highest expected value, present the score that the capacity has now.
	season, present float64
}

// first computes by, and returns the probability of the horizon, from mean and variance of the slow part now.
func (p *passageSteps) first(c *chain, mean, variance float64) float64 {
	var at, next [chainStates]float64
	total := 0.0
	// One that is known better than the states are apart is put between two of them.
	gap := c.states[1] - c.states[0]
	sd := math.Sqrt(variance + gap*gap/6)
	for i, x := range c.states {
		at[i] = 1
		if gap > 0 {
			at[i] = math.Exp(-(x - mean) * (x - mean) / (2 * sd * sd))
		}
		total += at[i]
	}
	for i := range at {
		at[i] /= total
	}
	for k := range p.n {
		left := 0.0
		next = [chainStates]float64{}
		for i, q := range at {
			if q < 1e-12 {
				continue
			}
			for j, t := range c.to[i] {
				next[j] += q * t
			}
		}
		for j := range next {
			if z := (p.scores[k] - c.states[j]) / c.noise; z < sureScore {
				next[j] *= math.Pow(distuv.UnitNormal.CDF(z), p.hazard)
			}
			left += next[j]
		}
		at = next
		p.by[k] = math.Max(0, math.Min(1, 1-left))
	}
	return p.by[p.n-1]
}

// ahead writes the scores of the steps of the horizon; it says no when a step is not known, and which.
func (s *Spike) ahead(p *passageSteps) (time.Time, bool) {
	p.n = int(s.horizon)
	p.season, p.hazard = math.Inf(-1), s.residuals.hazard()
	for k := range p.n {
		index := s.grid.index + int64(k)
		mean, spread, ok := s.template.expect(index)
		if !ok {
			return time.Unix(0, index*s.grid.step).UTC(), false
		}
		p.season = math.Max(p.season, mean)
		p.scores[k] = s.residuals.score((s.capacity - mean) / s.floor(mean, spread))
	}
	p.present = p.scores[0]
	if mean, spread, ok := s.template.expect(s.grid.index - 1); ok {
		p.present = s.residuals.score((s.capacity - mean) / s.floor(mean, spread))
	}
	return time.Time{}, true
}

func (s *Spike) chain() *chain { return newChain(s.residuals.share, s.residuals.keep) }

// when writes the median and the bounds of the time of the passage, for the case that there is one.
func (s *Spike) when(p *passageSteps, out *Forecast) {
	now := time.Unix(0, s.grid.index*s.grid.step).UTC()
	if s.last >= s.capacity {
		out.BreachAt, out.Low, out.High = now, now, now
		return
	}
	if out.Probability < likely {
		return
	}
	at := func(share float64) time.Time {
		want, before := share*p.by[p.n-1], 0.0
		for k, by := range p.by[:p.n] {
			if by >= want {
				part := (want - before) / math.Max(by-before, 1e-300)
				return now.Add(time.Duration((float64(k) + math.Min(1, part)) * float64(s.grid.step)))
			}
			before = by
		}
		return now.Add(time.Duration(p.n) * time.Duration(s.grid.step))
	}
	out.Low, out.BreachAt, out.High = at(0.1), at(0.5), at(0.9)
}

// causes says what the probability rests on: how much less it would be if the season stayed as it is now, and if
// the series were as the season has it.
func (s *Spike) causes(p *passageSteps, c *chain, probability float64) []Cause {
	still, plain := *p, *p
	for k := range still.n {
		still.scores[k] = math.Max(p.scores[k], p.present)
	}
	return ordered(
		Cause{CauseSeason, p.season, logit(probability) - logit(still.first(c, s.residuals.now, s.residuals.doubt))},
		Cause{CauseExcess, s.residuals.now, logit(probability) - logit(plain.first(c, 0, s.residuals.doubt))},
	)
}
