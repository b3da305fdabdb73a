package forecasting

import "math"

const turns = 4

// turn is a turning point.
type turn struct {
	value float32
	step  int32 // of the series
}

// swings follows the turning points of a series that are larger than its noise: the resets of a
// sawtooth among them.
type swings struct {
	falling bool
	extreme turn
	peaks   [turns]turn // the newest at 0
	troughs [turns]turn
	peaked  int32
	resets  float32 // falls that took fewer steps than the rise before; forgets
}

// take is called when the step is in the ring.
func (s *swings) take(b *Breach, x float32) {
	if b.seen >= 3 {
		x = float32((b.back(0) + b.back(1) + b.back(2)) / 3)
	}
	now := turn{x, int32(b.seen)}
	if b.seen == 1 {
		s.extreme = now
		return
	}
	s.resets *= 1 - slow
	least := float32(math.Max(4*b.spread.noise, 0.05*math.Abs(b.capacity-b.spread.level)))
	if s.falling {
		s.fall(now, least)
	} else {
		s.rise(now, least)
	}
}

func (s *swings) rise(now turn, least float32) {
	if now.value >= s.extreme.value {
		s.extreme = now
	} else if now.value < s.extreme.value-least {
		if s.peaked > 0 && now.step-s.extreme.step < (s.extreme.step-s.troughs[0].step)/2 {
			s.resets++
		}
		copy(s.peaks[1:], s.peaks[:turns-1])
		s.peaks[0], s.peaked = s.extreme, s.peaked+1
		s.falling, s.extreme = true, now
	}
}

func (s *swings) fall(now turn, least float32) {
	if now.value <= s.extreme.value {
		s.extreme = now
	} else if now.value > s.extreme.value+least {
		copy(s.troughs[1:], s.troughs[:turns-1])
		s.troughs[0] = s.extreme
		s.falling, s.extreme = false, now
	}
}
