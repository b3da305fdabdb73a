package forecasting

import "math"

// certain is the score of a line without residuals.
const certain = 1000

// line is a least-squares line over the newest values of a series.
type line struct {
	n     int64
	slope float64 // per step
	end   float64 // of the line at the newest value
	sd    float64 // of the residuals
	score float64 // slope over its standard error, residuals that follow each other counted
}

// lines fits the newest lengths[k] values for each k, in one pass; lengths ascend. A window longer
// than what is held is fitted over what is held.
func (b *Breach) lines(lengths []int64, out []line) {
	var n, sy, sxy, syy, lag float64
	held, k := b.held(), 0
	var last float64
	for i := int64(0); i < held && k < len(lengths); i++ {
		y := b.back(i) - b.back(0) // near nothing: no loss of digits
		n++
		sy, syy, sxy = sy+y, syy+y*y, sxy-float64(i)*y
		if i > 0 {
			lag += (y - last) * (y - last)
		}
		last = y
		for k < len(lengths) && (i+1 == lengths[k] || i+1 == held) {
			out[k] = fit(n, sy, sxy, syy, lag, b.back(0))
			k++
		}
	}
}

// fit makes a line of the sums of y, xy, y² and squared differences of neighbours, x counting down
// from 0 at the newest.
func fit(n, sy, sxy, syy, lag, origin float64) line {
	l := line{n: int64(n), end: origin + sy/n}
	if n < 3 {
		return l
	}
	mx, my := -(n-1)/2, sy/n
	sxx := n * (n*n - 1) / 12
	l.slope = (sxy - n*mx*my) / sxx
	l.end = origin + my - l.slope*mx
	ss := math.Max(0, syy-n*my*my-l.slope*l.slope*sxx)
	l.sd = math.Sqrt(ss / n)
	if ss <= 1e-12*syy {
		l.score = math.Copysign(certain, l.slope)
		if l.slope == 0 {
			l.score = 0
		}
		return l
	}
	// Residuals of neighbours that are alike leave fewer independent ones: with the autocorrelation r
	// at lag 1, n(1-r)/(1+r) (Santer et al. 2000). Durbin and Watson's d is about 2(1-r).
	d := math.Max(0, lag-(n-1)*l.slope*l.slope) / ss
	r := math.Min(0.98, math.Max(0, 1-d/2))
	free := math.Max(1, n*(1-r)/(1+r)-2)
	l.score = math.Max(-certain, math.Min(certain, l.slope/math.Sqrt(ss/free/sxx)))
	return l
}
