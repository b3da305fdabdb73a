package forecast

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/forecasting"
)

// TestAlertsDoNotFlap moves the probability about the threshold.
func TestAlertsDoNotFlap(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	sub, tr := ofModel(t, "exhaustion")
	step := func(p float64, model bool) bool {
		s.now = s.now.Add(time.Minute)
		tr.newest = s.now
		tr.forecast = forecasting.Forecast{Ready: true, Probability: p, Alert: model}
		tr.prediction = shivx.Prediction{Series: "a", Probability: p, Raw: p, Capacity: 1}
		s.engine.judge(sub, tr, s.now)
		return tr.alert.open
	}
	require.False(t, step(0.4, false), "the model does not think that it leaks")
	require.False(t, step(0.04, true), "not worth a look")
	require.True(t, step(0.06, true))
	opened := tr.alert.since
	for range 20 {
		require.True(t, step(0.045, true), "about the threshold")
		require.True(t, step(0.055, true))
	}
	require.Equal(t, opened, tr.prediction.Since)
	require.False(t, step(0.03, true), "well below it")
	require.True(t, step(0.3, true))
	require.False(t, step(0.3, false))

	require.True(t, step(0.51, false), "what is red is an alert")
	require.True(t, step(0.4, false))
	require.False(t, step(0.34, false))
	require.NoError(t, s.engine.record(t.Context()))
	require.Len(t, s.records(), 6)
	require.NoError(t, s.engine.record(t.Context()))
	require.Len(t, s.records(), 6, "each once")
}

// TestAMomentIsLeftToTheModel of what does not fill up, until much is known of how forecasts come true.
func TestAMomentIsLeftToTheModel(t *testing.T) {
	s := newStand(t, sharesOf("network", "faulty_ratio"))
	sub, tr := ofModel(t, "degradation")
	step := func(p float64) bool {
		s.now = s.now.Add(time.Minute)
		tr.newest = s.now
		tr.forecast = forecasting.Forecast{Ready: true, Probability: p}
		tr.prediction = shivx.Prediction{Series: "a", Probability: p, Raw: p, Capacity: 1}
		s.engine.judge(sub, tr, s.now)
		return tr.alert.open
	}
	require.False(t, step(0.9))
	sub.count = known
	require.True(t, step(0.51))
	require.True(t, step(0.4))
	require.False(t, step(0.34))
}

// TestAtTheCapacity: an alert does not close because what it warned of has come.
func TestAtTheCapacity(t *testing.T) {
	s, _ := leaking(t)
	for end := s.now.Add(time.Hour); s.now.Before(end); s.now = s.now.Add(5 * time.Minute) {
		s.memory.add(s.now, "used_ratio", nil, 0.95) // as a quota keeps it
		s.look()
	}
	p := s.prediction("disk")
	require.InDelta(t, 1, p.Probability, 0)
	require.True(t, p.Alert)
	require.Contains(t, s.engine.Heatmap().Risks[0].Why, "has reached 95 %")
	require.Equal(t, 100, s.engine.Heatmap().Risks[0].Risk)
	require.Len(t, s.records(), 1)
}

// TestUnknownForAMoment does not close an alert.
func TestUnknownForAMoment(t *testing.T) {
	s, measure := leaking(t)
	since := s.prediction("disk").Since
	silent := s.now.Add(40 * time.Minute)
	for ; s.now.Before(silent); s.now = s.now.Add(5 * time.Minute) {
		s.look()
	}
	require.Contains(t, s.engine.Predictions()[0].Missing, "nothing was measured since")
	require.True(t, s.engine.Predictions()[0].Alert)
	require.NotEmpty(t, s.engine.Heatmap().Risks[0].Missing, "what is not known has no colour")
	require.Empty(t, s.engine.Heatmap().Risks[0].Color)
	s.run(s.now.Add(11*time.Minute), measure, nil)
	require.Equal(t, since, s.prediction("disk").Since)
	require.Len(t, s.records(), 1)
	for end := s.now.Add(3 * time.Hour); s.now.Before(end); s.now = s.now.Add(5 * time.Minute) {
		s.look()
	}
	require.False(t, s.engine.Predictions()[0].Alert, "it is gone")
	require.Len(t, s.records(), 2)
	require.Equal(t, shivx.SeverityInfo, s.records()[1].Severity)
	for end := s.now.Add(24 * time.Hour); s.now.Before(end); s.now = s.now.Add(time.Hour) {
		s.look()
	}
	require.Empty(t, s.engine.Predictions(), "and forgotten")
}

// TestLedgerAway: an alert that cannot be recorded is recorded later, also by the next process, and once.
func TestLedgerAway(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	grows := leak(24*time.Hour, 0.3, 0.03, noise(1))
	measure := func(at time.Time) { s.memory.add(at, "used_ratio", nil, grows(at)) }
	s.run(begin.Add(24*time.Hour), measure, nil)
	require.NoError(t, s.ledger.Close())
	for !s.engine.Heatmap().Risks[0].Alert {
		measure(s.now)
		_ = s.engine.Look(t.Context())
		s.now = s.now.Add(5 * time.Minute)
	}
	require.Error(t, s.engine.Look(t.Context()), "the ledger is closed")
	require.Len(t, s.engine.unwritten, 1)
	s.reopenLedger()
	s.start()
	s.look()
	require.Len(t, s.records(), 1)
	require.Empty(t, s.engine.unwritten)
}

// TestUnknownForLong: an alert closes although measurements come, when they are too few for a forecast: the history was lost.
func TestUnknownForLong(t *testing.T) {
	s, _ := leaking(t)
	s.memory.series = nil
	s.start()
	for end := s.now.Add(2 * time.Hour); s.now.Before(end); s.now = s.now.Add(5 * time.Minute) {
		s.memory.add(s.now, "used_ratio", nil, 0.3)
		s.look()
	}
	p := s.engine.Predictions()[0]
	require.Equal(t, "learning: 24 of 48 steps seen, a forecast in 2h", p.Missing)
	require.False(t, p.Alert)
	require.Len(t, s.records(), 2)
}

// TestAlertsOfAnotherConfiguration are closed in the ledger, once.
func TestAlertsOfAnotherConfiguration(t *testing.T) {
	for name, change := range map[string]func(o *Options){
		"capacity": func(o *Options) { o.Rules.Subsystems[0].Capacity = 2 },
		"horizon":  func(o *Options) { o.Rules.Subsystems[0].Horizon *= 2 },
		"removed":  func(o *Options) { o.Rules.Subsystems = nil },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := leaking(t)
			change(&s.o)
			for range 2 {
				s.start()
				s.look()
			}
			all := s.records()
			require.Len(t, all, 2)
			require.Equal(t, shivx.SeverityInfo, all[1].Severity)
			require.Equal(t, "disk", all[1].Subsystem)
			require.Contains(t, all[1].Message, "the configuration has changed")
		})
	}
}

// TestFullAtOnce: what is at its capacity now is an alert, whether or not its way there was one that a model knows.
func TestFullAtOnce(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	wobble := noise(7)
	s.run(begin.Add(24*time.Hour), func(at time.Time) { s.memory.add(at, "used_ratio", nil, 0.3+0.01*wobble()) }, nil)
	require.False(t, s.prediction("disk").Alert)
	s.run(s.now.Add(11*time.Minute), func(at time.Time) { s.memory.add(at, "used_ratio", nil, 0.97) }, nil)
	p := s.prediction("disk")
	require.InDelta(t, 1, p.Probability, 0)
	require.True(t, p.Alert)
}

// TestFullFromTheBeginning is told before anything can be forecast, and is an alert as soon as it can.
func TestFullFromTheBeginning(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	measure := func(at time.Time) { s.memory.add(at, "used_ratio", nil, 0.97) }
	s.run(begin.Add(6*time.Minute), measure, nil)
	r := s.engine.Heatmap().Risks[0]
	require.Equal(t, 100, r.Risk, r.Missing)
	require.Contains(t, r.Why, "has reached 95 %")
	require.False(t, r.Alert, "nothing is done about what is not known yet")
	s.run(begin.Add(5*time.Hour), measure, nil)
	require.True(t, s.engine.Heatmap().Risks[0].Alert)
}

// TestAboutTheCapacity: what goes over its capacity and back is one alert where it fills up, and none of a load that the model
// does not alert.
func TestAboutTheCapacity(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	for model, records := range map[string]int{"exhaustion": 1, "spike": 0} {
		s.engine.unwritten = nil
		sub, tr := ofModel(t, model)
		for i := range 20 {
			s.now = s.now.Add(time.Minute)
			tr.forecast = forecasting.Forecast{Ready: true, Probability: 0.1}
			tr.prediction = shivx.Prediction{Series: "a", Value: 1 - 0.01*float64(i%2), Probability: 1 - 0.9*float64(i%2), Raw: 0.1, Capacity: 1}
			s.engine.judge(sub, tr, s.now)
		}
		require.Len(t, s.engine.unwritten, records, model)
	}
}
