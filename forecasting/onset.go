package forecasting

import "math"

// The features of the time since growth began, seen twice: over a day in points of four steps, and over
// five days in blocks. The first of each kind is that of the day, the one after it that of the five days.
const (
	fOnsetWay     = iota + featuresBefore // share of the way from the level before the onset to the capacity
	fOnsetWayLong                         //
	fOnsetAge                             // horizons since the onset
	fOnsetAgeLong
	fOnsetReach // horizons until the line is at the capacity
	fOnsetReachLong
	fOnsetSure // by how many standard deviations it is beyond the capacity in one horizon
	fOnsetSureLong
	fOnsetFit // share of the variance that flat and then straight explains
	fOnsetFitLong
	fQuarter // share of the rise in the first quarter of its time
	fQuarterLong
	fHalf // in the first half
	fHalfLong
	fLate // in the first three quarters
	fLateLong
	fFall // deepest fall since the onset over the rise
	fFallLong
	fStair // largest change from point to point over the rise
	fStairLong
	fStairs // the two next to it on the mean
	fStairsLong
	fIdle // share of the time since the highest point
	fIdleLong
	fEdgeWay   // the way, of the upper edge over five days
	fEdgeReach // and its reach
	fEdgeSure  // and how sure it is
	fRecord    // level over the highest block before the last horizon, over the headroom
	fRecordWay // that highest block on the way to the capacity
	fExceeded  // share of blocks that were as high as the level
	fTomorrow  // highest of yesterday's same horizon, raised by the growth of a day, on the way to the capacity
	fRate576   // headroom that the trend of two days takes in a horizon
	fRate1152  // and of four
	fScore576  // certainty of that trend
	fScore1152
	fTread           // share of the last 36 changes that are next to none beside their mean
	fDrops           // falls over rises of these changes
	fTails           // their fourth moment over the square of the second: stairs
	fRougher         // how much larger they are than in the day before
	featuresOfGrowth // how many until here; again_features.go has the others
)

// OnlyGrowth says whether a feature is for the models of exhaustion alone.
func OnlyGrowth(i int) bool { return i >= fOnsetWay && i <= fRougher }

// farthest is the reach of growth that does not lead to the capacity, in horizons.
const farthest = 16

// onset writes what is known of the time since growth began.
func (b *Breach) onset(v *view, f *[featureCount]float64) {
	var day [recent / 4]float64
	b.rising(v, f, 0, b.points(&day), 4)
	var means, highs [blocks]float64
	n := int(b.whole())
	if n < 4 {
		return
	}
	for i := range n {
		at := b.blockAt(int64(n - 1 - i))
		means[i], highs[i] = float64(b.mean[at]), float64(b.high[at])
	}
	b.rising(v, f, 1, means[:n], block)
	edge := hingeOf(highs[:n])
	b.grain(f)
	f[fEdgeWay] = b.way(edge.base, edge.end, v)
	f[fEdgeReach], f[fEdgeSure] = b.reachOfHinge(v, edge, block)
	b.records(v, f, highs[:n])
	b.longTrends(v, f, means[:n])
}

// points returns the means of four steps each, the oldest first.
func (b *Breach) points(day *[recent / 4]float64) []float64 {
	n := b.held() / 4
	for i := range n {
		k := 4 * (n - 1 - i)
		day[i] = (b.back(k) + b.back(k+1) + b.back(k+2) + b.back(k+3)) / 4
	}
	return day[:n]
}

func (b *Breach) way(base, level float64, v *view) float64 {
	return (level - base) / math.Max(b.capacity-base, v.headroom)
}

// rising writes the features of a hinge through points of so many steps.
func (b *Breach) rising(v *view, f *[featureCount]float64, long int, y []float64, steps float64) {
	if len(y) < 4 {
		return
	}
	h := hingeOf(y)
	r := riseOf(y, h)
	f[fOnsetWay+long] = b.way(h.base, h.end, v)
	f[fOnsetAge+long] = float64(len(y)-1-h.onset) * steps / v.horizon
	f[fOnsetReach+long], f[fOnsetSure+long] = b.reachOfHinge(v, h, steps)
	f[fOnsetFit+long] = h.fit
	f[fQuarter+long], f[fHalf+long], f[fLate+long] = r.quarter, r.half, r.late
	f[fFall+long], f[fStair+long], f[fStairs+long], f[fIdle+long] = r.fall, r.jump, r.jumps, r.idle
}

// reachOfHinge returns the horizons until the line is at the capacity, and by how many standard deviations
// it is beyond in one.
func (b *Breach) reachOfHinge(v *view, h hinge, steps float64) (horizons, sure float64) {
	gap, perHorizon := math.Max(b.capacity-h.end, 0), h.slope/steps*v.horizon
	sure = math.Max(-20, math.Min(20, (perHorizon-gap)/(h.sd+1e-3*v.headroom)))
	if perHorizon <= gap/farthest {
		return farthest, sure
	}
	return gap / perHorizon, sure
}

// records compares the level with the highest there was.
func (b *Breach) records(v *view, f *[featureCount]float64, highs []float64) {
	before := max(1, len(highs)-int(v.horizon)/block)
	top, as := math.Inf(-1), 0.0
	for i, x := range highs {
		if i < before {
			top = math.Max(top, x)
		}
		if x >= v.level {
			as++
		}
	}
	f[fRecord] = (v.level - top) / v.headroom
	f[fRecordWay] = b.way(v.base, top, v)
	f[fExceeded] = as / float64(len(highs))
	day, h := int64(recent), int64(v.horizon)
	if b.held() < day || h > day {
		f[fTomorrow] = f[fWay]
		return
	}
	var then float64
	high := math.Inf(-1)
	for i := day - h; i < day; i++ {
		high = math.Max(high, b.back(i))
	}
	for i := day - 6; i < day; i++ {
		then += b.back(i) / 6
	}
	f[fTomorrow] = b.way(v.base, high+math.Max(0, v.level-then), v)
}

func (b *Breach) longTrends(v *view, f *[featureCount]float64, means []float64) {
	for k, n := range [...]int{48, 96} {
		y := means[max(0, len(means)-n):]
		l := lineThrough(y)
		f[fRate576+k] = l.slope / block * v.horizon / v.headroom
		f[fScore576+k] = l.score
	}
}

// lineThrough fits a line to y, the oldest first.
func lineThrough(y []float64) line {
	var n, sy, sxy, syy, lag, last float64
	newest := y[len(y)-1]
	for i := range y {
		d := y[len(y)-1-i] - newest
		n++
		sy, syy, sxy = sy+d, syy+d*d, sxy-float64(i)*d
		if i > 0 {
			lag += (d - last) * (d - last)
		}
		last = d
	}
	return fit(n, sy, sxy, syy, lag, newest)
}

// grain writes of what small changes the last growth is made.
func (b *Breach) grain(f *[featureCount]float64) {
	const last = 36
	n := b.held() - 1
	if n < 2*last {
		return
	}
	var up, down, square, fourth, before float64
	for i := range n {
		d := b.back(i) - b.back(i+1)
		if i >= last {
			before += math.Abs(d) / float64(n-last)
			continue
		}
		up, down = up+math.Max(d, 0), down+math.Max(-d, 0)
		square, fourth = square+d*d, fourth+d*d*d*d
	}
	mean := (up + down) / last
	flat := 0.0
	for i := range int64(last) {
		if math.Abs(b.back(i)-b.back(i+1)) <= mean/4 {
			flat++
		}
	}
	f[fTread], f[fDrops] = flat/last, down/(up+down)
	f[fTails] = fourth * last / (square * square)
	f[fRougher] = math.Log(mean / before)
}
