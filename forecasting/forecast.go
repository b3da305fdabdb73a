package forecasting

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Forecast says whether a series reaches its capacity within the horizon, and when.
type Forecast struct {
	// Ready is false while too little was seen; Missing says how much then, and all else is empty.
	Ready   bool
	Missing string
	// Needs is how many more steps must be seen; 0: it is not known.
	Needs int64
	// Level is the present level without its noise, in the unit of the series.
	Level float64
	// Probability that the capacity is reached within the horizon, 0 to 1.
	Probability float64
	// Leak is the probability that the series grows until it is exhausted, however long that takes.
	// It is 0 for a series that came back from its capacity before.
	Leak float64
	// BreachAt is when the capacity is reached if the series goes on as it does, Low and High are the
	// bounds between which that is with a probability of 80 %. They are zero when it is on no way
	// there; High alone is zero when it is more than a hundred horizons away.
	BreachAt, Low, High time.Time
	// Alert says that somebody should act. It opens and closes at different probabilities.
	Alert bool
	// Causes are the precursors, the strongest first.
	Causes []Cause
}

// Cause is a feature that raises the probability.
type Cause struct {
	Feature string
	// Value of the feature, in its own unit: see FeatureNames, and CauseTrend of the other forecasters.
	Value float64
	// Weight is what it adds, in log-odds.
	Weight float64
}

// thresholds of an alert: it opens at the first and closes below the second.
type thresholds struct{ open, close float64 }

// recurrence is the best F1 on the train parts of hosts that were held out; docs/FORECAST.md says how.
var recurrence = thresholds{open: 0.2, close: 0.17}

const causesShown = 5

// Forecast answers from what was measured so far, the open step included. Alerts follow the forecasts
// that are asked for: ask once a step.
func (b *Breach) Forecast() Forecast {
	if b.grid.begun {
		c := *b
		c.closeOpen()
		f := c.forecast()
		b.alert = c.alert
		return f
	}
	return b.forecast()
}

func (b *Breach) forecast() Forecast {
	if b.seen < warmUp {
		return Forecast{Missing: fmt.Sprintf("%d of %d steps seen", b.seen, warmUp), Needs: warmUp - int64(b.seen)}
	}
	var f, with [featureCount]float64
	b.features(&f)
	out := Forecast{Ready: true, Level: b.now()}
	limits := recurrence
	var alarm float64 // in log-odds of exhaustion, or the probability of recurrence
	if hits, _ := b.passage.overall(); hits == 0 {
		limits = thresholds{models.Open, models.Close}
		out.Leak = logistic(models.Leak.sum(&f, nil))
		out.Probability = logistic(models.Exhaustion.sum(&f, &with))
		alarm = models.Alarm.sum(&f, nil)
	} else {
		out.Probability = logistic(models.Recurrence.sum(&f, &with))
		alarm = out.Probability
	}
	if b.back(0) >= b.capacity {
		out.Probability, alarm = 1, math.Inf(1)
	}
	b.alert = limits.judge(b.alert, alarm)
	out.Alert = b.alert
	b.when(&f, &out)
	out.Causes = causes(&f, &with)
	return out
}

func (t thresholds) judge(open bool, alarm float64) bool {
	if open {
		return alarm >= t.close
	}
	return alarm >= t.open
}

// when writes when the series will be at its capacity, if it is on a way there.
func (b *Breach) when(f *[featureCount]float64, out *Forecast) {
	reach := Reach(f[fOnsetReach], f[fOnsetReachLong])
	if out.Leak < likely && out.Probability < likely && reach >= farthest {
		return
	}
	steps := float64(b.horizon) * reach * math.Exp(models.Time.sum(f, nil))
	off := math.Exp(models.Doubt.sum(f, nil))
	at := func(steps float64) time.Time {
		if steps > 100*float64(b.horizon) {
			return time.Time{}
		}
		return time.Unix(0, b.grid.index*b.grid.step).Add(time.Duration((steps - 1) * float64(b.grid.step))).UTC()
	}
	if out.BreachAt = at(steps); !out.BreachAt.IsZero() {
		out.Low, out.High = at(steps*math.Exp(models.Early*off)), at(steps*math.Exp(models.Late*off))
	}
}

// likely is the probability from which on a time is told although no trend leads there.
const likely = 0.2

func causes(f, with *[featureCount]float64) []Cause {
	var out []Cause
	for i, w := range with {
		if w > 0.05 {
			out = append(out, Cause{featureNames[i], f[i], w})
		}
	}
	slices.SortFunc(out, func(a, b Cause) int { return int(math.Copysign(1, b.Weight-a.Weight)) })
	return out[:min(causesShown, len(out))]
}
