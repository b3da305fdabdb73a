package forecast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/config"
)

// daily is a load that is high by day: highest at 14:00, lowest at 02:00.
func daily(at time.Time) float64 {
	hour := float64(at.Hour()) + float64(at.Minute())/60
	return 0.45 - 0.35*math.Cos((hour-2)/24*2*math.Pi)
}

func cpu() config.Subsystem {
	return config.Subsystem{Name: "cpu", Enabled: true, Model: "spike", Capacity: 0.95, Horizon: time.Hour, Step: time.Minute,
		Series: []config.SubsystemSeries{{History: "cpu_ratio"}}}
}

// TestQuietTime is that of the host's load, before the failure.
func TestQuietTime(t *testing.T) {
	s := newStand(t, sharesOf("memory", "memory_ratio"), cpu())
	_, ok := s.engine.QuietTime("memory", begin.Add(24*time.Hour), time.Hour)
	require.False(t, ok, "nothing is known")
	wobble := noise(5)
	for end := begin.AddDate(0, 0, 4); s.now.Before(end); s.now = s.now.Add(time.Minute) {
		s.memory.add(s.now, "cpu_ratio", nil, daily(s.now)+0.01*wobble())
	}
	s.now = s.now.Add(-12 * time.Hour) // noon
	s.look()
	at, ok := s.engine.QuietTime("memory", s.now.Add(24*time.Hour), time.Hour)
	require.True(t, ok)
	require.WithinDuration(t, begin.AddDate(0, 0, 4).Add(2*time.Hour), at.Add(30*time.Minute), time.Hour)
	at, ok = s.engine.QuietTime("memory", s.now.Add(6*time.Hour), time.Hour)
	require.True(t, ok)
	require.WithinDuration(t, s.now.Add(5*time.Hour), at, 11*time.Minute, "in the evening it gets quieter, and there is no more time")
	_, ok = s.engine.QuietTime("memory", s.now.Add(time.Minute), time.Hour)
	require.False(t, ok, "no hour is left")

	tracks, err := s.engine.Tracks(t.Context(), "cpu", 30*24*time.Hour)
	require.NoError(t, err)
	require.LessOrEqual(t, len(tracks[0].Past), mostPast+1)
	last := tracks[0].Ahead[len(tracks[0].Ahead)-1]
	require.InDelta(t, daily(last.At), last.Value, 0.05, "the picture follows the hours")
	require.Less(t, last.Low, last.Value)
	require.Greater(t, last.High, last.Value)
}

// TestTracks of a leak go to the capacity at the time that is forecast.
func TestTracks(t *testing.T) {
	s, _ := leaking(t)
	tracks, err := s.engine.Tracks(t.Context(), "disk", 6*time.Hour)
	require.NoError(t, err)
	require.Len(t, tracks, 1)
	p := tracks[0].Prediction
	require.Equal(t, s.prediction("disk"), p)
	require.InDelta(t, 6*12, len(tracks[0].Past), 1)
	for i, b := range tracks[0].Ahead {
		require.LessOrEqual(t, b.Low, b.Value)
		require.LessOrEqual(t, b.Value, b.High)
		if i > 0 {
			require.GreaterOrEqual(t, b.Value, tracks[0].Ahead[i-1].Value)
		}
	}
	require.InDelta(t, p.Capacity, toward(&p, p.BreachAt, p.BreachAt), 1e-9)
	_, err = s.engine.Tracks(t.Context(), "dick", time.Hour)
	require.ErrorIs(t, err, errUnknown)
}

// TestCounters are watched by their rate; one that begins anew is none.
func TestCounters(t *testing.T) {
	errs := sharesOf("errors", "errors_total")
	errs.Counter, errs.Capacity = true, 10
	s := newStand(t, errs)
	count := 0.0
	s.run(begin.Add(10*time.Hour), func(at time.Time) {
		if count += 120; at.Sub(begin) == 5*time.Hour {
			count = 0
		}
		s.memory.add(at, "errors_total", nil, count)
	}, nil)
	p := s.prediction("errors")
	require.InDelta(t, 2, p.Value, 0.05)
	require.Less(t, p.Probability, 0.1)
	tracks, err := s.engine.Tracks(t.Context(), "errors", 9*time.Hour)
	require.NoError(t, err)
	for _, p := range tracks[0].Past {
		require.InDelta(t, 2, p.Value, 0.5, p.At)
	}
	s.start()
	s.look()
	require.InDelta(t, 2, s.prediction("errors").Value, 0.05)
}

// TestLimitOfAnotherSeries is that of the same labels.
func TestLimitOfAnotherSeries(t *testing.T) {
	of := sharesOf("files", "open")
	of.Series[0].Of = "open_limit"
	s := newStand(t, of)
	s.run(begin.Add(5*time.Hour), func(at time.Time) {
		for pool, limit := range map[string]float64{"a": 100, "b": 1000} {
			labels := map[string]string{"pool": pool}
			s.memory.add(at, "open_limit", labels, limit)
			s.memory.add(at, "open", labels, 50)
		}
		s.memory.add(at, "open", map[string]string{"pool": "without a limit"}, 50)
	}, nil)
	of2 := map[string]shivx.Prediction{}
	for _, p := range s.engine.Predictions() {
		of2[p.Series] = p
	}
	require.InDelta(t, 0.5, of2[`open/open_limit{pool="a"}`].Value, 1e-6)
	require.InDelta(t, 0.05, of2[`open/open_limit{pool="b"}`].Value, 1e-6)
	require.Equal(t, unmeasured, of2[`open/open_limit{pool="without a limit"}`].Missing)
}

// TestSourceAway: what was measured meanwhile is taken up, once.
func TestSourceAway(t *testing.T) {
	s, _ := leaking(t)
	s.memory.err = errors.New("the history is away")
	s.now = s.now.Add(10 * time.Minute)
	s.look()
	require.Empty(t, s.engine.Heatmap().Risks[0].Missing, "for a moment the last forecast holds")
	s.now = s.now.Add(time.Hour)
	s.look()
	require.Equal(t, "the history is away", s.engine.Heatmap().Risks[0].Missing)
	_, err := s.engine.Tracks(t.Context(), "disk", time.Hour)
	require.ErrorContains(t, err, "the history is away")

	s.o.History = nil
	s.start()
	s.look()
	require.Contains(t, s.engine.Heatmap().Risks[0].Missing, "there is no metric history; see the log")
}

// TestClockGoesBack: forecasts hold until it is where it was, and nothing is taken twice.
func TestClockGoesBack(t *testing.T) {
	s, measure := leaking(t)
	seen := s.engine.subsystems[0].series["used_ratio"].seen
	back := s.now.Add(-30 * time.Minute)
	for s.now = back; s.now.Before(back.Add(25 * time.Minute)); s.now = s.now.Add(5 * time.Minute) {
		s.look()
	}
	require.Equal(t, seen, s.engine.subsystems[0].series["used_ratio"].seen)
	s.now = back.Add(35 * time.Minute)
	s.run(s.now.Add(time.Hour), measure, nil)
	require.Empty(t, s.prediction("disk").Missing)
	require.Len(t, s.records(), 1)
}

// TestManySeries watches no more than it says.
func TestManySeries(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	for i := range maxSeries + 5 {
		s.memory.series = append(s.memory.series, Series{Name: "used_ratio", Labels: map[string]string{"i": fmt.Sprint(i)}, Points: []Point{{begin, 0.5, 0.5}}})
	}
	s.look()
	require.Len(t, s.engine.Predictions(), maxSeries)
	require.Equal(t, 5, s.engine.subsystems[0].cut)
	require.Contains(t, s.engine.Heatmap().Risks[0].Missing, "of 48 steps seen")
}

// TestEndOfALook: a look that is cut short loses nothing.
func TestEndOfALook(t *testing.T) {
	s, measure := leaking(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.engine.Look(ctx), context.Canceled)
	s.run(s.now.Add(10*time.Minute), measure, nil)
	require.Empty(t, s.prediction("disk").Missing)
}

// TestManyAsk at once, while it looks.
func TestManyAsk(t *testing.T) {
	s, _ := leaking(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				s.engine.Heatmap()
				s.engine.Predictions()
				s.engine.Worst("disk")
				s.engine.QuietTime("disk", begin.Add(100*time.Hour), time.Hour)
				_, _ = s.engine.Tracks(t.Context(), "disk", time.Hour)
				_ = s.engine.Look(t.Context())
			}
		})
	}
	all.Wait()
	require.True(t, s.engine.Heatmap().Risks[0].Alert)
	require.Len(t, s.records(), 1)
}

// TestClockGoesFarBack: it is followed, and a series that then ends is seen to have ended.
func TestClockGoesFarBack(t *testing.T) {
	s, _ := leaking(t)
	s.now, s.memory.series = s.now.Add(-2*time.Hour), nil
	s.look()
	require.Contains(t, s.engine.Predictions()[0].Missing, "the clock went back")
	s.now = s.now.Add(-10 * time.Hour)
	s.memory.add(s.now, "used_ratio", nil, 0.3)
	s.look()
	require.Equal(t, "learning: 1 of 48 steps seen, a forecast in 3h 55m", s.engine.Predictions()[0].Missing)
	s.now = s.now.Add(time.Hour)
	s.look()
	require.Contains(t, s.engine.Predictions()[0].Missing, "nothing was measured since")
}

// TestNoNumbers: NaN and infinities are no measurements, and what is no JSON reaches nobody.
func TestNoNumbers(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	bad := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e308}
	s.run(begin.Add(5*time.Hour), func(at time.Time) {
		i := int(at.Unix()/60) % 8
		if i < len(bad) {
			s.memory.add(at, "used_ratio", nil, bad[i])
			s.memory.add(at, "used_ratio", map[string]string{"of": "nothing"}, bad[i])
			return
		}
		s.memory.add(at, "used_ratio", nil, 0.3)
	}, nil)
	require.InDelta(t, 0.3, s.prediction("disk").Value, 1e-6)
	tracks, err := s.engine.Tracks(t.Context(), "disk", time.Minute)
	require.NoError(t, err)
	for _, v := range []any{tracks, s.engine.Predictions(), s.engine.Heatmap(), s.engine.keep()} {
		_, err := json.Marshal(v)
		require.NoError(t, err)
	}
	s.memory.series = nil
	for range 3 {
		s.now = s.now.Add(25 * time.Hour)
		s.look()
	}
	require.Empty(t, s.engine.Predictions(), "also what never was a number is forgotten")
}

// TestSeriesThatComeAndGo: those that are gone take no room from those that are there.
func TestSeriesThatComeAndGo(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	fill := func(n int) {
		s.memory.series = nil
		for i := range n {
			s.memory.series = append(s.memory.series, Series{Name: "used_ratio", Labels: map[string]string{"i": fmt.Sprint(s.now.Unix(), i)},
				Points: []Point{{s.now, 0.5, 0.5}}})
		}
		s.look()
	}
	fill(maxSeries)
	s.now = s.now.Add(time.Hour)
	fill(5)
	require.Equal(t, 5, s.engine.subsystems[0].cut)
	fill(5)
	require.Len(t, s.engine.Predictions(), 5)
}

// TestPastBreach: a failure is not forecast for a time that is past.
func TestPastBreach(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	sub, tr := ofModel(t, "exhaustion")
	tr.newest, tr.asked = s.now, floor(s.now, sub.Step).UnixNano()
	tr.forecast = forecasting.Forecast{Ready: true, Probability: 1, BreachAt: s.now.Add(-time.Minute), Low: s.now.Add(-time.Hour)}
	s.engine.predict(sub, tr, s.now)
	require.Equal(t, s.now, tr.prediction.BreachAt)
	require.Equal(t, s.now, tr.prediction.Low)
	require.Zero(t, tr.prediction.High)
}
