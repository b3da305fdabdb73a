package forecast

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/forecasting"
)

// leaking runs a stand until its disk is about to be full; the measurements go on as it returns.
func leaking(t *testing.T) (*stand, func(at time.Time)) {
	t.Helper()
	s := newStand(t, sharesOf("disk", "used_ratio"))
	grows := leak(24*time.Hour, 0.3, 0.03, noise(1))
	measure := func(at time.Time) { s.memory.add(at, "used_ratio", nil, grows(at)) }
	for ; s.now.Before(begin.Add(22 * time.Hour)); s.now = s.now.Add(time.Minute) {
		measure(s.now)
	}
	require.True(t, s.run(begin.Add(48*time.Hour), measure, func() bool { return s.engine.Heatmap().Risks[0].Alert }))
	return s, measure
}

// TestRestart kills the engine: the new one knows what the old one did, from what was measured and kept, and records nothing twice.
func TestRestart(t *testing.T) {
	s, measure := leaking(t)
	before := s.prediction("disk")
	sub := s.engine.subsystems[0]
	pending, outcomes := len(sub.series["used_ratio"].pending), sub.count
	require.Positive(t, pending)
	require.Positive(t, outcomes)

	s.start() // without an end of the old one, as after kill -9
	require.Nil(t, s.engine.subsystems[0].worst(), "nothing is known before a look")
	s.look()
	after := s.prediction("disk")
	require.InDelta(t, before.Probability, after.Probability, 0.1)
	require.WithinDuration(t, before.BreachAt, after.BreachAt, time.Hour)
	require.Equal(t, before.Since, after.Since, "the alert is the same one")
	sub = s.engine.subsystems[0]
	require.Equal(t, outcomes, sub.count, "a past that is read again is no outcome")
	require.InDelta(t, pending, len(sub.series["used_ratio"].pending), 1)

	s.now = s.now.Add(time.Minute)
	s.run(s.now.Add(30*time.Minute), measure, nil)
	require.Len(t, s.records(), 1)
}

// TestGoneMeanwhile: an alert of a file system that is not there after a restart closes, once.
func TestGoneMeanwhile(t *testing.T) {
	s, _ := leaking(t)
	s.memory.series = nil
	s.start()
	s.look()
	require.True(t, s.engine.Predictions()[0].Alert)
	for end := s.now.Add(2 * time.Hour); s.now.Before(end); s.now = s.now.Add(5 * time.Minute) {
		s.look()
	}
	require.False(t, s.engine.Predictions()[0].Alert)
	require.Len(t, s.records(), 2)
}

// TestOutcomesOfTheTimeAway: what came true while no agent ran is known by what was measured, and counts.
func TestOutcomesOfTheTimeAway(t *testing.T) {
	s, measure := leaking(t)
	s.run(begin.Add(43*time.Hour), measure, nil) // some hours before it is full
	sub := s.engine.subsystems[0]
	count, pending := sub.count, len(sub.series["used_ratio"].pending)
	for end := s.now.Add(10 * time.Hour); s.now.Before(end); s.now = s.now.Add(time.Minute) {
		measure(s.now)
	}
	s.start()
	s.look()
	sub = s.engine.subsystems[0]
	require.Equal(t, count+pending, sub.count)
	happened := 0.0
	for _, o := range sub.learn.Outcomes {
		happened += o.Happened
	}
	require.Positive(t, happened, "the disk was full")
}

// TestDamagedState begins anew and keeps what was damaged.
func TestDamagedState(t *testing.T) {
	for name, damage := range map[string]func(good []byte) []byte{
		"cut off":     func(good []byte) []byte { return good[:len(good)/2] },
		"empty":       func([]byte) []byte { return nil },
		"zeros":       func(good []byte) []byte { return make([]byte, len(good)) },
		"old format":  func([]byte) []byte { return []byte(`{"version":0,"subsystems":{"disk":{"count":7}}}`) },
		"no object":   func([]byte) []byte { return []byte(`[1]`) },
		"new version": func([]byte) []byte { return []byte(`{"version":2}`) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, sharesOf("disk", "used_ratio"))
			require.NoError(t, s.engine.save())
			path := filepath.Join(s.o.Dir, stateFile)
			good, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, damage(good), 0o600))
			s.start()
			require.Zero(t, s.engine.subsystems[0].count)
			aside, err := filepath.Glob(path + ".damaged-*")
			require.NoError(t, err)
			require.Len(t, aside, 1)
			s.look()
			require.NoError(t, s.engine.save())
			s.start()
			aside, err = filepath.Glob(path + ".damaged-*")
			require.NoError(t, err)
			require.Len(t, aside, 1, "the new one is whole")
		})
	}
}

// TestDamagedCalibration takes over what is whole.
func TestDamagedCalibration(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	s.engine.subsystems[0].learn.Outcomes[3] = forecasting.Outcome{Count: 1, Forecast: 9}
	s.engine.subsystems[0].count = 1
	s.engine.next = 1
	require.NoError(t, s.engine.save())
	s.start()
	require.Zero(t, s.engine.subsystems[0].count)
	require.Zero(t, s.engine.subsystems[0].learn.Outcomes[3])
}

// TestOtherQuestion: what was learned of one horizon says nothing of another.
func TestOtherQuestion(t *testing.T) {
	s, _ := leaking(t)
	require.Positive(t, s.engine.subsystems[0].count)
	s.o.Rules.Subsystems[0].Horizon = 3 * time.Hour
	s.start()
	require.Zero(t, s.engine.subsystems[0].count)
	require.Empty(t, s.engine.subsystems[0].series)
}

// TestFullDisk: the forecasts go on when their state cannot be kept, and say so.
func TestFullDisk(t *testing.T) {
	s, measure := leaking(t)
	require.NoError(t, os.RemoveAll(s.o.Dir))
	for range 40 {
		s.now = s.now.Add(time.Minute)
		measure(s.now)
	}
	require.ErrorContains(t, s.engine.Look(t.Context()), "keep the state", "there is a new statement to keep")
	require.ErrorContains(t, s.engine.Acting(t.Context(), "disk", "k"), "keep the forecast", "what cannot be judged is not done")
	require.NotEmpty(t, s.engine.subsystems[0].series["used_ratio"].pending, "nothing was done")
	require.True(t, s.engine.Heatmap().Risks[0].Alert)
}

// TestAlertIsKeptLater: an alert that could not be kept is kept as soon as that can be.
func TestAlertIsKeptLater(t *testing.T) {
	s, _ := leaking(t)
	require.NoError(t, os.RemoveAll(s.o.Dir))
	for s.engine.Predictions()[0].Alert {
		s.now = s.now.Add(5 * time.Minute)
		s.memory.add(s.now, "used_ratio", nil, 0.1)
		_ = s.engine.Look(t.Context())
	}
	require.NoError(t, os.Mkdir(s.o.Dir, 0o750))
	s.now = s.now.Add(10 * time.Second)
	s.look()
	require.FileExists(t, filepath.Join(s.o.Dir, stateFile))
}

// TestDamagedMarks keep no agent from starting.
func TestDamagedMarks(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	require.NoError(t, os.Mkdir(filepath.Join(s.o.Dir, marksFile), 0o750))
	s.start()
	require.NoError(t, s.engine.Acting(t.Context(), "disk", "k"))
}

// TestGapBeforeTheDecisions: a gap long ago, read again after a restart, drops no newer decision.
func TestGapBeforeTheDecisions(t *testing.T) {
	s, tr := ofModel(t, "exhaustion")
	tr.pending = []decision{{At: begin.Add(10 * time.Hour), Raw: 0.5, Said: 0.5}}
	none := func(*tracker, time.Time, float64) {}
	tr.take(Point{begin, 0.1, 0.1}, s.Step, none)
	tr.take(Point{begin.Add(5 * time.Hour), 0.1, 0.1}, s.Step, none)
	require.Len(t, tr.pending, 1)
	tr.take(Point{begin.Add(20 * time.Hour), 0.1, 0.1}, s.Step, none)
	require.Empty(t, tr.pending, "what came of it was not seen")
}
