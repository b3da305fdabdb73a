package forecasting

import "math"

const (
	// anomalyPeaks is how many of the largest peaks are remembered.
	anomalyPeaks = 10
	// anomalyBurst is how many points without a new peak end a burst. A burst counts as one peak, for the
	// points of a burst depend on each other (declustering; see Coles, An Introduction to Statistical
	// Modeling of Extreme Values, 2001, section 5.3).
	anomalyBurst = 12
	// anomalyMemory is how many points are remembered.
	anomalyMemory = 16384
	// anomalyBeyond limits what a value beyond all that was seen adds to its surprise.
	anomalyBeyond = 5
	// anomalyFall is how far the least of the peaks sinks when one is forgotten, in mean excesses over it.
	anomalyFall = 0.1
)

// anomalyExtremes are the largest peaks of a feature.
type anomalyExtremes struct {
	// top holds the peaks, the largest first; of these, the first n are there.
	top [anomalyPeaks]float32
	// peak is the largest value of the burst under way, quiet the points since.
	peak  float32
	n     uint8
	quiet uint8
}

// surprise is the logarithm of how many bursts there were for each one that reached v: by its rank
// among the peaks, interpolated, and for a new record by the excess over the old one in units of the
// mean excess, as if the tail fell slower than exponentially. It is 0 for what is not among them.
// points is how many points are remembered.
func (e *anomalyExtremes) surprise(v float32, points float64) float64 {
	if e.n < 2 || v <= e.top[e.n-1] {
		return 0
	}
	bursts := points / anomalyBurst
	if v <= e.top[0] {
		i := e.rank(v)
		part := float64(v-e.top[i]) / float64(e.top[i-1]-e.top[i])
		return math.Log(bursts / (float64(i+1) - part))
	}
	excess := float64(v) - float64(e.top[0])
	mean := e.meanExcess()
	if mean <= 0 {
		mean = 1e-3 * math.Abs(float64(e.top[0]))
	}
	if excess >= mean*math.Expm1(anomalyBeyond) {
		return math.Log(bursts) + anomalyBeyond
	}
	return math.Log(bursts) + math.Log1p(excess/mean)
}

// rank is how many of the peaks are at least v.
func (e *anomalyExtremes) rank(v float32) int {
	i := 0
	for i < int(e.n) && e.top[i] >= v {
		i++
	}
	return i
}

// meanExcess is by how much the peaks exceed the least of them, on average.
func (e *anomalyExtremes) meanExcess() float64 {
	least, sum := float64(e.top[e.n-1]), 0.0
	for _, p := range e.top[:e.n-1] {
		sum += float64(p) - least
	}
	return sum / float64(e.n-1)
}

// add remembers v if it is a peak.
func (e *anomalyExtremes) add(v float32) {
	switch {
	case v > e.peak:
		if e.n < anomalyPeaks || v > e.top[e.n-1] {
			e.insert(v)
		}
		e.peak = v
		e.quiet = 0
	case e.quiet == anomalyBurst:
		e.peak = float32(math.Inf(-1))
		e.quiet = 0
	default:
		e.quiet++
	}
}

// insert puts v among the peaks, in place of the peak of the same burst if that is there.
func (e *anomalyExtremes) insert(v float32) {
	free := int(e.n)
	for i, p := range e.top[:e.n] {
		if p == e.peak {
			free = i
			break
		}
	}
	switch {
	case free < int(e.n):
	case e.n < anomalyPeaks:
		e.n++
	default:
		free = anomalyPeaks - 1
	}
	for free > 0 && e.top[free-1] < v {
		e.top[free] = e.top[free-1]
		free--
	}
	e.top[free] = v
}

// forget drops one of the peaks, each in turn. What is then the least of them is a little less than the least
// before: were it as low as any value, ordinary ones would count as peaks.
func (e *anomalyExtremes) forget(turn int) {
	if e.n < anomalyPeaks {
		return
	}
	const stride = 3 // prime to the number of peaks: large and small ones are dropped alike
	fall := anomalyFall * e.meanExcess()
	least := e.top[anomalyPeaks-1]
	i := turn * stride % anomalyPeaks
	copy(e.top[i:], e.top[i+1:])
	e.top[anomalyPeaks-1] = float32(float64(least) - fall)
}
