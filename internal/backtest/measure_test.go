package backtest

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// scripted says at each step what a test wants.
type scripted struct {
	step int
	say  func(step int) Outlook
}

func (s *scripted) Take(float64)  { s.step++ }
func (s *scripted) Look() Outlook { return s.say(s.step - 1) }

func script(say func(step int) Outlook) []Contender {
	return []Contender{{"script", func(Task) (Forecaster, error) { return &scripted{say: say}, nil }}}
}

// A leak from step 300 to 400 and a healthy series of 400 steps. There are 38 decisions each, at 288, 291 … 399;
// those from 330 on, 24 of them, are positive.
func TestLeaksByHand(t *testing.T) {
	leaks := []Leak{
		{Onset: 300, Exhausted: 400, Values: make([]float64, 401)},
		{Onset: 300, Exhausted: -1, Values: make([]float64, 400)},
	}
	var done int
	scores, err := Judge{Done: func() { done++ }}.Leaks(t.Context(), leaks[:1], script(func(step int) Outlook {
		o := silent(step == 289 || step == 291 || step == 342) // no decision is at 289, and no leak at 291
		switch step {
		case 350:
			o.In, o.Low, o.High = 60, 40, math.Inf(1)
		case 375:
			o.In, o.Low, o.High = 25, 26, 30
		}
		return o
	}))
	require.NoError(t, err)
	require.Equal(t, 1, done)
	s := scores[0]
	require.Equal(t, "script", s.Forecaster)
	require.Equal(t, 38, s.Decisions)
	require.Equal(t, 24, s.Positives)
	require.InDelta(t, 1./2, float64(s.Precision), 1e-9)
	require.InDelta(t, 1./24, float64(s.Recall), 1e-9)
	require.InDelta(t, 1, float64(s.Caught), 0)
	require.InDelta(t, 58*5, float64(s.Lead), 0)
	require.InDelta(t, 10./50, float64(s.TimeError[0]), 1e-9)
	require.InDelta(t, 0, float64(s.TimeError[1]), 1e-9)
	require.InDelta(t, 1, float64(s.TimeError[2]), 1e-9)
	require.InDelta(t, 1./3, float64(s.Coverage), 1e-9)

	scores, err = Judge{}.Leaks(t.Context(), leaks, script(func(step int) Outlook { return silent(step == 297) }))
	require.NoError(t, err)
	s = scores[0]
	require.Equal(t, 76, s.Decisions)
	require.InDelta(t, 1, float64(s.CleanAlerted), 0)
	require.InDelta(t, 0, float64(s.Caught), 0, "it alerted before the onset alone")
	require.True(t, math.IsNaN(float64(s.Coverage)))
	require.Equal(t, [3]Figure{1, 1, 1}, s.TimeError)
}

// The test part is steps 10 to 39; the threshold is reached at 8, 20 and 21. After six values below it, decisions
// are at 14 to 19 and, as the horizon of those after 27 is not over, at 27.
func TestBreachesByHand(t *testing.T) {
	m := Metric{Host: "smd-1", Values: make([]float64, 40), Test: 10, Threshold: 1}
	m.Values[8], m.Values[20], m.Values[21] = 1, 2, 1
	scores, err := Judge{}.Breaches(t.Context(), []Metric{m}, script(func(int) Outlook { return silent(true) }))
	require.NoError(t, err)
	require.Equal(t, 7, scores[0].Decisions)
	require.Equal(t, 6, scores[0].Positives)
	require.InDelta(t, 6./7, float64(scores[0].Precision), 1e-9)
	require.Equal(t, "smd", m.Family())
}

// The capacity is reached at steps 60 and 70, from below. Asked is from step 48 on, for 5 steps ahead.
func TestOwnByHand(t *testing.T) {
	values := make([]float64, 100)
	values[20], values[60], values[61], values[70] = 1, 1, 3, 1
	task := Task{Capacity: 1, Horizon: 5, Step: time.Minute}
	scores, err := Judge{}.Own(t.Context(), values, task, script(func(step int) Outlook {
		o := silent(step == 50 || step >= 57 && step < 60)
		if step > 60 {
			o.In, o.Low, o.High = float64(70-step), 0, 5
		}
		return o
	}))
	require.NoError(t, err)
	s := scores[0]
	require.Equal(t, 95-48-3, s.Decisions, "not while it is there, nor when the end of the horizon is not known")
	require.Equal(t, 10, s.Positives)
	require.Equal(t, 2, s.Events)
	require.InDelta(t, 3./4, float64(s.Precision), 1e-9)
	require.InDelta(t, 1./2, float64(s.Caught), 1e-9)
	require.InDelta(t, 3, float64(s.Lead), 1e-9)
	require.InDelta(t, 0.5, float64(s.TimeError), 1e-9, "five errors of 1, five of 0")
	require.InDelta(t, 0.5, float64(s.Coverage), 1e-9)
}

func TestSteps(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	nan := math.NaN()
	require.Equal(t, []float64{2, 5, 5, 7}, Steps([]Point{
		{at(60), 1}, {at(90), 3}, {at(100), nan}, // the mean
		{at(120), 5}, {at(90), 99}, // late: left out
		{at(240), 7}, // nothing in between
	}, time.Minute))
	require.Len(t, Steps([]Point{{at(0), 1}, {at(1 << 30), 2}}, time.Second), 2+longestGap)
	require.Empty(t, Steps([]Point{{at(0), nan}}, time.Second))
}

// On simulated leaks ShivX is better than every peer. Its trees have seen such shapes: data of others tells more.
func TestSimulatedLeaks(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 11))
	var backgrounds [][]float64
	for range 20 {
		backgrounds = append(backgrounds, SyntheticBackground(r, 1800))
	}
	scores, err := Judge{}.Leaks(t.Context(), Simulate(r, backgrounds, 60, 1), Contenders())
	require.NoError(t, err)
	require.Equal(t, "ShivX", scores[0].Forecaster)
	require.Greater(t, float64(scores[0].F1), 0.6)
	for _, s := range scores {
		t.Logf("%-20s F1 %.3f, clean alerted %.3f, caught %.3f", s.Forecaster, s.F1, s.CleanAlerted, s.Caught)
		if s.Forecaster != "ShivX" {
			require.Greater(t, scores[0].F1, s.F1, s.Forecaster)
			require.Greater(t, scores[0].BrierSkill, s.BrierSkill, s.Forecaster)
		}
	}
}
