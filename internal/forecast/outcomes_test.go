package forecast

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// said puts a tracker into the state of having said something.
func said(s *subsystem, t *tracker, now time.Time, p float64) {
	t.prediction = shivx.Prediction{Raw: p, Probability: p}
	s.decide(t, now)
}

// ofModel is a subsystem with one series, of which nothing was measured.
func ofModel(t *testing.T, model string) (*subsystem, *tracker) {
	t.Helper()
	c := config.Subsystem{Name: "shop", Model: model, Capacity: 1, Horizon: time.Hour, Step: time.Minute}
	s := &subsystem{Subsystem: c, series: map[string]*tracker{}, outcomes: newOutcomes()}
	tr, err := newTracker(c, "a", "web")
	require.NoError(t, err)
	s.series["a"], s.order = tr, []string{"a"}
	return s, tr
}

func TestDecisions(t *testing.T) {
	s, tr := ofModel(t, "exhaustion")
	at := func(minutes int) time.Time { return begin.Add(time.Duration(minutes) * time.Minute) }
	for m := range 60 { // one in five minutes is kept: a twelfth of the horizon
		said(s, tr, at(m), 0.5)
	}
	require.Len(t, tr.pending, 12)

	for m := range 60 {
		s.settle(tr, at(m), 0.2)
	}
	require.Zero(t, s.count, "no horizon is over")
	s.settle(tr, at(60), 0.2)
	require.Equal(t, 1, s.count, "the first one's is")
	s.settle(tr, at(61), 1.2)
	require.Equal(t, 12, s.count, "what was said came true")
	require.Empty(t, tr.pending)
	happened := 0.0
	for _, o := range s.learn.Outcomes {
		happened += o.Happened
	}
	require.InDelta(t, 11, happened, 0.01)
	require.Positive(t, s.reliability().Brier)
	require.Equal(t, 12, s.reliability().Bins[0].Count)

	tr.step = gather{0, 1.2, 1}
	said(s, tr, at(70), 1)
	require.Empty(t, tr.pending, "what is there already is no forecast")
}

// TestHealsAreLeftOut: what was said before a component was healed has no outcome.
func TestHealsAreLeftOut(t *testing.T) {
	c := sharesOf("shop", "used")
	c.Series = []config.SubsystemSeries{{Component: "web", What: "memory", Limit: 1}}
	s := newStand(t)
	s.o.Components = []config.Component{{Name: "web", Checks: []config.Check{{Process: &config.ProcessCheck{Name: "web"}}}}}
	s.o.Rules.Subsystems = []config.Subsystem{c}
	s.start()
	sub := s.engine.subsystems[0]
	tr, err := newTracker(c, "a", "web")
	require.NoError(t, err)
	sub.series["a"], sub.order = tr, []string{"a"}
	said(sub, tr, begin, 0.5)
	said(sub, tr, begin.Add(3*time.Hour), 0.6)
	_, err = s.ledger.Append(t.Context(), "", shivx.RecoveryRecord{EventType: shivx.EventStepStarted, Step: shivx.StepRecover,
		Component: "web", Timestamp: begin.Add(time.Hour)})
	require.NoError(t, err)
	_, err = s.ledger.Append(t.Context(), "", shivx.RecoveryRecord{EventType: shivx.EventStepStarted, Step: shivx.StepRecover,
		Component: "other", Timestamp: begin.Add(5 * time.Hour)})
	require.NoError(t, err)
	for _, r := range s.all() {
		s.engine.learnOf(r)
	}
	require.Len(t, tr.pending, 1, "what was said after it stays")
	require.Equal(t, 1, sub.reliability().LeftOut)
	require.Zero(t, sub.count)
}

// TestActionIsJudged takes an action against a leak that helps, and one that does not.
func TestActionIsJudged(t *testing.T) {
	for name, c := range map[string]struct {
		freed  float64
		helped bool
	}{"restart": {0.6, true}, "nothing": {0, false}} {
		t.Run(name, func(t *testing.T) {
			s, _ := leaking(t)
			grows := leak(24*time.Hour, 0.3, 0.03, noise(3))
			s.run(begin.Add(42*time.Hour), func(at time.Time) { s.memory.add(at, "used_ratio", nil, grows(at)) }, nil)
			sub := s.engine.subsystems[0]
			pending, taken := len(sub.series["used_ratio"].pending), s.now
			require.Positive(t, pending)
			count := sub.count

			require.NoError(t, s.engine.Acting(t.Context(), "disk", "run 1/free"))
			require.Equal(t, pending, sub.leftOut)
			require.NoError(t, s.engine.Acting(t.Context(), "disk", "run 1/free"), "told twice")
			require.Equal(t, pending, sub.leftOut)
			s.start() // killed at once: the state is older than the mark
			s.look()
			sub = s.engine.subsystems[0]
			require.Equal(t, pending, sub.leftOut)
			require.Empty(t, sub.series["used_ratio"].pending)

			measure := func(at time.Time) { s.memory.add(at, "used_ratio", nil, grows(at)-c.freed) }
			s.now = s.now.Add(time.Minute)
			s.run(taken.Add(time.Hour), measure, nil)
			require.Empty(t, sub.series["used_ratio"].pending, "nothing is learned while an action is judged")
			effect, err := s.engine.Effect(t.Context(), "disk", "run 1/free", "free")
			require.NoError(t, err)
			require.Equal(t, c.helped, effect.Helped, effect.Why)
			require.Equal(t, taken, effect.Taken)
			require.Equal(t, "used_ratio", effect.Series)
			require.InDelta(t, grows(taken), effect.Before, 0.05)
			require.InDelta(t, grows(taken.Add(time.Hour)), effect.Forecast, 0.05)
			require.InDelta(t, grows(taken.Add(time.Hour))-c.freed, effect.After, 0.05)
			again, err := s.engine.Effect(t.Context(), "disk", "run 1/free", "free")
			require.NoError(t, err)
			require.Equal(t, effect, again)
			s.now = s.now.Add(time.Minute)
			s.run(s.now.Add(10*time.Minute), measure, nil)
			require.NotEmpty(t, sub.series["used_ratio"].pending, "learning goes on")
			require.Equal(t, count, sub.count)
		})
	}
}

func TestEffectsThatCannotBeMeasured(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	require.ErrorIs(t, s.engine.Acting(t.Context(), "dick", "k"), errUnknown)
	_, err := s.engine.Effect(t.Context(), "dick", "k", "a")
	require.ErrorIs(t, err, errUnknown)
	_, err = s.engine.Effect(t.Context(), "disk", "k", "a")
	require.ErrorIs(t, err, errNoMark)
	require.NoError(t, s.engine.Acting(t.Context(), "disk", "blind"), "an action by hand, before anything is known")
	_, err = s.engine.Effect(t.Context(), "disk", "blind", "a")
	require.ErrorIs(t, err, errNoMark)
}

// TestMarksAreKeptForTheirTime, not for ever.
func TestMarksAreKeptForTheirTime(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	require.NoError(t, s.engine.Acting(t.Context(), "disk", "first"))
	s.now = s.now.Add(markKept + time.Hour)
	require.NoError(t, s.engine.Acting(t.Context(), "disk", "second"))
	require.Len(t, s.engine.marks, 1)
	s.start()
	require.Contains(t, s.engine.marks, "second")
}

func TestKeptStateIsJSONOfNumbers(t *testing.T) {
	s, _ := leaking(t)
	data, err := json.Marshal(s.engine.keep())
	require.NoError(t, err)
	var back keptState
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, s.engine.subsystems[0].learn, back.Subsystems["disk"].Learn)
}

// TestHelped: a failure that was not forecast is not later for it, and what is not forecast yet has not become less likely.
func TestHelped(t *testing.T) {
	s, _ := ofModel(t, "exhaustion")
	for name, c := range map[string]struct {
		effect   shivx.MitigationEffect
		forecast bool
		helped   bool
	}{
		"forecast only after": {shivx.MitigationEffect{Forecast: 0.5, After: 0.49, ProbabilityBefore: 0.3, ProbabilityAfter: 0.3, BreachAfter: begin}, true, false},
		"learning anew":       {shivx.MitigationEffect{Forecast: 0.5, After: 0.49, ProbabilityBefore: 0.3, BreachBefore: begin}, false, false},
		"learning, but freed": {shivx.MitigationEffect{Forecast: 0.5, After: 0.2, ProbabilityBefore: 0.3, BreachBefore: begin}, false, true},
		"no failure any more": {shivx.MitigationEffect{Forecast: 0.5, After: 0.49, ProbabilityBefore: 0.3, ProbabilityAfter: 0.3, BreachBefore: begin}, true, true},
	} {
		s.helped(&c.effect, c.forecast)
		require.Equal(t, c.helped, c.effect.Helped, "%s: %s", name, c.effect.Why)
	}
}
