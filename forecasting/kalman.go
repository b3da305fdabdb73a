package forecasting

import "math"

// localTrend is a Kalman filter of a local linear trend: a level that grows by a slope, both of which wander, seen
// through noise. Variances are in units of that of the noise, whose own value is estimated on the way (Durbin and Koopman,
// Time Series Analysis by State Space Methods, 2nd ed. 2012, sections 2.10.2, 3.2.1 and 4.3).
type localTrend struct {
	level, slope float64
	// varLevel, varSlope and covar are the variances and the covariance of what is not known of level and slope.
	varLevel, varSlope, covar float64
	// noise is the variance of the noise.
	noise float64
}

// predict goes one step ahead, in which level and slope wander with the variances given.
func (k *localTrend) predict(wander, wanderSlope float64) {
	k.level += k.slope
	k.varLevel += 2*k.covar + k.varSlope + wander
	k.covar += k.varSlope
	k.varSlope += wanderSlope
}

// update takes what was seen in this step and returns by how much it was off, in standard deviations of what was to
// be expected, and their variance. What is off by more than bound counts as if it were off by bound: so an outlier
// moves the state no further than a large, but ordinary, error does (Masreliez and Martin, Robust Bayesian
// estimation for the linear model and robustifying the Kalman filter, IEEE Trans. Automat. Control 22, 1977).
func (k *localTrend) update(seen, bound float64) (off, variance float64) {
	f := k.varLevel + 1
	sd := math.Sqrt(f * k.noise)
	off = (seen - k.level) / sd
	e := sd * math.Max(-bound, math.Min(bound, off))
	gain, gainSlope := k.varLevel/f, k.covar/f
	k.level += gain * e
	k.slope += gainSlope * e
	k.varSlope = math.Max(0, k.varSlope-gainSlope*k.covar)
	k.covar -= gain * k.covar
	k.varLevel -= gain * k.varLevel
	return off, f * k.noise
}
