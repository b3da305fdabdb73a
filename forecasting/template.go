package forecasting

import (
	"math"
	"time"
)

const (
	// templateSlots is into how many slots a day is cut: of ten minutes, or of a step when that is longer.
	templateSlots = 144
	// templateDays is over how many days of its kind a slot's values go.
	templateDays = 5
	// templateBound is how many spreads a value moves a slot at most.
	templateBound = 3
	// meanToSpread makes the standard deviation of a normal variable of its mean absolute deviation.
	meanToSpread = 1.2533141373155003
)

const (
	weekday = iota
	weekend
	dayKinds
)

// template is what a series is at each time of the day (UTC), on weekdays and at weekends: a mean and a spread,
// forgetting exponentially and robust, by an update that bounds what one value can do (Gelper, Fried and Croux, Robust
// forecasting with exponential and Holt-Winters smoothing, J. Forecasting 29, 2010).
type template struct {
	step  int64 // nanoseconds
	mean  [dayKinds][templateSlots]float32
	apart [dayKinds][templateSlots]float32 // mean absolute deviation
	count [dayKinds][templateSlots]uint16  // steps
	all   float32                          // mean absolute deviation of all slots
	seen  float32                          // steps, no more than matter
}

// slot returns the place of a step, counted since 1970.
func (t *template) slot(index int64) (kind, slot int) {
	const day = int64(24 * time.Hour)
	at := index * t.step
	days := floorDiv(at, day)
	if d := (days + 4) % 7; d == 0 || d == 6 || d == -1 { // 1970 began on a Thursday; Sunday is 0
		kind = weekend
	}
	return kind, int(min((at-days*day)/t.width(), templateSlots-1))
}

// width is how long a slot is.
func (t *template) width() int64 {
	const ten = int64(10 * time.Minute)
	return min(max(ten, t.step), int64(24*time.Hour))
}

// perDay is how many steps a slot has on a day.
func (t *template) perDay() float64 { return math.Max(1, float64(t.width())/float64(t.step)) }

// expect returns mean and spread of a step; ok is false when nothing is known of it. What the other kind of day says counts
// for the less the more days of its own kind a slot has seen.
func (t *template) expect(index int64) (mean, spread float64, ok bool) {
	kind, slot := t.slot(index)
	other := weekend - kind
	own, others := t.count[kind][slot], t.count[other][slot]
	if own == 0 && others == 0 {
		return 0, 0, false
	}
	days := float64(own) / t.perDay()
	w := 1 / (1 + days*days)
	switch {
	case own == 0:
		w = 1
	case others == 0:
		w = 0
	}
	mean = (1-w)*float64(t.mean[kind][slot]) + w*float64(t.mean[other][slot])
	apart := (1-w)*float64(t.apart[kind][slot]) + w*float64(t.apart[other][slot])
	// A young slot's spread is drawn towards that of all.
	all := 3 / (3 + math.Max(days, float64(others)/t.perDay()))
	return mean, meanToSpread * ((1-all)*apart + all*float64(t.all)), true
}

// take learns the value of a step, given what was expected of it.
func (t *template) take(index int64, v, mean, spread float64, known bool) {
	kind, slot := t.slot(index)
	n := &t.count[kind][slot]
	if *n < math.MaxUint16 {
		*n++
	}
	// The first value of a kind of day is all that is known of it; afterwards one is bounded.
	weight := 1 / math.Min(float64(*n), math.Max(1, templateDays*t.perDay()))
	off := v - float64(t.mean[kind][slot])
	if *n == 1 {
		t.mean[kind][slot] = float32(v)
		t.apart[kind][slot] = t.all
	} else {
		if bound := templateBound * spread; spread > 0 && float64(*n) > 2*t.perDay() {
			off = math.Max(-bound, math.Min(bound, off))
		}
		t.mean[kind][slot] += float32(weight * off)
		t.apart[kind][slot] += float32(weight) * (float32(math.Abs(off)) - t.apart[kind][slot])
	}
	if !known {
		return
	}
	apart := math.Abs(v - mean)
	if spread > 0 && t.seen > templateSlots {
		apart = math.Min(apart, templateBound*spread)
	}
	t.seen = min(t.seen+1, slowSteps)
	t.all += (float32(apart) - t.all) / t.seen
}

// slowSteps is over how many steps what hardly changes is estimated: two weeks of 5-minute steps.
const slowSteps = 4032

// age lets what was learnt count as one day at most: the next days soon outweigh it.
func (t *template) age() {
	most := uint16(math.Min(math.MaxUint16, t.perDay()))
	for k := range t.count {
		for i, n := range t.count[k] {
			t.count[k][i] = min(n, most)
		}
	}
}
