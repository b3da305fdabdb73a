package forecast

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/config"
)

// forecaster is the model of one series.
type forecaster interface {
	Update(at time.Time, v float64)
	Forecast() forecasting.Forecast
}

func newModel(s config.Subsystem) (forecaster, error) {
	o := forecasting.Options{Capacity: s.Capacity, Horizon: s.Horizon, Step: s.Step}
	switch shivx.ForecastModel(s.Model) {
	case shivx.ForecastSpike:
		return forecasting.NewSpike(o)
	case shivx.ForecastDegradation:
		return forecasting.NewDrift(o)
	default:
		return forecasting.NewBreach(o)
	}
}

// tracker is one series with what is known of it.
type tracker struct {
	name, component string
	model           forecaster
	rate            *forecasting.Counter // of a counter
	anomaly         *forecasting.Anomaly

	// step gathers the measurements of the step under way, recent keeps the means of those before.
	step   gather
	recent [recentSteps]float32
	seen   int
	// newest is the time of the newest measurement, came when one without any was seen first.
	newest, came time.Time

	// asked is the step of the last forecast.
	asked    int64
	forecast forecasting.Forecast
	strange  forecasting.AnomalyScore

	alert alert
	// known is when there was a prediction last.
	known     time.Time
	pending   []decision
	decidedAt time.Time

	prediction shivx.Prediction
}

// recentSteps is how many means are kept of a series, for its level and its spread.
const recentSteps = 72

// unmeasured is why nothing is known at first.
const unmeasured = "nothing has been measured yet"

// longGap is how many steps without a measurement end a series, as in the models.
const longGap = 48

// gather sums up the measurements of a step.
type gather struct {
	index int64
	sum   float64
	count int
}

func (g gather) mean() float64 { return g.sum / float64(g.count) }

func newTracker(s config.Subsystem, name, component string) (*tracker, error) {
	m, err := newModel(s)
	if err != nil {
		return nil, fmt.Errorf("forecast %s: %w", s.Name, err)
	}
	t := &tracker{name: name, component: component, model: m, anomaly: forecasting.NewAnomaly()}
	t.prediction.Missing = unmeasured
	if s.Counter {
		t.rate = &forecasting.Counter{}
	}
	return t, nil
}

// closed is told of each step that is over: when it began and the mean over it.
type closed func(t *tracker, began time.Time, mean float64)

// take takes a measurement.
func (t *tracker) take(p Point, step time.Duration, over closed) {
	v := p.Value
	if !countable(v) {
		return
	}
	if p.At.After(t.newest) || t.newest.Sub(p.At) > longGap*step { // a clock that went far back is followed
		t.newest = p.At
	}
	if t.rate != nil {
		var ok bool
		if v, ok = t.rate.Rate(p.At, v); !ok {
			return
		}
	}
	t.model.Update(p.At, v)
	index := floor(p.At, step).UnixNano() / int64(step)
	gap := index - t.step.index
	switch {
	case t.step.count == 0:
	case gap == 0:
		t.step.sum += v
		t.step.count++
		return
	case gap > longGap, gap < -longGap:
		t.begin(p.At, gap < 0)
	case gap < 0:
		return // late
	default:
		t.close(step, over)
	}
	t.step = gather{index, v, 1}
}

// begin forgets a series that begins anew at a time: what was decided of it before is decided by nothing that was seen. What is
// decided later is kept while a past with gaps is read again; after a clock that went back nothing is.
func (t *tracker) begin(at time.Time, back bool) {
	t.seen = 0
	t.pending = slices.DeleteFunc(t.pending, func(d decision) bool { return back || d.At.Before(at) })
}

// largest is the largest value that counts as a number, as in the models: sums of it stay finite.
const largest = 1e30

// countable says whether a value counts as a measurement: NaN and infinities, which PromQL may answer, do not.
func countable(v float64) bool { return math.Abs(v) <= largest }

// close ends the step under way.
func (t *tracker) close(step time.Duration, over closed) {
	mean, began := t.step.mean(), time.Unix(0, t.step.index*int64(step)).UTC()
	t.recent[t.seen%recentSteps] = float32(mean)
	t.seen++
	t.strange = t.anomaly.Update(began, mean)
	over(t, began, mean)
}

// level is the mean over the step under way, or the last one.
func (t *tracker) level() float64 {
	switch {
	case t.step.count > 0:
		return t.step.mean()
	case t.seen > 0:
		return float64(t.recent[(t.seen-1)%recentSteps])
	}
	return 0
}

// means returns the means of the last steps that are over, the oldest first.
func (t *tracker) means() []float64 {
	n := min(t.seen, recentSteps)
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(t.recent[(t.seen-n+i)%recentSteps])
	}
	return out
}
