package forecast

import (
	"math"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/forecasting"
)

const (
	// halfLife is after how long an outcome weighs half: a host changes.
	halfLife = 30 * 24 * time.Hour
	// decisions of a series are pending at once, for one is kept in each part of that many of a horizon: those that follow each
	// other closely are the same one.
	decisions = 12
)

// decision is what was said of a series, and is not yet seen to have come true or not.
type decision struct {
	At time.Time `json:"at"`
	// Raw is what the model said, Said what was said after calibration.
	Raw  float64 `json:"raw"`
	Said float64 `json:"said"`
}

// outcomes is how the predictions of a subsystem came true.
type outcomes struct {
	// learn corrects what models say, said judges what was said.
	learn, said *forecasting.Calibration
	// count of outcomes, and of decisions that were left out since somebody acted.
	count, leftOut int
	// made is how many decisions were kept.
	made int
}

// changes is a number that is another one when there is something to keep.
func (o *outcomes) changes() int { return o.count + o.leftOut + o.made }

func newOutcomes() outcomes {
	return outcomes{learn: &forecasting.Calibration{HalfLife: halfLife}, said: &forecasting.Calibration{HalfLife: halfLife}}
}

// reached says whether a value is at the capacity, as far as the models tell numbers apart: they keep them with seven digits.
func (s *subsystem) reached(v float64) bool { return v >= s.Capacity-1e-6*math.Abs(s.Capacity) }

// fills says whether the series fill up, and do not come back by themselves.
func (s *subsystem) fills() bool { return s.Model == string(shivx.ForecastExhaustion) }

// base is how often the capacity is reached within a horizon, whatever was said.
func (o *outcomes) base() float64 {
	count, happened := 0.0, 0.0
	for _, b := range o.learn.Outcomes {
		count, happened = count+b.Count, happened+b.Happened
	}
	return happened / math.Max(1, count)
}

// decide keeps what is said of a series now. What is at its capacity already is no forecast.
func (s *subsystem) decide(t *tracker, now time.Time) {
	p := &t.prediction
	// What lies too far ahead is of a clock that went back.
	acted := now.Before(s.acted) && s.acted.Sub(now) <= learnAfter*s.Horizon
	soon := !now.Before(t.decidedAt) && now.Before(t.decidedAt.Add(s.Horizon/decisions))
	switch {
	case p.Missing != "" || s.reached(t.level()) || acted:
	case len(t.pending) >= decisions || soon:
	default:
		t.pending = append(t.pending, decision{now, p.Raw, p.Probability})
		t.decidedAt = now
		s.made++
	}
}

// settle sees what became of decisions by a step that is over.
func (s *subsystem) settle(t *tracker, began time.Time, mean float64) {
	kept := t.pending[:0]
	for _, d := range t.pending {
		end := d.At.Add(s.Horizon)
		switch {
		case began.Before(d.At):
			kept = append(kept, d)
		case s.reached(mean) && !began.After(end):
			s.observe(d, true, began)
		case began.Add(s.Step).After(end):
			s.observe(d, false, began)
		default:
			kept = append(kept, d)
		}
	}
	t.pending = kept
}

func (s *subsystem) observe(d decision, happened bool, at time.Time) {
	s.learn.Observe(d.Raw, happened, at)
	s.said.Observe(d.Said, happened, at)
	s.count++
}

// leaveOut drops what was decided of a series before a time: somebody acted, and what comes is no outcome of the forecast.
func (s *subsystem) leaveOut(t *tracker, before time.Time) {
	kept := t.pending[:0]
	for _, d := range t.pending {
		if d.At.After(before) {
			kept = append(kept, d)
			continue
		}
		s.leftOut++
	}
	t.pending = kept
}

// reliability is for people: what was said, and what came.
func (o *outcomes) reliability() shivx.Reliability {
	r := shivx.Reliability{Outcomes: o.count, LeftOut: o.leftOut, Brier: o.said.Brier(), Skill: o.said.Skill(), ECE: o.said.ECE()}
	for _, b := range o.said.Reliability() {
		if n := int(math.Round(b.Count)); n > 0 {
			r.Bins = append(r.Bins, shivx.ReliabilityBin{Count: n, Said: b.Forecast, Seen: b.Observed})
		}
	}
	return r
}
