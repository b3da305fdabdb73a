package forecasting

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	// residualBins is into how many bins of residualWidth spreads residuals are counted, from residualLeast on.
	residualBins  = 64
	residualWidth = 0.25
	residualLeast = -4.0
	// residualPrior is how many residuals the first guess weighs: that they are normal.
	residualPrior = 50
	// residualTail is the share of the largest residuals, of which the tail beyond them is made.
	residualTail = 0.02
	// farLag is over how many steps the slow autocorrelation is measured.
	farLag = 12
	// mostScore bounds normal scores: beyond, a chance is less than one in a hundred million.
	mostScore = 5.5
)

// residuals are what is left of a series when its template is taken away, in spreads: their distribution, and how
// they follow each other.
//
// By their rank they are made normal scores (a Gaussian copula: their dependence apart from their distribution). Of
// these a part is noise, the rest a Gaussian process of first order, slow: share·keep^k is their autocorrelation at lag k,
// by that at lags 1 and 12. Where the slow part is now is followed by a Kalman filter.
type residuals struct {
	bins  [residualBins]float32
	total float32
	// weight is what the next residual counts: more than the one before, which makes that one be forgotten.
	weight float32
	// excess is the mean by which residuals exceed tail, that of which residualTail are larger.
	tail, excess float64

	last [farLag]float32 // scores, the newest at (run-1)%farLag
	run  int64           // steps without a gap
	n    int64
	// square, near and far are means of the squared score and of products at lags 1 and farLag.
	square, near, far float64
	// share and keep are of the slow part, now and doubt its mean and variance.
	share, keep float64
	now, doubt  float64
	// high are the rises above highScore, full those above the capacity.
	high, full rises
}

func newResiduals() residuals {
	r := residuals{total: residualPrior, weight: 1}
	below := 0.0
	for i := range r.bins {
		upTo := distuv.UnitNormal.CDF(residualLeast + residualWidth*float64(i+1))
		r.bins[i] = float32(residualPrior * (upTo - below))
		below = upTo
	}
	r.fitTail()
	return r
}

// fitTail makes an exponential tail of the largest residuals: excesses over a high threshold are generalised Pareto
// (Pickands, Ann. Statist. 3, 1975), here of shape 0, as load has no heavy tail: its capacity bounds it.
func (r *residuals) fitTail() {
	over, sum := 0.0, 0.0
	i := residualBins
	for i > 0 && over < residualTail*float64(r.total) {
		i--
		over += float64(r.bins[i])
		sum += float64(r.bins[i]) * (float64(i) + 0.5)
	}
	r.tail = residualLeast + residualWidth*float64(i)
	r.excess = math.Max(residualWidth/2, residualWidth*(sum/over-float64(i)))
}

// beyond returns the probability that a residual is larger than z.
func (r *residuals) beyond(z float64) float64 {
	place := (z - residualLeast) / residualWidth
	over := 0.0
	first := int(math.Max(0, math.Min(math.Ceil(place), residualBins)))
	if z > r.tail {
		first = int((r.tail-residualLeast)/residualWidth + 0.5)
	}
	for i := first; i < residualBins; i++ {
		over += float64(r.bins[i])
	}
	total := float64(r.total)
	if z > r.tail {
		return over / total * math.Exp((r.tail-z)/r.excess)
	}
	if first > 0 {
		over += float64(r.bins[first-1]) * (float64(first) - place)
	}
	return math.Min(1, over/total)
}

// score returns the normal score of a residual: how many deviations a normal variable as rare as it is from its mean.
func (r *residuals) score(z float64) float64 {
	p := r.beyond(z)
	if p < 1e-9 {
		return mostScore
	}
	if p > 1-1e-9 {
		return -mostScore
	}
	return math.Max(-mostScore, math.Min(mostScore, -distuv.UnitNormal.Quantile(p)))
}

// quantile returns the residual that is larger than a share p of them.
func (r *residuals) quantile(p float64) float64 {
	below, want := 0.0, p*float64(r.total)
	for i, n := range r.bins {
		if below+float64(n) >= want && n > 0 {
			return residualLeast + residualWidth*(float64(i)+(want-below)/float64(n))
		}
		below += float64(n)
	}
	return -residualLeast
}

// skip lets steps pass without a measurement.
func (r *residuals) skip(steps int64) {
	r.forget(math.Pow(r.keep, float64(min(steps, slowSteps))))
	r.run, r.high.below, r.full.below = 0, 0, 0
}

// forget draws the slow part towards its mean; keep is how much of it is left.
func (r *residuals) forget(keep float64) {
	r.now *= keep
	r.doubt = keep*keep*r.doubt + r.share*(1-keep*keep)
}

// take learns the residual of a step that follows the last one; capacity is the one that would have reached the capacity.
func (r *residuals) take(z, capacity float64) {
	u := r.score(z)
	r.forget(r.keep)
	sd := math.Sqrt(r.doubt + noiseOf(r.share))
	r.high.take(u, highScore, r.now, sd)
	r.full.take(u, r.score(capacity), r.now, sd)
	gain := r.doubt / (r.doubt + noiseOf(r.share))
	r.now += gain * (u - r.now)
	r.doubt -= gain * r.doubt
	r.follow(u)
	r.count(z)
}

// follow measures how scores follow each other.
func (r *residuals) follow(u float64) {
	r.n = min(r.n+1, slowSteps)
	w := 1 / float64(r.n+residualPrior)
	r.square += w * (u*u - r.square)
	if r.run >= 1 {
		r.near += w * (u*float64(r.last[(r.run-1)%farLag]) - r.near)
	}
	if r.run >= farLag {
		r.far += w * (u*float64(r.last[r.run%farLag]) - r.far)
	}
	r.last[r.run%farLag] = float32(u)
	r.run++
}

// count puts a residual into its bin. Now and then, and for a large one, it renews what is made of the counts.
func (r *residuals) count(z float64) {
	i := int(math.Max(0, math.Min((z-residualLeast)/residualWidth, residualBins-1)))
	r.bins[i] += r.weight
	r.total += r.weight
	if r.weight *= 1 + 1.0/slowSteps; r.weight > 2 {
		for i := range r.bins {
			r.bins[i] /= r.weight
		}
		r.total /= r.weight
		r.weight = 1
	}
	if r.n < 2*residualPrior || r.run%8 == 0 || z > r.tail {
		r.fitTail()
		r.share, r.keep = r.slow()
	}
}

// slow returns the share of the slow part in the variance of the scores, and how much of it is kept from one step to
// the next.
func (r *residuals) slow() (share, keep float64) {
	if r.square <= 0 {
		return 0, 0
	}
	near, far := r.near/r.square, r.far/r.square
	if near < 0.05 {
		return 0, 0
	}
	if far < 0.02 {
		return 1, math.Min(near, 0.995) // as good as none at the far lag: of first order, without noise
	}
	keep = math.Min(math.Pow(far/near, 1.0/(farLag-1)), 0.995)
	keep = math.Max(keep, math.Min(near, 0.995))
	return math.Min(1, near/keep), keep
}

// noiseOf returns the variance of the noise in scores, never nothing.
func noiseOf(share float64) float64 { return math.Max(1-share, 0.05) }
