package forecast

import (
	"fmt"
	"math"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/forecasting"
)

// predict makes the prediction of a series. The model is asked once a step, for its alert follows what it is asked.
func (e *Engine) predict(s *subsystem, t *tracker, now time.Time) {
	p := shivx.Prediction{
		SubsystemTarget: shivx.SubsystemTarget{Subsystem: s.Name, Host: e.o.Host}, Series: t.name, Component: t.component,
		Model: shivx.ForecastModel(s.Model), At: now.UTC(), Capacity: s.Capacity, Horizon: shivx.Duration(s.Horizon), Value: t.level(),
	}
	if step := floor(now, s.Step).UnixNano(); step != t.asked || !t.forecast.Ready {
		t.forecast, t.asked = t.model.Forecast(), step
	}
	f := &t.forecast
	switch {
	case t.newest.IsZero():
		p.Missing = unmeasured
	case t.newest.Sub(now) > s.stale(e.o.Rules.Every):
		p.Missing = "the clock went back: what is measured counts again from " + t.newest.UTC().Format(time.RFC3339) + " on"
	case now.Sub(t.newest) > s.stale(e.o.Rules.Every):
		p.Missing = "nothing was measured since " + t.newest.UTC().Format(time.RFC3339)
	case !f.Ready && !(s.fills() && s.reached(p.Value)): // that it is full now is no forecast
		p.Missing = learning(f, s.Step)
	default:
		e.fill(s, t, &p)
	}
	t.prediction = p
}

// learning says what is missing for a forecast, and how long that takes at least.
func learning(f *forecasting.Forecast, step time.Duration) string {
	if f.Needs <= 0 {
		return f.Missing
	}
	return fmt.Sprintf("learning: %s, a forecast in %s", f.Missing, span(time.Duration(f.Needs)*step))
}

// span writes how long something takes for people: in hours and minutes, or in seconds.
func span(d time.Duration) string {
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	d = d.Round(time.Minute)
	h, m := d/time.Hour, d%time.Hour/time.Minute
	switch {
	case h == 0:
		return fmt.Sprintf("%dm", m)
	case m == 0:
		return fmt.Sprintf("%dh", h)
	}
	return fmt.Sprintf("%dh %dm", h, m)
}

// fill writes what is predicted.
func (e *Engine) fill(s *subsystem, t *tracker, p *shivx.Prediction) {
	f := &t.forecast
	p.Raw, p.Probability = f.Probability, s.learn.Apply(f.Probability)
	if s.Model == string(shivx.ForecastDegradation) {
		p.Value = f.Level
	}
	if s.reached(p.Value) {
		p.Probability = 1
	}
	p.BreachAt, p.Low, p.High = notBefore(f.BreachAt, p.At), notBefore(f.Low, p.At), notBefore(f.High, p.At)
	p.Anomaly = t.strange.Score
	for _, c := range f.Causes {
		p.Precursors = append(p.Precursors, shivx.Precursor{Series: t.name, Feature: c.Feature, Value: c.Value, Weight: c.Weight})
	}
	if p.Anomaly >= alarming {
		p.Precursors = append(p.Precursors, shivx.Precursor{Series: t.name, Feature: "anomaly: " + t.strange.Reasons[0].Kind.String(), Value: p.Anomaly})
	}
	e.raise(s, p)
}

// notBefore is a time, or now where that is past: the model was asked at the beginning of the step. None stays none.
func notBefore(t, now time.Time) time.Time {
	if !t.IsZero() && t.Before(now) {
		return now
	}
	return t
}

// raise raises the probability when an anomaly of late announces failures of the subsystem: as one of two independent causes
// would (noisy-or), by the part of its share that is not how often the subsystem fails anyway.
func (*Engine) raise(s *subsystem, p *shivx.Prediction) {
	a, share := s.announced.alarm, s.announced.share
	if share <= 0 || p.Probability >= 1 {
		return
	}
	own := 1 - (1-share)/(1-math.Min(s.base(), 0.99))
	if own < leastShare {
		return
	}
	raised := 1 - (1-p.Probability)*(1-own)
	p.Precursors = append([]shivx.Precursor{{Series: a.Series, Feature: "anomaly: " + a.Kind, Value: share,
		Weight: logit(raised) - logit(p.Probability)}}, p.Precursors...)
	p.Probability = raised
}

// logit is the log-odds of a probability, bounded where it would be infinite.
func logit(p float64) float64 {
	p = math.Max(1e-6, math.Min(1-1e-6, p))
	return math.Log(p / (1 - p))
}

// show makes the heatmap of the predictions.
func (e *Engine) show(now time.Time) {
	h := shivx.Heatmap{Host: e.o.Host, At: now.UTC(), Risks: make([]shivx.Risk, 0, len(e.subsystems))}
	for _, s := range e.subsystems {
		h.Risks = append(h.Risks, e.risk(s))
	}
	e.heatmap = h
}

// risk is that of the series of a subsystem that is worst.
func (e *Engine) risk(s *subsystem) shivx.Risk {
	r := shivx.Risk{SubsystemTarget: shivx.SubsystemTarget{Subsystem: s.Name, Host: e.o.Host},
		Horizon: shivx.Duration(s.Horizon), Reliability: s.reliability()}
	t := s.worst()
	if t == nil {
		r.Missing = s.missing()
		return r
	}
	p := &t.prediction
	r.Risk = e.costs.Risk(p.Probability)
	r.Color = shivx.ColorOf(r.Risk)
	r.Series, r.Probability = p.Series, p.Probability
	r.BreachAt, r.Low, r.High, r.Alert = p.BreachAt, p.Low, p.High, p.Alert
	r.Why = s.why(t)
	return r
}

// worst is the series of which there is a prediction, and the worst one; nil: there is none.
func (s *subsystem) worst() *tracker {
	var worst *tracker
	for _, name := range s.order {
		t := s.series[name]
		if t.prediction.Missing == "" && (worst == nil || worse(&t.prediction, &worst.prediction)) {
			worst = t
		}
	}
	return worst
}

// worse says whether a is worse than b: an alert before none, then the higher probability, then the earlier time.
func worse(a, b *shivx.Prediction) bool {
	switch {
	case a.Alert != b.Alert:
		return a.Alert
	case a.Probability > b.Probability, a.Probability < b.Probability:
		return a.Probability > b.Probability
	case a.BreachAt.IsZero() || b.BreachAt.IsZero():
		return !a.BreachAt.IsZero() && b.BreachAt.IsZero()
	}
	return a.BreachAt.Before(b.BreachAt)
}

// why says in one line what is predicted of a series.
func (s *subsystem) why(t *tracker) string {
	p := &t.prediction
	now := fmt.Sprintf("%s is at %s of %s", p.Series, s.quantity(p.Value), s.quantity(p.Capacity))
	switch {
	case s.reached(p.Value):
		return fmt.Sprintf("%s has reached %s: it is at %s", p.Series, s.quantity(p.Capacity), s.quantity(p.Value))
	case p.BreachAt.IsZero():
		return fmt.Sprintf("%s, and reaches it within %s with a probability of %s", now, shivx.Duration(s.Horizon), percent(p.Probability))
	}
	when := "about " + p.BreachAt.Format("2006-01-02 15:04 MST")
	return fmt.Sprintf("%s, and reaches it %s if it goes on like this; within %s with a probability of %s",
		now, when, shivx.Duration(s.Horizon), percent(p.Probability))
}

// quantity writes a value of a series for people.
func (s *subsystem) quantity(v float64) string {
	for i := range s.Series {
		if !s.Series[i].Share() {
			return fmt.Sprintf("%.4g", v)
		}
	}
	return percent(v)
}

func percent(v float64) string {
	switch {
	case v > 0 && v < 0.001:
		return "less than 0.1 %"
	case v > 0 && v < 0.01:
		return fmt.Sprintf("%.1f %%", 100*v)
	}
	return fmt.Sprintf("%.0f %%", 100*v)
}

// Heatmap returns the risk of each subsystem as of the last look.
func (e *Engine) Heatmap() shivx.Heatmap {
	e.mu.RLock()
	defer e.mu.RUnlock()
	h := e.heatmap
	h.Risks = append([]shivx.Risk{}, h.Risks...)
	return h
}

// Predictions returns that of each series as of the last look, by subsystems in the order of the configuration.
func (e *Engine) Predictions() []shivx.Prediction {
	e.mu.RLock()
	defer e.mu.RUnlock()
	out := []shivx.Prediction{}
	for _, s := range e.subsystems {
		for _, name := range s.order {
			out = append(out, s.series[name].prediction)
		}
	}
	return out
}

// Worst returns the risk of a subsystem, and the prediction on which it rests; nil when nothing is known. It says no
// when there is no such subsystem.
func (e *Engine) Worst(name string) (shivx.Risk, *shivx.Prediction, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	s, err := e.subsystem(name)
	if err != nil {
		return shivx.Risk{}, nil, false
	}
	r := e.risk(s)
	if t := s.worst(); t != nil {
		p := t.prediction
		return r, &p, true
	}
	return r, nil, true
}

// QuietTime returns when the quietest window of that length begins, from now on and before a time: by the load that the
// subsystem, or else the host, has at such hours. It says no while that is not known.
func (e *Engine) QuietTime(subsystem string, before time.Time, window time.Duration) (time.Time, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	now := e.o.Now()
	for _, own := range []bool{true, false} {
		for _, s := range e.subsystems {
			if (s.Name == subsystem) != own {
				continue
			}
			if at, ok := s.quietest(now, before, window); ok {
				return at, true
			}
		}
	}
	return time.Time{}, false
}

// quietest asks the first series of loads that knows.
func (s *subsystem) quietest(from, to time.Time, window time.Duration) (time.Time, bool) {
	for _, name := range s.order {
		if load, ok := s.series[name].spike(); ok {
			if at, ok := load.Quietest(from, to, window); ok {
				return at.UTC(), true
			}
		}
	}
	return time.Time{}, false
}
