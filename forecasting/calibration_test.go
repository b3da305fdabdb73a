package forecasting

import (
	"encoding/json"
	"math"
	"math/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newCalibration(t testing.TB, halfLife time.Duration) *Calibration {
	t.Helper()
	c, err := NewCalibration(CalibrationOptions{HalfLife: halfLife})
	require.NoError(t, err)
	return c
}

// observeMany observes forecasts that come true with the share that truth gives.
func observeMany(c *Calibration, n int, seed int64, truth func(p float64) float64) {
	source := rand.New(rand.NewSource(seed))
	for i := range n {
		p := source.Float64()
		c.Observe(p, source.Float64() < truth(p), start.Add(time.Duration(i)*time.Minute))
	}
}

func TestCalibrationOfNothing(t *testing.T) {
	for _, c := range []*Calibration{newCalibration(t, time.Hour), {}} {
		for _, p := range []float64{0, 1e-9, 0.001, 0.03, 0.5, 0.97, 1} {
			require.InDelta(t, p, c.Apply(p), 1e-12)
		}
		require.Zero(t, c.Apply(math.NaN()))
		require.Zero(t, c.Apply(-1))
		require.InDelta(t, 1, c.Apply(math.Inf(1)), 0)
		require.Zero(t, c.Brier())
		require.Zero(t, c.Skill())
		require.Zero(t, c.ECE())
		require.Len(t, c.Reliability(), Bins)
	}
}

// Forecasts twice as sure as they should be are corrected; corrected, they mean what they say.
func TestCalibrationCorrects(t *testing.T) {
	truth := func(p float64) float64 { return p / 2 }
	c := newCalibration(t, 0)
	observeMany(c, 20000, 1, truth)
	require.Greater(t, c.ECE(), 0.2)
	for p := 0.1; p < 0.95; p += 0.1 {
		require.InDelta(t, truth(p), c.Apply(p), 0.05, "p = %.1f", p)
	}
	corrected := newCalibration(t, 0)
	source := rand.New(rand.NewSource(2))
	for range 20000 {
		p := source.Float64()
		corrected.Observe(c.Apply(p), source.Float64() < truth(p), start)
	}
	require.Less(t, corrected.ECE(), 0.02)
	require.Greater(t, corrected.Skill(), c.Skill())
}

// A few outcomes hardly move a probability.
func TestCalibrationIsSlow(t *testing.T) {
	c := newCalibration(t, 0)
	for range 3 {
		c.Observe(0.9, false, start)
	}
	require.InDelta(t, 0.9, c.Apply(0.9), 0.13)
	require.Less(t, c.Apply(0.9), 0.9)
	require.InDelta(t, 0.3, c.Apply(0.3), 1e-9, "elsewhere nothing is known")
}

func TestCalibrationIsMonotone(t *testing.T) {
	for seed := range int64(50) {
		source := rand.New(rand.NewSource(seed))
		c := newCalibration(t, 0)
		for range 400 {
			c.Observe(source.Float64(), source.Intn(3) == 0, start)
		}
		before := 0.0
		for i := range 1001 {
			p := c.Apply(float64(i) / 1000)
			require.GreaterOrEqual(t, p, before, "seed %d, p = %v", seed, float64(i)/1000)
			before = p
		}
		require.InDelta(t, 1, before, 0)
	}
}

func TestCalibrationForgets(t *testing.T) {
	c := newCalibration(t, 24*time.Hour)
	for range 100 {
		c.Observe(0.5, true, start)
	}
	c.Observe(0.1, false, start.Add(24*time.Hour))
	require.InDelta(t, 50, c.Outcomes[binOf(0.5)].Count, 1e-9, "after a half-life")
	c.Observe(0.5, true, start)
	require.InDelta(t, 50.5, c.Outcomes[binOf(0.5)].Count, 1e-9, "an old outcome weighs as little as the others of its time")
	require.Equal(t, start.Add(24*time.Hour), c.Latest)
	c.Observe(0.1, false, start.Add(1000*24*time.Hour))
	require.InDelta(t, 0.5, c.Apply(0.5), 1e-9)
}

func TestCalibrationIgnoresWhatIsNoProbability(t *testing.T) {
	c := newCalibration(t, time.Hour)
	for _, p := range []float64{math.NaN(), -0.1, 1.1, math.Inf(1)} {
		c.Observe(p, true, start)
	}
	require.Equal(t, *newCalibration(t, time.Hour), *c)
}

// The state can be kept as JSON, and a broken one is found.
func TestCalibrationState(t *testing.T) {
	c := newCalibration(t, 24*time.Hour)
	observeMany(c, 500, 3, func(p float64) float64 { return p })
	kept, err := json.Marshal(c)
	require.NoError(t, err)
	var back Calibration
	require.NoError(t, json.Unmarshal(kept, &back))
	require.NoError(t, back.Check())
	require.Equal(t, c.Apply(0.7), back.Apply(0.7)) //nolint:testifylint // the very same number
	back.Outcomes[3].Happened = back.Outcomes[3].Count + 1
	require.ErrorContains(t, back.Check(), "bin 3")
	require.ErrorContains(t, (&Calibration{HalfLife: -1}).Check(), "half-life")
	require.ErrorContains(t, (&Calibration{Squares: math.NaN()}).Check(), "squares")
}

func TestCalibrationWithoutGarbage(t *testing.T) {
	c := newCalibration(t, time.Hour)
	i := 0
	require.Zero(t, testing.AllocsPerRun(100, func() {
		i++
		c.Observe(0.3, i%3 == 0, start.Add(time.Duration(i)*five))
		c.Apply(0.3)
	}))
}

func FuzzCalibration(f *testing.F) {
	f.Add([]byte{1, 2, 3, 250, 0, 9, 9, 9, 128, 4}, int64(time.Hour))
	f.Fuzz(func(t *testing.T, data []byte, halfLife int64) {
		c, err := NewCalibration(CalibrationOptions{HalfLife: time.Duration(halfLife)})
		if err != nil {
			t.Skip()
		}
		fuzzed(data, 1, func(at time.Time, p float64) { c.Observe(math.Abs(p), p < 0, at) }, func(time.Time) {
			require.NoError(t, c.Check())
			before := 0.0
			for i := range 101 {
				p := c.Apply(float64(i) / 100)
				require.True(t, p >= before && p <= 1, "%v after %v", p, before)
				before = p
			}
			require.True(t, c.Brier() >= 0 && c.Brier() <= 1)
			require.True(t, c.ECE() >= 0 && c.ECE() <= 1)
			require.LessOrEqual(t, c.Skill(), 1.0)
			for _, b := range c.Reliability() {
				require.True(t, b.Forecast >= 0 && b.Forecast <= 1 && b.Observed >= 0 && b.Observed <= 1, "%+v", b)
			}
		})
	})
}

// A clock that was years ahead does not end what is learned.
func TestCalibrationAfterAWrongClock(t *testing.T) {
	c := newCalibration(t, 24*time.Hour)
	c.Observe(0.5, true, start.AddDate(10, 0, 0))
	c.Observe(0.5, true, start)
	require.Equal(t, start, c.Latest)
	require.InDelta(t, 2, c.Outcomes[binOf(0.5)].Count, 1e-9)
}
