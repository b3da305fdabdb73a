package forecasting

import (
	"errors"
	"fmt"
	"math"
	"time"
)

const (
	// driftKnee is the part of the capacity up to which the scale is about linear; beyond it is logarithmic.
	driftKnee = 0.1
	// driftBound is how many standard deviations an error counts at most.
	driftBound = 3
	// driftPrior is how many steps the first guess of the noise weighs: a fiftieth of the scale.
	driftPrior = 4
	// driftMemory is over how many steps the noise is estimated.
	driftMemory = 144
	// driftBase is over how many steps the level goes that a series came from.
	driftBase = 1440
)

// driftWander is how much the level wanders in a step, as the variance to that of the noise, by hypothesis: hardly, some,
// or more than the noise hides.
var driftWander = [...]float64{1e-4, 1e-2, 0.3}

// Drift forecasts whether a noisy figure of quality, such as a share of errors, retransmits or a latency, grows to
// a limit: its level does, not its noise, and a burst is not its level. Figures are 0 or more.
//
// The figure is taken on the scale log(1 + v/k), where k is a tenth of the capacity: about linear where it is small,
// logarithmic where it is large, for such figures scatter by factors. On that scale a local linear trend is followed by
// Kalman filters (kalman.go) that bound what an outlier can do, under three hypotheses of how much the level wanders by itself,
// each weighing as much as it forecast the steps well (Magill, Optimal adaptive estimation of sampled stochastic
// processes, IEEE Trans. Automat. Control 10, 1965). When the level is at the capacity follows from the first passage
// of a Brownian motion with drift (first_passage.go), over what is not known of the slope.
//
// A Drift takes less than 1 KiB and is not safe for use by several goroutines.
type Drift struct {
	capacity float64
	horizon  int32
	grid     grid

	seen int64 // steps that are over, those without a measurement included
	bank bank
	past [2]bank // as it was at the last two multiples of pause steps
	base float64 // slow mean, on the scale

	alert bool
}

// bank holds a filter for each hypothesis.
type bank struct {
	filters [len(driftWander)]localTrend
	// logs are the logarithms of how well each hypothesis forecast, older steps weighing less.
	logs [len(driftWander)]float64
}

// pause is how many steps lie between the states that are remembered.
func (d *Drift) pause() int64 { return max(1, int64(d.horizon)/12) }

// driftAlert: open is well above an even chance, for the level of a figure that scatters by factors is soon there and back.
var driftAlert = thresholds{open: 0.6, close: 0.3}

// NewDrift returns a forecaster that has seen nothing. The capacity is the limit of the figure, more than 0.
func NewDrift(o Options) (*Drift, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if !(o.Capacity >= 1/largest) {
		return nil, errors.New("capacity: the limit of a figure of quality must be more than 0")
	}
	return &Drift{capacity: o.Capacity, horizon: int32(o.steps()), grid: grid{step: int64(o.step())}}, nil
}

// Update takes a measurement. Measurements come in the order of their times: one that is older than
// the open step changes nothing, and neither does one that is no number. Less than 0 counts as 0.
func (d *Drift) Update(at time.Time, v float64) {
	if v < 0 && v >= -largest {
		v = 0
	}
	switch what, gap := d.grid.look(at, v); what {
	case newLife:
		*d = Drift{capacity: d.capacity, horizon: d.horizon, grid: grid{step: d.grid.step}}
		d.grid.put(at, v)
	case nextStep:
		d.close()
		for range gap - 1 {
			d.predict()
		}
		d.grid.put(at, v)
	case sameStep:
		d.grid.add(v)
	case ignored:
	}
}

// scale returns a value on the scale of the filters, value the reverse.
func (d *Drift) scale(v float64) float64 { return math.Log1p(v / (driftKnee * d.capacity)) }

func (d *Drift) value(x float64) float64 {
	return driftKnee * d.capacity * math.Expm1(math.Max(0, math.Min(x, 60)))
}

// limit is the capacity on the scale.
func (d *Drift) limit() float64 { return math.Log1p(1 / driftKnee) }

// predict lets a step pass.
func (d *Drift) predict() {
	if d.seen%d.pause() == 0 {
		d.past[1], d.past[0] = d.past[0], d.bank
	}
	slope := d.wanderSlope()
	for i := range d.bank.filters {
		d.bank.filters[i].predict(driftWander[i], slope)
	}
	d.seen++
}

// wanderSlope is the variance by which the slope wanders in a step: such that half a horizon is about what a smooth
// trend is estimated over, for its memory is the fourth root of the ratio of the noise to it.
func (d *Drift) wanderSlope() float64 {
	memory := math.Max(6, float64(d.horizon)/2)
	return 1 / (memory * memory * memory * memory)
}

// close takes the open step, which is over.
func (d *Drift) close() {
	x := d.scale(d.grid.mean())
	if d.seen == 0 {
		d.begin(x)
		return
	}
	d.predict()
	forget := 1 - 1/float64(max(12, d.horizon))
	for i := range d.bank.filters {
		k := &d.bank.filters[i]
		off, variance := k.update(x, driftBound)
		square := math.Min(off*off, driftBound*driftBound)
		d.bank.logs[i] = forget*d.bank.logs[i] - (square+math.Log(variance))/2
		k.noise += (square - 1) * k.noise / math.Min(float64(d.seen+driftPrior), driftMemory)
		k.noise = math.Max(k.noise, 1e-10)
	}
	d.base += (x - d.base) / math.Min(float64(d.seen), driftBase)
}

// begin starts at a first value, with a slope that may be anything.
func (d *Drift) begin(x float64) {
	noise := 0.02 * d.limit()
	for i := range d.bank.filters {
		d.bank.filters[i] = localTrend{level: x, varLevel: 1, varSlope: 0.1, noise: noise * noise}
	}
	d.base, d.seen = x, 1
}

// Forecast answers from what was measured so far, the open step included. The Level is that of the trend. An alert opens
// when the probability is 60 % and already was between a twelfth and a sixth of the horizon before, so that no burst
// opens it, and closes below 30 %; it follows the forecasts that are asked for: ask once a step. Leak is always 0; the
// causes are CauseTrend and CauseLevel.
func (d *Drift) Forecast() Forecast {
	if !d.grid.begun {
		return d.forecast()
	}
	c := *d
	c.close()
	c.grid.index++
	f := c.forecast()
	d.alert = c.alert
	return f
}

func (d *Drift) forecast() Forecast {
	if d.seen < warmUp {
		return Forecast{Missing: fmt.Sprintf("%d of %d steps seen", d.seen, warmUp), Needs: warmUp - d.seen}
	}
	m := d.mixture(&d.bank)
	horizon := float64(d.horizon)
	out := Forecast{Ready: true, Level: d.value(m.level), Probability: m.within(horizon)}
	d.judge(&out)
	now := time.Unix(0, d.grid.index*d.grid.step).UTC()
	if m.level >= d.limit() {
		out.BreachAt, out.Low, out.High = now, now, now
		return out
	}
	if m.within(never*horizon) >= 0.5 {
		out.Low, out.BreachAt, out.High = m.when(0.1, now, d), m.when(0.5, now, d), m.when(0.9, now, d)
	}
	out.Causes = d.causes(&m, out.Probability)
	return out
}

// judge opens and closes the alert.
func (d *Drift) judge(out *Forecast) {
	if d.alert {
		d.alert = out.Probability >= driftAlert.close
	} else if out.Probability >= driftAlert.open {
		before := d.mixture(&d.past[1])
		d.alert = before.within(float64(d.horizon)) >= driftAlert.open
	}
	out.Alert = d.alert
}

// causes says what the probability rests on: how much less it would be without the trend, and from the level
// that the series came from.
func (d *Drift) causes(m *mixture, p float64) []Cause {
	horizon := float64(d.horizon)
	still, lower := *m, *m
	slope := 0.0
	for i := range m.parts {
		slope += m.parts[i].weight * m.parts[i].slope
		still.parts[i].slope = math.Min(0, m.parts[i].slope)
		lower.parts[i].distance += math.Max(0, m.level-d.base)
	}
	change := d.value(m.level+slope*horizon) - d.value(m.level)
	return ordered(
		Cause{CauseTrend, change, logit(p) - logit(still.within(horizon))},
		Cause{CauseLevel, d.value(m.level) - d.value(d.base), logit(p) - logit(lower.within(horizon))},
	)
}
