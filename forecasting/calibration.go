package forecasting

import (
	"errors"
	"fmt"
	"math"
	"time"
)

const (
	// Bins is into how many parts of equal width probabilities are cut.
	Bins = 15
	// calibrationPrior is how many outcomes the belief that a probability means what it says weighs, in each bin.
	calibrationPrior = 20
)

// Calibration learns how often what was forecast with a probability happens, and corrects probabilities by that.
// It learns from one outcome at a time, and forgets. Keep one for each subsystem.
//
// Which outcomes count is for the caller to say. A failure that was prevented because of its forecast did not
// happen, but the forecast was not wrong: leave such episodes out, or acting on forecasts teaches that they are
// false. Forecasts one after another of the same episode are not independent either: observe one of them, or few.
//
// Probabilities are cut into bins. In each, the share of what happened is drawn towards the mean forecast, as if
// that had been confirmed by 20 outcomes; neighbours that would fall are pooled until the shares rise (isotonic regression
// by pool adjacent violators: Ayer et al., An empirical distribution function for sampling with incomplete information,
// Ann. Math. Statist. 26, 1955; for calibration: Zadrozny and Elkan, Transforming classifier scores into
// accurate multiclass probability estimates, KDD 2002); between the bins Apply is straight.
//
// All fields are exported so that the state can be kept elsewhere; after reading it from there, Check it. It is
// not safe for use by several goroutines.
type Calibration struct {
	// HalfLife is after how long an outcome weighs half; 0: never.
	HalfLife time.Duration
	// Latest is the time of the newest outcome; the sums are as of then.
	Latest time.Time
	// Outcomes holds the sums by forecast: of i/Bins to (i+1)/Bins.
	Outcomes [Bins]Outcome
	// Squares is the sum of the squared differences of forecast and what happened (1 or 0).
	Squares float64
}

// Outcome sums what was forecast with about one probability; older outcomes weigh less.
type Outcome struct {
	// Count is how many there were, Forecast the sum of their probabilities, Happened how many happened.
	Count, Forecast, Happened float64
}

// CalibrationOptions say how a Calibration learns.
type CalibrationOptions struct {
	// HalfLife is after how long an outcome weighs half; 0: never.
	HalfLife time.Duration
}

// NewCalibration returns a calibration that knows of no outcome.
func NewCalibration(o CalibrationOptions) (*Calibration, error) {
	c := &Calibration{HalfLife: o.HalfLife}
	return c, c.Check()
}

// Check returns what is wrong with a state.
func (c *Calibration) Check() error {
	if c.HalfLife < 0 {
		return errors.New("half-life: must not be negative")
	}
	if !(c.Squares >= 0 && c.Squares <= largest) {
		return fmt.Errorf("squares %v: no sum of squares", c.Squares)
	}
	const slack = 1 + 1e-9
	for i, o := range c.Outcomes {
		if !(o.Count >= 0 && o.Count <= largest && o.Forecast >= 0 && o.Forecast <= o.Count*slack &&
			o.Happened >= 0 && o.Happened <= o.Count*slack) {
			return fmt.Errorf("outcomes of bin %d: %+v cannot be", i, o)
		}
	}
	return nil
}

// Observe takes what became of a forecast made with probability p: whether it happened, and when that was known.
// A p that is no probability changes nothing. An outcome that is older than the newest weighs the less for it,
// unless it is older by more than a half-life: then the clock went back, and is followed.
func (c *Calibration) Observe(p float64, happened bool, at time.Time) {
	if !(p >= 0 && p <= 1) {
		return
	}
	weight := c.age(at)
	outcome := 0.0
	if happened {
		outcome = 1
	}
	o := &c.Outcomes[binOf(p)]
	o.Count += weight
	o.Forecast += weight * p
	o.Happened += weight * outcome
	c.Squares += weight * (p - outcome) * (p - outcome)
}

// age lets the sums forget what lies between the newest outcome and one at a time, and returns the weight of the latter.
func (c *Calibration) age(at time.Time) float64 {
	if c.Latest.IsZero() {
		c.Latest = at
		return 1
	}
	lives := 0.0
	if c.HalfLife > 0 {
		lives = float64(at.Sub(c.Latest)) / float64(c.HalfLife)
	}
	if lives < -1 {
		c.Latest = at
		return 1
	}
	if !at.After(c.Latest) {
		return math.Exp2(lives)
	}
	c.Latest = at
	keep := math.Exp2(-lives)
	c.Squares *= keep
	for i := range c.Outcomes {
		o := &c.Outcomes[i]
		o.Count, o.Forecast, o.Happened = o.Count*keep, o.Forecast*keep, o.Happened*keep
	}
	return 1
}

func binOf(p float64) int { return min(int(p*Bins), Bins-1) }

// Apply returns the calibrated probability for p: p itself while nothing is known, never less for a larger p, 0 for 0 and
// 1 for 1. What is no probability is drawn into 0 to 1, NaN to 0.
func (c *Calibration) Apply(p float64) float64 {
	if !(p > 0) {
		return 0
	}
	if p >= 1 {
		return 1
	}
	from, to := c.curve()
	i := 1
	for p > from[i] {
		i++
	}
	if from[i] <= from[i-1] {
		return to[i]
	}
	part := (p - from[i-1]) / (from[i] - from[i-1])
	return to[i-1] + part*(to[i]-to[i-1])
}

// curve returns the corners of the calibration: from (0, 0) over one of each bin to (1, 1).
func (c *Calibration) curve() (from, to [Bins + 2]float64) {
	var weights [Bins]float64
	for i, o := range c.Outcomes {
		// The forecasts that were confirmed in advance lie in the middle of the bin.
		middle := (float64(i) + 0.5) / Bins
		weight := o.Count + calibrationPrior
		at := (o.Forecast + calibrationPrior*middle) / weight
		from[i+1], to[i+1], weights[i] = at, (o.Happened+calibrationPrior*at)/weight, weight
	}
	isotonic(to[1:Bins+1], weights[:])
	from[Bins+1], to[Bins+1] = 1, 1
	return from, to
}

// isotonic replaces values by those that never fall and are nearest to them, in weighted squares. Of the weights,
// whose values it spoils, none is 0.
func isotonic(values, weights []float64) {
	var length [Bins]int // of the pools so far
	n := 0
	for i := range values {
		values[n], weights[n], length[n] = values[i], weights[i], 1
		for n > 0 && values[n-1] > values[n] {
			w := weights[n-1] + weights[n]
			values[n-1] = (values[n-1]*weights[n-1] + values[n]*weights[n]) / w
			weights[n-1] = w
			length[n-1] += length[n]
			n--
		}
		n++
	}
	for i := len(values) - 1; n > 0; n-- {
		for range length[n-1] {
			values[i] = values[n-1]
			i--
		}
	}
}
