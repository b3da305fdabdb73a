package forecasting

// Bin is one part of a reliability diagram.
type Bin struct {
	// From is the least probability that belongs to the bin; the next bin's is the end.
	From float64
	// Count is how many outcomes there were, each weighing the less the older it is.
	Count float64
	// Forecast is the mean probability that was forecast, Observed the share that happened; both 0 without outcomes.
	Forecast, Observed float64
}

// Reliability returns the bins of the forecasts as they were observed, before any correction. To see how good
// corrected ones are, let a second Calibration observe what Apply returned.
func (c *Calibration) Reliability() []Bin {
	bins := make([]Bin, Bins)
	for i, o := range c.Outcomes {
		bins[i] = Bin{From: float64(i) / Bins, Count: o.Count}
		if o.Count > 0 {
			bins[i].Forecast, bins[i].Observed = min(1, o.Forecast/o.Count), min(1, o.Happened/o.Count)
		}
	}
	return bins
}

// sums returns how many outcomes there are and how many of them happened.
func (c *Calibration) sums() (count, happened float64) {
	for _, o := range c.Outcomes {
		count, happened = count+o.Count, happened+o.Happened
	}
	return count, happened
}

// Brier returns the mean squared difference of forecast and outcome, 0 at best: Brier, Verification of forecasts
// expressed in terms of probability, Mon. Weather Rev. 78 (1950), in its form for two classes. It is 0 without outcomes.
func (c *Calibration) Brier() float64 {
	count, _ := c.sums()
	if count <= 0 {
		return 0
	}
	return min(1, c.Squares/count)
}

// Skill returns by what part the forecasts are better, by Brier, than always forecasting the share that happens:
// 1 at best, below 0 when they are worse. It is 0 while all, or none, happened, for then there is nothing to tell apart.
func (c *Calibration) Skill() float64 {
	count, happened := c.sums()
	if happened <= 0 || happened >= count {
		return 0
	}
	share := happened / count
	return max(1-c.Brier()/(share*(1-share)), -largest)
}

// ECE returns the expected calibration error: by how much the share that happens differs from the forecast, on the mean of the
// outcomes, by bins (Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian
// binning, AAAI 2015). It is 0 without outcomes.
func (c *Calibration) ECE() float64 {
	count, off := 0.0, 0.0
	for _, o := range c.Outcomes {
		count += o.Count
		off += max(o.Forecast-o.Happened, o.Happened-o.Forecast)
	}
	if count <= 0 {
		return 0
	}
	return min(1, off/count)
}
