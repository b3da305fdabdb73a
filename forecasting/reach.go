package forecasting

import "math"

// never is the reach of a trend that does not lead to the capacity, in horizons.
const never = 8

// reach writes when the upper edge of each trend is at the capacity, and how sure that is.
func (b *Breach) reach(v *view, f *[featureCount]float64) {
	at := [...]int{at36, at72, at144, at288}
	for k, w := range at {
		f[int(fReach36)+k], f[int(fSure36)+k] = b.reachOf(v, v.lines[w])
	}
	best := v.straightest()
	f[fReachBest], f[fSureBest] = b.reachOf(v, v.lines[best])
	f[fStraight] = float64(v.lines[best].n) / v.horizon
}

// reachOf returns the horizons until the line's upper edge, its highest residual, is at the capacity,
// and by how many standard errors the slope is more than what gets there in one horizon.
func (b *Breach) reachOf(v *view, l line) (horizons, sure float64) {
	gap := b.gap(l)
	sure = math.Max(-20, math.Min(20, (l.slope-gap/v.horizon)/v.error(l)))
	if l.slope <= gap/v.horizon/never {
		return never, sure
	}
	return gap / (l.slope * v.horizon), sure
}

// gap returns how far the upper edge of a line, its highest residual, is from the capacity.
func (b *Breach) gap(l line) float64 {
	edge := math.Inf(-1)
	for i := range l.n {
		edge = math.Max(edge, b.back(i)+l.slope*float64(i))
	}
	return math.Max(b.capacity-edge, 0)
}

// error returns the standard error of a line's slope, never nothing.
func (v *view) error(l line) float64 {
	least := 1e-6*v.headroom + l.sd/float64(max(1, l.n))*1e-3
	if l.score == 0 {
		return math.Max(least, v.headroom/v.horizon)
	}
	return math.Max(least, math.Abs(l.slope/l.score))
}

// Reach returns the guess with which the time begins: the earlier of what growth over a day and over five days
// says, the features "onset-reach" and "onset-reach-long", within bounds.
func Reach(day, days float64) float64 {
	return math.Max(0.02, math.Min(farthest, math.Min(day, days)))
}

// straightest returns the longest window over which the residuals are hardly larger than over the
// shorter ones: the trend began before it.
func (v *view) straightest() int {
	best := 2
	for k := best + 1; k < len(v.lines); k++ {
		if v.lines[k].n == v.lines[k-1].n || v.lines[k].sd > 1.35*v.lines[best].sd+1e-6*v.headroom {
			break
		}
		best = k
	}
	return best
}
