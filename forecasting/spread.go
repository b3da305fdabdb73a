package forecasting

import "math"

// spread is how much a series moves: by itself from step to step, and around its level.
type spread struct {
	noise     float64 // mean absolute change from one step to the next
	level     float64 // mean, forgetting slowly
	variance  float64
	increment float64 // mean absolute change over a horizon
}

const slow = 1.0 / 1440 // five days of 5-minute steps

// take is called before the step is put into the ring.
func (s *spread) take(b *Breach, x float32) {
	if b.seen == 0 {
		s.level = float64(x)
		return
	}
	w := math.Max(slow, 1/float64(b.seen+1))
	s.noise += math.Max(w, 1.0/288) * (math.Abs(float64(x)-b.back(0)) - s.noise)
	d := float64(x) - s.level
	s.level += w * d
	s.variance += w * (d*d - s.variance)
	if h := int64(b.horizon); b.seen >= h {
		s.increment += math.Max(slow, 1/float64(b.seen-h+1)) * (math.Abs(float64(x)-b.back(h-1)) - s.increment)
	}
}

// sd returns the standard deviation around the level, never nothing.
func (s *spread) sd(capacity float64) float64 {
	return math.Max(math.Sqrt(s.variance), 1e-4*math.Max(math.Abs(capacity-s.level), 1e-9))
}
