package resilience

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

func defaultLevels() config.LevelRules {
	return config.LevelRules{DownSamples: 2, UpAfter: time.Minute, MaxUpAfter: 30 * time.Minute, Margin: 3}
}

// walk feeds a machine with a sample every 5 s.
type walk struct {
	t  testing.TB
	m  *Machine
	at time.Duration
	// changes are the levels it changed to.
	changes []shivx.Level
	reasons []string
}

func newWalk(t testing.TB, rules config.LevelRules, start shivx.Level) *walk {
	return &walk{t: t, m: NewMachine(rules, 0.5, start)}
}

func (w *walk) sample(score, confidence float64) *walk {
	w.at += 5 * time.Second
	before := w.m.Level()
	level, changed, reason := w.m.Observe(w.at, Score{Value: score, Confidence: confidence})
	if level != w.m.Level() || changed != (before != level) || changed != (reason != "") {
		w.t.Fatalf("from %s to %s, changed %v: %q; now %s", before, level, changed, reason, w.m.Level())
	}
	if changed {
		w.changes, w.reasons = append(w.changes, level), append(w.reasons, reason)
	}
	return w
}

func (w *walk) scores(scores ...float64) *walk {
	for _, s := range scores {
		w.sample(s, 1)
	}
	return w
}

// during gives the same score for some time.
func (w *walk) during(d time.Duration, score float64) *walk {
	for range d / (5 * time.Second) {
		w.sample(score, 1)
	}
	return w
}

func TestFalls(t *testing.T) {
	one, three := defaultLevels(), defaultLevels()
	one.DownSamples, three.DownSamples = 1, 3
	const n, l1, l2, l3, e = shivx.LevelNormal, shivx.Level1, shivx.Level2, shivx.Level3, shivx.LevelEmergency
	for _, c := range []struct {
		name   string
		rules  config.LevelRules
		start  shivx.Level
		scores []float64
		want   []shivx.Level
	}{
		{"score 45 gives LEVEL_3", defaultLevels(), n, []float64{45, 45}, []shivx.Level{l3}},
		{"one sample is none", defaultLevels(), n, []float64{90, 0, 90, 0, 90}, nil},
		{"a good one starts the count again", defaultLevels(), n, []float64{20, 90, 20, 90, 20, 20}, []shivx.Level{e}},
		{"the mildest of the samples", defaultLevels(), n, []float64{90, 45, 20, 20}, []shivx.Level{l3, e}},
		{"the mildest comes last", defaultLevels(), n, []float64{20, 70}, []shivx.Level{l1}},
		{"a slope", defaultLevels(), n, []float64{85, 79, 72, 64, 55, 49, 35, 29, 10}, []shivx.Level{l1, l2, l3, e}},
		{"not worse than now", defaultLevels(), l3, []float64{30, 30, 45, 49}, nil},
		{"thresholds belong to the better level", defaultLevels(), n, []float64{80, 80, 80, 65, 65, 50, 50, 30, 30}, []shivx.Level{l1, l2, l3}},
		{"just below the thresholds", defaultLevels(), n, []float64{79.9, 79.9, 64.9, 64.9, 49.9, 49.9, 29.9, 29.9}, []shivx.Level{l1, l2, l3, e}},
		{"at the bottom", defaultLevels(), e, []float64{0, 0, 0}, nil},
		{"one sample is enough", one, n, []float64{70, 10}, []shivx.Level{l1, e}},
		{"three in a row", three, n, []float64{40, 40, 85, 40, 60, 70, 40}, []shivx.Level{l1}},
		{"three in a row, then still worse", three, n, []float64{40, 60, 70, 40, 40, 40}, []shivx.Level{l1, l3}},
		{"an unknown level starts as NORMAL", defaultLevels(), "nonsense", []float64{85, 70, 70}, []shivx.Level{l1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, newWalk(t, c.rules, c.start).scores(c.scores...).changes)
		})
	}
}

func TestRisesOneLevelAtATime(t *testing.T) {
	w := newWalk(t, defaultLevels(), shivx.LevelEmergency)
	rises := map[time.Duration]shivx.Level{}
	for len(w.changes) < 4 && w.at < time.Hour {
		if n := len(w.changes); len(w.scores(90).changes) > n {
			rises[w.at] = w.m.Level()
		}
	}
	first := 5*time.Second + time.Minute
	assert.Equal(t, map[time.Duration]shivx.Level{first: shivx.Level3, first + time.Minute: shivx.Level2,
		first + 2*time.Minute: shivx.Level1, first + 3*time.Minute: shivx.LevelNormal}, rises)
	assert.Equal(t, "score at least 83 for 1m0s, now 90.0", w.reasons[3])
}

func TestRisesOnlyAsFarAsTheScoreAllows(t *testing.T) {
	w := newWalk(t, defaultLevels(), shivx.LevelEmergency).during(time.Hour, 67.9)
	assert.Equal(t, shivx.Level2, w.m.Level(), "LEVEL_1 needs 65 + 3")
	assert.Equal(t, "score 67.9, rises to LEVEL_1 only from 68 on", w.m.Held())
	assert.Equal(t, shivx.Level1, w.during(time.Hour, 68).m.Level())
}

func TestHeldSaysWhy(t *testing.T) {
	w := newWalk(t, defaultLevels(), shivx.LevelNormal)
	assert.Empty(t, w.scores(95).m.Held())
	assert.Equal(t, "worse than NORMAL in 1 of 2 samples", w.scores(40).m.Held())
	assert.Empty(t, w.scores(40).m.Held())
	assert.Equal(t, "score below 50 in 2 samples, now 40.0", w.reasons[0])
	w.scores(95, 95, 95, 95, 95)
	assert.Equal(t, "good enough since 20s, rises after 1m0s", w.m.Held())
	assert.Equal(t, "confidence too low: 49.9 % of the readings, 50 % are needed", w.sample(95, 0.4999).m.Held())
	assert.Equal(t, "good enough since 0s, rises after 1m0s", w.scores(95).m.Held(), "it begins again")
	assert.Equal(t, shivx.Level2, w.during(time.Minute, 95).m.Level())
	assert.Equal(t, "good enough since 0s, rises after 1m0s", w.m.Held(), "for the next level")
	assert.Empty(t, w.scores(55).m.Held())
}

func TestLowConfidenceHoldsBothWays(t *testing.T) {
	w := newWalk(t, defaultLevels(), shivx.Level2)
	for range 100 {
		w.sample(0, 0.49).sample(100, 0.49)
	}
	assert.Empty(t, w.changes)
	w.sample(0, 1).sample(0, 0.1).sample(0, 1)
	assert.Empty(t, w.changes, "the count began again")
	w.sample(0, 1)
	assert.Equal(t, []shivx.Level{shivx.LevelEmergency}, w.changes)
}

func TestNothingKnownHoldsWhateverIsConfigured(t *testing.T) {
	m := NewMachine(defaultLevels(), 0, shivx.LevelNormal)
	for i, s := range []Score{{}, {Confidence: math.NaN()}, {Value: math.NaN(), Confidence: 1}, {}, {}} {
		_, changed, _ := m.Observe(time.Duration(i)*5*time.Second, s)
		assert.False(t, changed)
		assert.NotEmpty(t, m.Held())
	}
}

func TestAShortGoodTimeStartsTheWaitAgain(t *testing.T) {
	w := newWalk(t, defaultLevels(), shivx.Level1)
	for range 10 {
		w.during(60*time.Second, 90).scores(70)
	}
	assert.Empty(t, w.changes, "60 s from the first good sample were never over")
	w.during(65*time.Second, 90)
	assert.Equal(t, []shivx.Level{shivx.LevelNormal}, w.changes)
}

// TestSingleSpikesDoNotHoldALongWait: a host that spikes for one sample every five minutes must come
// back even when relapses have made the wait half an hour.
func TestSingleSpikesDoNotHoldALongWait(t *testing.T) {
	w := newWalk(t, defaultLevels(), shivx.LevelNormal)
	w.m.wait = 30 * time.Minute
	w.scores(10, 10)
	for w.m.Level() == shivx.LevelEmergency && w.at < 2*time.Hour {
		w.during(295*time.Second, 90).scores(10)
	}
	assert.Equal(t, []shivx.Level{shivx.LevelEmergency, shivx.Level3}, w.changes)
	assert.InDelta(t, 31*time.Minute, w.at, float64(5*time.Minute))
}

func TestAlternatingSamplesNeitherRaiseNorLower(t *testing.T) {
	up, down := newWalk(t, defaultLevels(), shivx.Level3), newWalk(t, defaultLevels(), shivx.LevelNormal)
	for range 1000 {
		up.scores(90, 40)
		down.scores(90, 40)
	}
	assert.Empty(t, up.changes)
	assert.Empty(t, down.changes)
}

func TestRelapsesDoubleTheWaitAndGoodTimesHalveIt(t *testing.T) {
	w := newWalk(t, defaultLevels(), shivx.LevelNormal)
	// climb falls, rises again and tells how long the first rise took from the first good sample on.
	climb := func() time.Duration {
		w.scores(70, 70)
		require.Equal(t, shivx.Level1, w.m.Level())
		start := w.at + 5*time.Second
		for w.m.Level() != shivx.LevelNormal {
			w.scores(90)
		}
		return w.at - start
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		assert.Equal(t, want*time.Minute, climb())
	}
	w.during(30*time.Minute, 90)
	assert.Equal(t, 15*time.Minute, climb(), "half an hour is no relapse and halves the wait")
	assert.Equal(t, 30*time.Minute, climb(), "a relapse")
	w.during(24*time.Hour, 90)
	assert.Equal(t, time.Minute, climb(), "never less than up_after")
}

func TestOneTroubleIsOneRelapse(t *testing.T) {
	w := newWalk(t, defaultLevels(), shivx.Level1).during(65*time.Second, 90)
	require.Equal(t, shivx.LevelNormal, w.m.Level())
	w.scores(70, 70, 55, 55, 40, 40, 10, 10)
	assert.Equal(t, shivx.LevelEmergency, w.m.Level())
	assert.Equal(t, 2*time.Minute, w.m.wait)
}

func TestGapsAndClocksThatGoBack(t *testing.T) {
	for name, jump := range map[string]time.Duration{
		"a suspend": 8 * time.Hour, "a short gap": 56 * time.Second, "back": -time.Hour,
		"as far as it goes": math.MaxInt64 - time.Hour, "back as far as it goes": math.MinInt64 + time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			down := newWalk(t, defaultLevels(), shivx.LevelNormal).during(time.Minute, 90).scores(10)
			down.at += jump
			assert.Empty(t, down.scores(10).changes, "the first of its row")
			assert.NotEmpty(t, down.scores(10).changes)

			up := newWalk(t, defaultLevels(), shivx.Level1).during(time.Minute, 90)
			up.at += jump
			assert.Empty(t, up.during(time.Minute, 90).changes, "the wait began again")
			assert.NotEmpty(t, up.scores(90).changes)
		})
	}
	w := newWalk(t, defaultLevels(), shivx.LevelNormal).during(time.Minute, 90).scores(10)
	w.at += 40 * time.Second
	assert.NotEmpty(t, w.scores(10).changes, "45 s without a sample are no gap")

	w = newWalk(t, defaultLevels(), shivx.LevelNormal).during(time.Minute, 90)
	w.at -= 4900 * time.Millisecond
	assert.NotEmpty(t, w.scores(10, 10).changes, "nor are 5 s after two samples in a tenth of a second")
}

// TestSlowSamplesAreNoGap: a host so loaded that samples come every two minutes still falls.
func TestSlowSamplesAreNoGap(t *testing.T) {
	w := newWalk(t, defaultLevels(), shivx.LevelNormal).during(10*time.Minute, 90)
	for range 8 {
		w.at += 115 * time.Second
		w.scores(10)
	}
	assert.Equal(t, []shivx.Level{shivx.LevelEmergency}, w.changes)
	w.at += 115 * time.Second
	w.scores(90)
	w.at += 115 * time.Second
	w.scores(90)
	assert.Equal(t, shivx.Level3, w.m.Level(), "and rises")
}

func TestUnseenTimeDoesNotCountAsWell(t *testing.T) {
	w := newWalk(t, defaultLevels(), shivx.Level1).during(65*time.Second, 90)
	w.m.wait = 4 * time.Minute
	w.at += 24 * time.Hour
	w.scores(90)
	for range 1000 {
		w.sample(90, 0.1)
	}
	w.scores(90, 70, 70)
	assert.Equal(t, 8*time.Minute, w.m.wait, "a relapse: neither the suspend nor the time with too little confidence counts")
}
