package forecasting

import "math"

// hinge is a level that is flat until its onset and a straight line from there on: least squares over all
// onsets, as in Hudson, Fitting segmented curves whose join points have to be estimated, JASA 61 (1966).
type hinge struct {
	base, slope float64 // before the onset; per point from there on
	onset       int     // the last point that is flat
	end         float64 // of the line at the newest point
	sd          float64 // of the residuals
	fit         float64 // share of the variance that the line explains
}

// hingeOf fits a hinge that rises to y, the oldest point first. Without any that rises, slope is 0 and the onset
// the newest point.
func hingeOf(y []float64) hinge {
	n := float64(len(y))
	var sum, square float64
	for _, v := range y {
		d := v - y[0] // near nothing: no loss of digits
		sum, square = sum+d, square+d*d
	}
	mean := sum / n
	total := math.Max(0, square-n*mean*mean)
	out := hinge{base: y[0] + mean, end: y[0] + mean, onset: len(y) - 1, sd: math.Sqrt(total / n)}
	best, tail, weighed := 1e-12*square, 0.0, 0.0 // explained; sums of y and of (t-k)y after k
	for k := len(y) - 2; k >= 0; k-- {
		tail += y[k+1] - y[0]
		weighed += tail
		if k > len(y)-4 {
			continue
		}
		m := n - 1 - float64(k)
		steps := m * (m + 1) / 2
		spread := m*(m+1)*(2*m+1)/6 - steps*steps/n
		with := weighed - steps*mean
		if with <= 0 || with*with/spread <= best {
			continue
		}
		best = with * with / spread
		out.slope, out.onset = with/spread, k
		out.base = y[0] + mean - out.slope*steps/n
		out.end = out.base + out.slope*m
		out.sd = math.Sqrt(math.Max(0, total-best) / n)
		out.fit = best / total
	}
	return out
}

// rise is what happened since the onset of a hinge, as shares of the rise.
type rise struct {
	quarter, half, late float64 // made in so much of the time
	fall                float64 // the deepest fall from a peak
	jump, jumps         float64 // the largest change from point to point, and the two next to it on the mean
	idle                float64 // share of the time since the highest point
}

// riseOf returns how y rose since the onset of its hinge.
func riseOf(y []float64, h hinge) rise {
	var r rise
	all := h.end - h.base
	after := y[h.onset:]
	n := len(after) - 1
	if n < 3 || !(all > 0) {
		return r
	}
	at := func(part float64) float64 {
		m, width := int(part*float64(n)), n/8
		sum := 0.0
		for i := m - width; i <= m+width; i++ {
			sum += after[i]
		}
		return (sum/float64(2*width+1) - h.base) / all
	}
	r.quarter, r.half, r.late = at(0.25), at(0.5), at(0.75)
	var top [3]float64
	peak, when := after[0], 0
	for i := 1; i <= n; i++ {
		if after[i] > peak {
			peak, when = after[i], i
		}
		r.fall = math.Max(r.fall, peak-after[i])
		d := after[i] - after[i-1]
		for k := range top {
			if d > top[k] {
				copy(top[k+1:], top[k:len(top)-1])
				top[k] = d
				break
			}
		}
	}
	r.fall /= all
	r.jump, r.jumps = top[0]/all, (top[1]+top[2])/2/all
	r.idle = float64(n-when) / float64(n)
	return r
}
