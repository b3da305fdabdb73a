package resilience

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/vitals"
)

func defaultScore() config.ScoreRules {
	return config.ScoreRules{CriticalModule: 40, Module: 10, MinConfidence: 50}
}

func reading(r vitals.Resource, percent float64) vitals.Reading {
	return vitals.Reading{Resource: r, Percent: percent}
}

func mount(r vitals.Resource, at string, percent float64) vitals.Reading {
	return vitals.Reading{Resource: r, Subject: at, Percent: percent}
}

func gone(r vitals.Resource) vitals.Reading {
	return vitals.Reading{Resource: r, Missing: "timed out after 2s"}
}

func sampleOf(at time.Duration, readings ...vitals.Reading) vitals.Sample {
	return vitals.Sample{Elapsed: at, Readings: readings}
}

// idle is a host with nothing to do: every resource at zero.
func idle() []vitals.Reading {
	rs := []vitals.Reading{mount(vitals.Disk, "/", 0), mount(vitals.Disk, "/data", 0), mount(vitals.Inodes, "/", 0)}
	for _, r := range []vitals.Resource{vitals.CPU, vitals.Load, vitals.Memory, vitals.Threads, vitals.OpenFiles,
		vitals.Network, vitals.PressureCPU, vitals.PressureMemory, vitals.PressureIO} {
		rs = append(rs, reading(r, 0))
	}
	return rs
}

// TestScoreOfSituations holds the default curves to what they are made for.
func TestScoreOfSituations(t *testing.T) {
	critical := func(health float64) Module {
		return Module{Name: "nginx", Critical: true, State: "failing", Score: health}
	}
	other := Module{Name: "cron", State: "failing"}
	for _, c := range []struct {
		name     string
		readings []vitals.Reading
		modules  []Module
		score    float64
		level    shivx.Level
	}{
		{"an idle host", idle(), nil, 100, shivx.LevelNormal},
		{"a busy host", []vitals.Reading{reading(vitals.CPU, 85), reading(vitals.Load, 150)}, nil, 88.3, shivx.LevelNormal},
		{"a compile job with a process per core", []vitals.Reading{reading(vitals.CPU, 100), reading(vitals.Load, 110), reading(vitals.PressureCPU, 50)}, nil, 69.9, shivx.Level1},
		{"a compile job with two processes per core", []vitals.Reading{reading(vitals.CPU, 100), reading(vitals.Load, 200), reading(vitals.PressureCPU, 95)}, nil, 62.5, shivx.Level2},
		{"a compile job with four processes per core", []vitals.Reading{reading(vitals.CPU, 100), reading(vitals.Load, 400), reading(vitals.PressureCPU, 100)}, nil, 55.8, shivx.Level2},
		{"eight processes per core", []vitals.Reading{reading(vitals.CPU, 100), reading(vitals.Load, 800), reading(vitals.PressureCPU, 100)}, nil, 41.8, shivx.Level3},
		{"a fork bomb", []vitals.Reading{reading(vitals.CPU, 100), reading(vitals.Load, 5000), reading(vitals.PressureCPU, 100)}, nil, 23.7, shivx.LevelEmergency},
		{"a backup at night", []vitals.Reading{reading(vitals.PressureIO, 95), reading(vitals.Load, 120)}, nil, 60, shivx.Level2},
		{"score 45", []vitals.Reading{reading(vitals.Memory, 95.5)}, nil, 45, shivx.Level3},
		{"a disk at 90 %", []vitals.Reading{mount(vitals.Disk, "/", 90)}, nil, 85, shivx.LevelNormal},
		{"a full disk beside idle ones", append(idle(), mount(vitals.Disk, "/var", 100)), nil, 0, shivx.LevelEmergency},
		{"no inodes", []vitals.Reading{mount(vitals.Inodes, "/", 99.9)}, nil, 1, shivx.LevelEmergency},
		{"thrashing", []vitals.Reading{reading(vitals.Memory, 93), reading(vitals.PressureMemory, 50)}, nil, 18.8, shivx.LevelEmergency},
		{"stalled as long as systemd-oomd waits", []vitals.Reading{reading(vitals.PressureMemory, 60)}, nil, 13.3, shivx.LevelEmergency},
		{"no memory", []vitals.Reading{reading(vitals.Memory, 99)}, nil, 10, shivx.LevelEmergency},
		{"no process can start", []vitals.Reading{reading(vitals.Threads, 98)}, nil, 20, shivx.LevelEmergency},
		{"a broken network card", []vitals.Reading{reading(vitals.Network, 100)}, nil, 50, shivx.Level2},
		{"a critical module in a fault", idle(), []Module{critical(0)}, 60, shivx.Level2},
		{"a critical module half well", idle(), []Module{critical(50)}, 80, shivx.LevelNormal},
		{"another module in a fault", idle(), []Module{other}, 90, shivx.LevelNormal},
		{"two critical modules", idle(), []Module{critical(0), {Name: "db", Critical: true, State: "failing"}}, 52.4, shivx.Level2},
		{"a critical module and a short memory", []vitals.Reading{reading(vitals.Memory, 95)}, []Module{critical(0)}, 45.5, shivx.Level3},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewScorer(defaultScore()).Score(sampleOf(0, c.readings...), c.modules)
			checkScore(t, s)
			assert.InDelta(t, c.score, s.Value, 1e-9)
			assert.Equal(t, c.level, shivx.LevelOf(s.Value))
			assert.InDelta(t, 1, s.Confidence, 0)
		})
	}
}

// checkScore checks what holds of every score.
func checkScore(t testing.TB, s Score) {
	if wrong := wrongWith(s); wrong != "" {
		t.Helper()
		t.Fatalf("%s: %+v", wrong, s)
	}
}

func wrongWith(s Score) string {
	costs, worst, missing := 0.0, 100.0, 0
	for i, term := range s.Terms {
		known := term.Missing == "" || term.Stale
		switch {
		case !(term.Score >= 0 && term.Score <= 100), !(term.Cost >= 0), term.Name == "":
			return "a term is out of bounds"
		case i > 0 && term.Cost > s.Terms[i-1].Cost:
			return "not the dearest first"
		case known && term.Reading == "":
			return "a term without its reading"
		case !known && term.Cost != 0:
			return "what is not known costs"
		}
		if known {
			worst = min(worst, term.Score)
		}
		if term.Missing != "" {
			missing++
		}
		costs += term.Cost
	}
	switch {
	case !(s.Value >= 0 && s.Value <= 100), !(s.Confidence >= 0 && s.Confidence <= 1):
		return "out of bounds"
	case !(math.Abs(100-s.Value-costs) < 1e-6):
		return "the costs do not add up"
	case s.Value > worst:
		return "better than its worst term"
	case len(s.Missing) != missing:
		return "not all that is missing is named"
	}
	return ""
}

// randomSample is a host in any state, with a seed of its own; every reading is there.
func randomSample(r *rand.Rand) ([]vitals.Reading, []Module) {
	readings := idle()
	for i := range readings {
		if readings[i].Percent = r.Float64() * 110; readings[i].Resource == vitals.Load {
			readings[i].Percent *= 20
		}
		if r.IntN(3) == 0 {
			readings[i].Percent = math.Floor(readings[i].Percent)
		}
	}
	var modules []Module
	for range r.IntN(4) {
		modules = append(modules, Module{Name: string(rune('a' + len(modules))), State: "healthy", Score: r.Float64() * 100, Critical: r.IntN(2) == 0})
	}
	return readings, modules
}

func TestScoreLaws(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		readings, modules := randomSample(r)
		score := NewScorer(defaultScore()).Score(sampleOf(0, readings...), modules)
		checkScore(t, score)

		more := append([]vitals.Reading(nil), readings...)
		i := r.IntN(len(more))
		more[i].Percent += r.Float64() * 30
		worse := NewScorer(defaultScore()).Score(sampleOf(0, more...), modules)
		require.LessOrEqual(t, worse.Value, score.Value, "more %s: %v, was %v", more[i].Resource, more[i], readings[i])

		with := append(append([]vitals.Reading(nil), readings...), mount(vitals.Disk, "/idle", 1))
		require.InDelta(t, score.Value, NewScorer(defaultScore()).Score(sampleOf(0, with...), modules).Value, 0, "an idle disk changes nothing")

		r.Shuffle(len(with), func(i, j int) { with[i], with[j] = with[j], with[i] })
		require.InDelta(t, score.Value, NewScorer(defaultScore()).Score(sampleOf(0, with...), modules).Value, 0.1000001, "the order does not matter but for rounding")
	}
}

func TestCurveIsReadAtAndBetweenItsPoints(t *testing.T) {
	points := []config.Point{{At: 10, Score: 90}, {At: 20, Score: 50}, {At: 21, Score: 50}, {At: 40, Score: 0}}
	for at, want := range map[float64]float64{0: 90, 10: 90, 15: 70, 19.99: 50, 20: 50, 20.5: 50, 21: 50, 30.5: 25, 40: 0, 1e300: 0} {
		assert.InDelta(t, want, subscore(points, at), 0.05, "at %v", at)
	}
}

func TestConfiguredCurveReplacesTheDefault(t *testing.T) {
	rules := defaultScore()
	rules.Curves = []config.Curve{{Resource: "memory", Points: []config.Point{{At: 50, Score: 100}, {At: 60, Score: 0}}}}
	s := NewScorer(rules).Score(sampleOf(0, reading(vitals.Memory, 55), reading(vitals.CPU, 100)), nil)
	assert.InDelta(t, 50, s.Terms[0].Score, 0)
	assert.InDelta(t, 70, s.Terms[1].Score, 0, "the others keep theirs")
}

func TestMissingReadingCountsForAMinuteAndLowersConfidence(t *testing.T) {
	s := NewScorer(defaultScore())
	present := sampleOf(0, reading(vitals.CPU, 10), reading(vitals.Memory, 95), gone(vitals.Threads))
	got := s.Score(present, nil)
	checkScore(t, got)
	assert.Equal(t, []string{"threads"}, got.Missing)
	assert.InDelta(t, 4.0/5, got.Confidence, 1e-12)
	assert.Equal(t, Term{Name: "threads", Missing: "timed out after 2s"}, got.Terms[1], "never known: no score; named before what costs nothing")

	lost := func(at time.Duration) Score {
		got := s.Score(sampleOf(at, reading(vitals.CPU, 10), gone(vitals.Memory), gone(vitals.Threads)), nil)
		checkScore(t, got)
		assert.Equal(t, []string{"memory", "threads"}, got.Missing)
		assert.InDelta(t, 2.0/5, got.Confidence, 1e-12)
		return got
	}
	for _, at := range []time.Duration{5 * time.Second, time.Minute} {
		got = lost(at)
		assert.InDelta(t, 50, got.Value, 0, "after %s", at)
		assert.Equal(t, Term{Name: "memory", Reading: "95.0 %", Score: 50, Cost: 50, Missing: "timed out after 2s", Stale: true}, got.Terms[0])
	}
	assert.InDelta(t, 100, lost(time.Minute+1).Value, 0, "too old to count")

	s.Score(sampleOf(2*time.Minute, reading(vitals.CPU, 10), reading(vitals.Memory, 95)), nil)
	got = s.Score(sampleOf(125*time.Second, reading(vitals.CPU, 10)), nil)
	assert.Empty(t, got.Missing)
	assert.InDelta(t, 1, got.Confidence, 0, "what is not listed any more is not expected")
	assert.InDelta(t, 100, got.Value, 0)
	got = s.Score(sampleOf(130*time.Second, reading(vitals.CPU, 10), gone(vitals.Memory)), nil)
	assert.InDelta(t, 100, got.Value, 0, "and is forgotten")
}

func TestStaleReadingDoesNotOutliveAClockThatGoesBack(t *testing.T) {
	s := NewScorer(defaultScore())
	s.Score(sampleOf(time.Hour, reading(vitals.Memory, 95)), nil)
	got := s.Score(sampleOf(0, gone(vitals.Memory)), nil)
	assert.InDelta(t, 100, got.Value, 0)
	assert.InDelta(t, 0, got.Confidence, 0)
}

func TestWhatIsNoReading(t *testing.T) {
	for why, r := range map[string]vitals.Reading{
		"not a number":            reading(vitals.Memory, math.NaN()),
		"below zero":              reading(vitals.Memory, -1),
		"no curve to score it by": reading("gpu", 99),
	} {
		got := NewScorer(defaultScore()).Score(sampleOf(0, r, reading(vitals.Load, 1)), nil)
		checkScore(t, got)
		assert.Equal(t, why, got.Terms[0].Missing)
		assert.Less(t, got.Confidence, 1.0)
		assert.InDelta(t, 100, got.Value, 0)
	}
	for _, inf := range []int{-1, 1} {
		got := NewScorer(defaultScore()).Score(sampleOf(0, reading(vitals.Memory, math.Inf(inf))), nil)
		assert.Equal(t, "not a number", got.Terms[0].Missing)
	}
}

func TestEmptySampleHasNoConfidence(t *testing.T) {
	for _, modules := range [][]Module{nil, {{Name: "nginx", State: "healthy", Score: 100}}} {
		got := NewScorer(defaultScore()).Score(vitals.Sample{}, modules)
		checkScore(t, got)
		assert.InDelta(t, 0, got.Confidence, 0)
	}
}

func TestMountsAndModulesShareTheirWeight(t *testing.T) {
	got := NewScorer(defaultScore()).Score(sampleOf(0, reading(vitals.Memory, 1),
		mount(vitals.Disk, "/", 1), vitals.Reading{Resource: vitals.Disk, Subject: "/a", Missing: "x"}), nil)
	assert.InDelta(t, 3.0/4, got.Confidence, 1e-12, "two disks weigh 1 each")

	unknown := Module{Name: "nginx", Critical: true, State: "unknown"}
	got = NewScorer(defaultScore()).Score(sampleOf(0, reading(vitals.Memory, 1)), []Module{unknown, {Name: "cron", State: "healthy", Score: 100}})
	checkScore(t, got)
	assert.InDelta(t, (2+2.0/3)/4, got.Confidence, 1e-12, "the critical one weighs twice as much as the other")
	assert.Equal(t, []string{"module nginx"}, got.Missing)
	assert.Equal(t, "not checked yet", got.Terms[0].Missing)

	many := make([]Module, 100)
	for i := range many {
		many[i] = unknown
	}
	got = NewScorer(defaultScore()).Score(sampleOf(0, idle()...), many)
	assert.InDelta(t, 14.0/16, got.Confidence, 1e-12, "modules alone cannot freeze the level")
}

func TestReadingsForPeople(t *testing.T) {
	full := mount(vitals.Disk, "/var", 97.25)
	full.Detail = "97 of 100 GiB"
	got := NewScorer(defaultScore()).Score(sampleOf(0, full, reading(vitals.Load, 2e300)), []Module{{Name: "cron", State: "failing", Score: 34}})
	texts := map[string]string{}
	for _, term := range got.Terms {
		texts[term.Name] = term.Reading
	}
	assert.Equal(t, map[string]string{"disk[/var]": "97.2 %, 97 of 100 GiB", "load": "2e+300 %", "module cron": "failing, health 34"}, texts)
}
