package forecast

import (
	"errors"
	"fmt"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/config"
)

// maxSeries is how many series a subsystem has at most: 10 KB each.
const maxSeries = 10_000

// forgotten is after how long a series that is not measured any more is forgotten.
const forgotten = 24 * time.Hour

// subsystem is a part of the host with its series.
type subsystem struct {
	config.Subsystem
	feeds  []*feed
	series map[string]*tracker
	// order has the names as they came, which is the order of what is told.
	order []string
	// cut is how many series there were beyond maxSeries in the last look; cutSaid says that somebody was told.
	cut     int
	cutSaid bool
	// announced is what announces failures of it now.
	announced announcement
	// acted is until when nothing is learned, for something was done about the forecasts.
	acted time.Time

	outcomes
}

func (e *Engine) newSubsystem(s config.Subsystem) (*subsystem, error) {
	out := &subsystem{Subsystem: s, series: map[string]*tracker{}, outcomes: newOutcomes()}
	if _, err := newModel(s); err != nil {
		return nil, fmt.Errorf("forecast %s: %w", s.Name, err)
	}
	for _, x := range s.Series {
		src, err := e.newSource(s, x)
		if err != nil {
			return nil, fmt.Errorf("forecast %s: %w", s.Name, err)
		}
		out.feeds = append(out.feeds, &feed{source: src, component: x.Component})
	}
	return out, nil
}

func (e *Engine) newSource(s config.Subsystem, x config.SubsystemSeries) (source, error) {
	switch {
	case x.History != "":
		return &historySource{history: e.o.History, name: x.History, match: x.Match, of: x.Of, limit: x.Limit, counter: s.Counter}, nil
	case x.PromQL != "":
		return &promSource{server: e.prometheus, query: x.PromQL, limit: x.Limit, every: max(min(s.Step, e.o.Rules.Every), time.Second)}, nil
	default:
		return e.newSampled(s, x)
	}
}

// take takes what was read by a feed.
func (s *subsystem) take(f *feed, readings []reading, over closed) {
	for _, r := range readings {
		t := s.series[r.name]
		if t == nil {
			if len(s.series) >= maxSeries {
				s.cut++
				continue
			}
			var err error
			if t, err = newTracker(s.Subsystem, r.name, f.component); err != nil {
				continue // the options were checked when the engine was built
			}
			s.series[r.name], s.order = t, append(s.order, r.name)
		}
		if t.component == "" {
			t.component = f.component
		}
		for _, p := range r.points {
			t.take(p, s.Step, over)
		}
	}
}

// forget drops series that are long gone; where there is no room for others, all that are gone.
func (s *subsystem) forget(now time.Time, every time.Duration) {
	after := max(forgotten, s.Horizon)
	if s.cut > 0 {
		after = s.stale(every)
	}
	kept := s.order[:0]
	for _, name := range s.order {
		t := s.series[name]
		if t.newest.IsZero() && (t.came.IsZero() || t.came.After(now)) {
			t.came = now
		}
		if now.Sub(later(t.newest, t.came)) > after && !t.alert.open {
			delete(s.series, name)
			continue
		}
		kept = append(kept, name)
	}
	s.order = kept
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// stale is how old the newest measurement may be: of a gap of some steps the models know nothing.
func (s *subsystem) stale(every time.Duration) time.Duration {
	return max(3*s.Step, 3*every, time.Minute)
}

// missing says why nothing is known of the subsystem.
func (s *subsystem) missing() string {
	for _, f := range s.feeds {
		if f.away != nil {
			return sentence(f.away)
		}
	}
	for _, name := range s.order {
		if m := s.series[name].prediction.Missing; m != "" {
			return m
		}
	}
	return unmeasured
}

// sentence is an error with its hint in one line.
func sentence(err error) string {
	if hint := shivx.HintOf(err); hint != "" {
		return err.Error() + "; " + hint
	}
	return err.Error()
}

// spike returns the forecaster of loads of a series, if it is one.
func (t *tracker) spike() (*forecasting.Spike, bool) {
	s, ok := t.model.(*forecasting.Spike)
	return s, ok
}

// healed leaves out what was decided of the series of a component, since it was healed or restarted.
func (s *subsystem) healed(component string, at time.Time) {
	for _, t := range s.series {
		if t.component == component {
			s.leaveOut(t, at)
		}
	}
}

var errUnknown = errors.New("unknown subsystem")
