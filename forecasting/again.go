package forecasting

import (
	"math"
	"math/bits"
)

const (
	kept     = 4096      // steps of which it is kept whether the capacity was reached: two weeks of 5-minute steps
	lookBack = kept - 64 // of them can be looked back at: a word is cleared when it is begun
	gaps     = 12        // lengths of calm, two to an octave from half a horizon
	week     = 7         // days of which it is counted on how many the capacity was reached at this time
)

// paces are the weights of one step in the rates of late: half a day, three days, ten days of 5-minute steps.
var paces = [...]float32{1.0 / 144, 1.0 / 864, 1.0 / 2880}

// again remembers when the capacity was reached, and counts how often that happened after such a calm, and at
// a time of the day at which it had happened on so many days. Only steps that were calm for half a horizon are counted:
// to say that a series stays at its capacity is no forecast.
type again struct {
	reached              [kept / 64]uint64
	judged               float32
	rates                [len(paces)]float32
	gapTries, gapHits    [gaps]float32
	dayTries, dayHits    [week + 1]float32
	last                 int64 // the step after the last one at the capacity; 0: there was none
	typical, uncertainty float32
}

// take is called before step number b.seen is put into the ring.
func (a *again) take(b *Breach, x float32) {
	n, h := b.seen, int64(b.horizon)
	if n%64 == 0 {
		a.reached[n%kept/64] = 0
	}
	if float64(x) >= b.capacity {
		a.reached[n%kept/64] |= 1 << (n % 64)
		a.gap(n, h)
	}
	// The horizon of this step ends now.
	if s := n - h; s >= 0 && a.count(s+1-h/2, s+1) == 0 {
		a.judge(b, s, a.count(s+1, n+1) > 0)
	}
}

// gap learns how long the calm lasted that ends at step n.
func (a *again) gap(n, h int64) {
	if calm := n + 1 - a.last; a.last > 0 && calm > h/2 {
		d := float32(math.Log2(float64(calm)/float64(h))) - a.typical
		a.uncertainty += 0.15 * (d*d - a.uncertainty)
		a.typical += 0.15 * d
	}
	a.last = n + 1
}

// judge learns whether the capacity was reached within a horizon of step s.
func (a *again) judge(b *Breach, s int64, reached bool) {
	hit := float32(0)
	if reached {
		hit = 1
	}
	a.judged++
	for k, w := range paces {
		a.rates[k] += max(w, 1/(a.judged+24)) * (hit - a.rates[k])
	}
	h := int64(b.horizon)
	g, d := gapSlot(a.calm(s, lookBack-h), h), a.days(s, b.day(), h, lookBack-h)
	const keep = 1 - 1.0/4000
	a.gapTries[g], a.gapHits[g] = a.gapTries[g]*keep+1, a.gapHits[g]*keep+hit
	a.dayTries[d], a.dayHits[d] = a.dayTries[d]*keep+1, a.dayHits[d]*keep+hit
}

// gapSlot returns the place of so many steps of calm.
func gapSlot(calm, horizon int64) int {
	return int(math.Max(0, math.Min(gaps-1, 2*math.Log2(2*float64(calm)/float64(horizon)))))
}

// calm returns how many steps up to s and with it were below the capacity, at most so many.
func (a *again) calm(s, most int64) int64 {
	most = min(most, s+1)
	if a.last == 0 {
		return most
	}
	for d := int64(0); d < most; {
		i := (s - d) % kept
		if w := a.reached[i/64] << (63 - i%64); w != 0 {
			return min(most, d+int64(bits.LeadingZeros64(w)))
		}
		d += i%64 + 1
	}
	return most
}

// days returns on how many of the last seven days the capacity was reached within a horizon of this time of step s.
func (a *again) days(s, day, horizon, most int64) int {
	n := 0
	for k := int64(1); k <= week && k*day <= min(most, s+1); k++ {
		if from := s + 1 - k*day; a.count(from, min(from+horizon, s+1)) > 0 {
			n++
		}
	}
	return n
}

// count returns how many steps from one to another, without that, were at the capacity.
func (a *again) count(from, to int64) int {
	n := 0
	for from = max(from, 0); from < to; {
		i := from % kept
		w, length := a.reached[i/64]>>(i%64), min(64-i%64, to-from)
		if length < 64 {
			w &= 1<<length - 1
		}
		n += bits.OnesCount64(w)
		from += length
	}
	return n
}
