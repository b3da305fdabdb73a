package forecasting

import "math"

// feature is what the model looks at. The order is that of the models.
type feature int

const (
	fHorizon       feature = iota // steps
	fWay                          // share of the way from the base to the capacity that is behind
	fRate12                       // headroom that a trend of so many steps takes in a horizon
	fRate36                       //
	fRate72                       //
	fRate144                      //
	fRate288                      //
	fScore36                      // certainty of that trend
	fScore72                      //
	fScore144                     //
	fScore288                     //
	fFloorRate                    // headroom that the trend of the blocks' minima takes: six blocks
	fFloorLong                    // and 24 blocks
	fCeilRate                     // the same of their maxima
	fCeilLong                     //
	fRise24                       // share of the way made in so many steps
	fRise72                       //
	fRise288                      //
	fRiseAll                      // since the lowest block of all
	fPrecedent24                  // growth less the largest before it, over the headroom
	fPrecedent72                  //
	fPrecedent288                 //
	fPrecedentMost                // largest growth before, to the headroom
	fSlowing36                    // change of the trend from one window to the next, in headrooms a horizon
	fSlowing72                    //
	fSlowing144                   //
	fJump                         // share of the last 72 steps' rise that one step made
	fJumps                        // and its three largest together
	fNoise                        // change from step to step over the headroom
	fSpread                       // residuals around the trend of 72 steps over the headroom
	fResets                       // how many of late
	fOverPeak                     // level over the highest of the last peaks, over the headroom
	fPeakRate                     // headroom that the trend of the peaks takes
	fTroughRate                   // and of the troughs
	fTooth                        // highest of the last rises from the last trough, over the capacity
	fToothAge                     // steps since the last trough over the mean time between troughs
	fSinceReset                   // steps since the last peak, in horizons
	fAbove                        // share of steps at or over the capacity
	fPast                         // how often it was reached within a horizon
	fHeadroom                     // headroom in units of the spread
	fByHeadroom                   // how often it was reached from such a headroom
	fByRise                       // how often such a rise followed
	fByHour                       // how often at this hour
	fYesterday                    // highest of yesterday's same horizon less the capacity, in units of the spread
	fPeakDay                      // highest of the last day, the same
	fPeakHour                     // highest of the last twelve steps, the same
	fReach36                      // horizons until the upper edge of that trend is at the capacity
	fReach72
	fReach144
	fReach288
	fReachBest // of the longest window over which the trend is straight
	fSure36    // how sure it is within one horizon, in standard errors of the slope
	fSure72
	fSure144
	fSure288
	fSureBest
	fStraight             // length of that window, in horizons
	featuresBefore = iota // how many until here; onset.go has more
)

const featureCount = int(features_)

var windows = [...]int64{12, 18, 24, 36, 54, 72, 108, 144, 216, 288}

const (
	at12, at36, at72, at144, at288 = 0, 3, 5, 7, 9
)

// view is what several features need.
type view struct {
	level, headroom, base, way, sd float64
	horizon                        float64
	lines                          [len(windows)]line
}

// features writes what the model looks at. All values are finite.
func (b *Breach) features(f *[featureCount]float64) {
	v := b.look()
	f[fHorizon], f[fWay] = v.horizon, v.way
	b.trends(&v, f)
	b.reach(&v, f)
	b.growth(&v, f)
	b.shape(&v, f)
	b.sawtooth(&v, f)
	b.recurrence(&v, f)
	b.onset(&v, f)
	b.againFeatures(&v, f)
	for i, x := range f {
		if math.IsNaN(x) {
			f[i] = 0
		} else {
			f[i] = math.Max(-1e4, math.Min(1e4, x))
		}
	}
}

func (b *Breach) look() view {
	v := view{horizon: float64(b.horizon), sd: b.spread.sd(b.capacity)}
	b.lines(windows[:], v.lines[:])
	v.level = b.now()
	v.base = b.base()
	// What is left to the capacity; not less than its noise, so that rates stay finite.
	v.headroom = math.Max(b.capacity-v.level, math.Max(0.004*math.Abs(b.capacity-v.base), 1e-12))
	v.way = (v.level - v.base) / math.Max(b.capacity-v.base, v.headroom)
	return v
}

// now returns the level: the mean of the last six values without the lowest and the highest.
func (b *Breach) now() float64 {
	n := min(6, b.held())
	var sum float64
	low, high := math.Inf(1), math.Inf(-1)
	for i := range n {
		x := b.back(i)
		sum, low, high = sum+x, math.Min(low, x), math.Max(high, x)
	}
	if n < 3 {
		return sum / float64(n)
	}
	return (sum - low - high) / float64(n-2)
}

// base returns the level the series came from: the median of the blocks that are older than six
// horizons of blocks or, of a young series, of the older half.
func (b *Breach) base() float64 {
	n := b.whole()
	if n == 0 {
		return b.back(b.held() - 1)
	}
	from := min(int64(6), n/2)
	var buf [blocks]float32
	k := 0
	for i := from; i < n; i++ {
		buf[k] = b.mean[b.blockAt(i)]
		k++
	}
	return float64(quickMedian(buf[:k]))
}

// quickMedian returns the lower median and reorders v (Hoare's selection).
func quickMedian(v []float32) float32 {
	lo, hi, k := 0, len(v)-1, (len(v)-1)/2
	for lo < hi {
		pivot, i, j := v[(lo+hi)/2], lo, hi
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for v[j] > pivot {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return v[k]
		}
	}
	return v[k]
}

func (b *Breach) trends(v *view, f *[featureCount]float64) {
	h := v.horizon / v.headroom
	for k, w := range [...]int{at12, at36, at72, at144, at288} {
		f[int(fRate12)+k] = v.lines[w].slope * h
	}
	for k, w := range [...]int{at36, at72, at144, at288} {
		f[int(fScore36)+k] = v.lines[w].score
	}
	f[fFloorRate] = blockSlope(b, &b.low, 6) * h
	f[fFloorLong] = blockSlope(b, &b.low, 24) * h
	f[fCeilRate] = blockSlope(b, &b.high, 6) * h
	f[fCeilLong] = blockSlope(b, &b.high, 24) * h
	f[fSpread] = v.lines[at72].sd / v.headroom
	f[fNoise] = b.spread.noise / v.headroom
	f[fSlowing36] = (v.lines[at36].slope - b.slopeBefore(36)) * h
	f[fSlowing72] = (v.lines[at72].slope - b.slopeBefore(72)) * h
	f[fSlowing144] = (v.lines[at144].slope - b.slopeBefore(144)) * h
}

// slopeBefore returns the mean change per step in the n steps before the last n, by thirds: the last
// third less the first.
func (b *Breach) slopeBefore(n int64) float64 {
	if b.held() < 2*n {
		return 0
	}
	third := n / 3
	var first, last float64
	for i := range third {
		last += b.back(n + i)
		first += b.back(2*n - 1 - i)
	}
	return (last - first) / float64(third) / float64(n-third)
}

// blockSlope returns the slope per step of a line through the newest n blocks.
func blockSlope(b *Breach, of *[blocks]float32, n int64) float64 {
	n = min(n, b.whole())
	if n < 3 {
		return 0
	}
	var sy, sxy float64
	for i := range n {
		y := float64(of[b.blockAt(i)])
		sy, sxy = sy+y, sxy-float64(i)*y
	}
	m := float64(n)
	return (sxy + (m-1)/2*sy) / (m * (m*m - 1) / 12) / block
}
