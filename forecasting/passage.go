package forecasting

import (
	"math"
	"time"
)

const (
	headrooms = 20
	hours     = 24
)

// passage counts how often the capacity was reached within a horizon: by the headroom there was, by
// the hour of the day, and how large the largest rise was.
type passage struct {
	tries, hits         [headrooms]float32 // by headroom in units of the spread, two to an octave
	hourTries, hourHits [hours]float32
	rises               [headrooms]float32 // largest rises, on the same scale
	above               float32            // share of steps at or over the capacity
}

// take judges the step whose horizon is over now; x is the newest value, not yet in the ring.
func (p *passage) take(b *Breach, x float32) {
	c := float32(b.capacity)
	at := float32(0)
	if x >= c {
		at = 1
	}
	p.above += float32(math.Max(slow, 1/float64(b.seen+1))) * (at - p.above)
	h := int64(b.horizon)
	if b.seen < max(h, warmUp) {
		return
	}
	// The step whose horizon ends with x is h steps before it: h-1 before the newest of the ring.
	from, top := float32(b.back(h-1)), x
	for i := range h - 1 {
		top = max(top, float32(b.back(i)))
	}
	const keep = 1 - slow/2
	sd := b.spread.sd(b.capacity)
	rise := slot(float64(top-from), sd)
	for i := range p.rises {
		p.rises[i] *= keep
	}
	p.rises[rise]++
	if from >= c {
		return
	}
	hit := float32(0)
	if top >= c {
		hit = 1
	}
	i, j := slot(float64(c-from), sd), b.hour(-h)
	p.tries[i], p.hits[i] = p.tries[i]*keep+1, p.hits[i]*keep+hit
	p.hourTries[j], p.hourHits[j] = p.hourTries[j]*keep+1, p.hourHits[j]*keep+hit
}

// hour returns the hour of the day, in UTC, of the step so many steps after the open one.
func (b *Breach) hour(steps int64) int {
	t := (b.grid.index + steps) * b.grid.step % int64(24*time.Hour)
	if t < 0 {
		t += int64(24 * time.Hour)
	}
	return int(t / int64(time.Hour))
}

// slot returns the place of a distance on a scale of two to an octave, from an eighth of the spread.
func slot(d, sd float64) int {
	if d <= sd/8 {
		return 0
	}
	return int(math.Min(headrooms-1, 1+2*math.Log2(8*d/sd)))
}

// rate returns hits of tries, drawn towards a guess that weighs as much as 24 tries.
func rate(hits, tries, guess float64) float64 {
	return (hits + guess*24) / (tries + 24)
}

// overall returns how often the capacity was reached within a horizon, whatever the headroom.
func (p *passage) overall() (hits, tries float64) {
	for i := range p.tries {
		hits, tries = hits+float64(p.hits[i]), tries+float64(p.tries[i])
	}
	return hits, tries
}

// byHeadroom returns how often it was reached from about this headroom, byRise how often a rise of
// at least this headroom followed.
func (p *passage) byHeadroom(d, sd, guess float64) float64 {
	i := slot(d, sd)
	var hits, tries float64
	for j := max(0, i-1); j <= min(headrooms-1, i+1); j++ {
		w := 1.0
		if j != i {
			w = 0.5
		}
		hits, tries = hits+w*float64(p.hits[j]), tries+w*float64(p.tries[j])
	}
	return rate(hits, tries, guess)
}

func (p *passage) byRise(d, sd float64) float64 {
	i := slot(d, sd)
	var at, all float64
	for j, n := range p.rises {
		all += float64(n)
		switch {
		case j > i:
			at += float64(n)
		case j == i:
			at += float64(n) / 2
		}
	}
	return rate(at, all, 0)
}

func (p *passage) byHour(hour int, guess float64) float64 {
	var hits, tries float64
	for d := -1; d <= 1; d++ {
		i := (hour + d + hours) % hours
		w := 1.0
		if d != 0 {
			w = 0.5
		}
		hits, tries = hits+w*float64(p.hourHits[i]), tries+w*float64(p.hourTries[i])
	}
	return rate(hits, tries, guess)
}
