package backtest

import (
	"math"
	"time"
)

// fixedShare of the capacity is where a fixed threshold alerts.
const fixedShare = 0.85

// window holds the newest values of a series.
type window struct {
	ring  []float64
	taken int
}

func newWindow(length int) window { return window{ring: make([]float64, length)} }

func (w *window) Take(v float64) {
	w.ring[w.taken%len(w.ring)] = v
	w.taken++
}

// held is how many values can be looked back at; back(0) is the newest.
func (w *window) held() int          { return min(w.taken, len(w.ring)) }
func (w *window) back(i int) float64 { return w.ring[(w.taken-1-i)%len(w.ring)] }

// linear is predict_linear of Prometheus: the least-squares line over a window, prolonged by the horizon.
type linear struct {
	window
	capacity, horizon float64
}

var _ Forecaster = (*linear)(nil)

func newLinear(t Task, length time.Duration) *linear {
	return &linear{newWindow(t.per(length)), t.Capacity, float64(t.Horizon)}
}

func (l *linear) Look() Outlook {
	slope, now := l.line()
	o := silent(now+slope*l.horizon >= l.capacity)
	switch {
	case now >= l.capacity:
		o.In = 0
	case slope > 0:
		o.In = (l.capacity - now) / slope
	}
	return o
}

// line returns the slope per step and where the line is now; NaN for less than two values.
func (l *linear) line() (slope, now float64) {
	n := l.held()
	if n < 2 {
		return math.NaN(), math.NaN()
	}
	var sum, sumX float64
	middle, origin := float64(n-1)/2, l.back(0)
	for i := range n {
		y := l.back(i) - origin
		sum += y
		sumX += (middle - float64(i)) * y
	}
	count := float64(n)
	slope = sumX / (count * (count*count - 1) / 12)
	return slope, origin + sum/count + slope*middle
}

// fixed alerts while the series is at a threshold or above.
type fixed struct{ limit, value float64 }

var _ Forecaster = (*fixed)(nil)

func (f *fixed) Take(v float64) { f.value = v }

func (f *fixed) Look() Outlook { return silent(f.value >= f.limit) }

// yesterday forecasts what followed 24 hours ago.
type yesterday struct {
	window
	capacity     float64
	day, horizon int
}

var _ Forecaster = (*yesterday)(nil)

func newYesterday(t Task) *yesterday {
	day := t.per(24 * time.Hour)
	return &yesterday{newWindow(day), t.Capacity, day, min(t.Horizon, day)}
}

func (y *yesterday) Look() Outlook {
	if y.held() < y.day {
		return silent(false)
	}
	for ahead := 1; ahead <= y.horizon; ahead++ {
		if y.back(y.day-ahead) >= y.capacity {
			o := silent(true)
			o.In = float64(ahead)
			return o
		}
	}
	return silent(false)
}
