package forecasting

import (
	"math"
	"math/rand"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func newDrift(t testing.TB, capacity float64) *Drift {
	t.Helper()
	d, err := NewDrift(Options{Capacity: capacity, Horizon: 6 * time.Hour, Step: five})
	require.NoError(t, err)
	return d
}

// scatter is noise by factors: log-normal.
func scatter(source *rand.Rand, spread float64) float64 {
	return math.Exp(spread * source.NormFloat64())
}

func TestDriftOptions(t *testing.T) {
	_, err := NewDrift(Options{Capacity: -1, Horizon: time.Hour})
	require.ErrorContains(t, err, "more than 0")
	_, err = NewDrift(Options{Capacity: 1})
	require.ErrorContains(t, err, "horizon")
}

func TestDriftWarmUp(t *testing.T) {
	d := newDrift(t, 0.05)
	require.Equal(t, "0 of 48 steps seen", d.Forecast().Missing)
	for i := range 10 {
		d.Update(start.Add(time.Duration(i)*five), 0.01)
	}
	require.Equal(t, "10 of 48 steps seen", d.Forecast().Missing)
}

// degrade follows a share of errors that grows from step 400 to the limit of 0.05 at step 688, and returns the step of the
// first alert and the forecast three hours before the end.
func degrade(t *testing.T, seed int64, level func(share float64) float64) (alerted int, before Forecast) {
	t.Helper()
	source := rand.New(rand.NewSource(seed))
	d := newDrift(t, 0.05)
	for i := range 688 {
		share := math.Max(0, float64(i-400)/288)
		d.Update(start.Add(time.Duration(i)*five), level(share)*scatter(source, 0.3))
		f := d.Forecast()
		if f.Alert && alerted == 0 {
			alerted = i
		}
		if i == 688-36 {
			before = f
		}
	}
	return alerted, before
}

// Shares of errors that grow to the limit in a day are alerted between half an hour and two horizons before,
// and the intervals of the time hold most of the ends.
func TestDriftDegradation(t *testing.T) {
	for name, level := range map[string]func(share float64) float64{
		"by sums":    func(share float64) float64 { return 0.004 + 0.046*share },
		"by factors": func(share float64) float64 { return 0.004 * math.Pow(12.5, share) },
	} {
		t.Run(name, func(t *testing.T) {
			const runs = 40
			inTime, covered, end := 0, 0, start.Add(688*five)
			for seed := range int64(runs) {
				alerted, f := degrade(t, seed, level)
				if alerted > 688-144 && alerted < 688-6 {
					inTime++
				}
				require.Len(t, f.Causes, 2, "both the trend and the level that it came from")
				require.False(t, f.BreachAt.IsZero())
				if !f.Low.After(end) && (f.High.IsZero() || !f.High.Before(end)) {
					covered++
				}
			}
			t.Logf("in time %d, covered %d of %d", inTime, covered, runs)
			require.GreaterOrEqual(t, inTime, runs*9/10)
			require.GreaterOrEqual(t, covered, runs*6/10)
		})
	}
}

// wander is a level on the scale of a Drift that wanders, with a slope that does, about a place below the limit.
func wander(source *rand.Rand) []float64 {
	x, slope := make([]float64, 1000), 0.0
	x[0] = 1.6
	for i := 1; i < len(x); i++ {
		slope = 0.995*slope + 0.0008*source.NormFloat64()
		x[i] = math.Max(0, x[i-1]+slope+0.01*source.NormFloat64()-0.002*(x[i-1]-1.6))
	}
	return x
}

// Of forecasts for levels that wander, about as many come true as they say, although their slopes last less long than
// the forecasts have it.
func TestDriftProbabilities(t *testing.T) {
	c := newCalibration(t, 0)
	for seed := range int64(100) {
		source := rand.New(rand.NewSource(seed))
		x, d := wander(source), newDrift(t, 1)
		for i := range len(x) - 72 {
			d.Update(start.Add(time.Duration(i)*five), d.value(math.Max(0, x[i]+0.15*source.NormFloat64())))
			if i < 100 || i%12 != 0 || x[i] >= d.limit() {
				continue
			}
			c.Observe(d.Forecast().Probability, slices.Max(x[i+1:i+73]) >= d.limit(), start)
		}
	}
	t.Logf("skill %.2f, calibration error %.3f", c.Skill(), c.ECE())
	require.Greater(t, c.Skill(), 0.2)
	require.Less(t, c.ECE(), 0.04)
}

// Healthy series give no alert; where the row says so, not even a doubt.
func TestDriftHealthy(t *testing.T) {
	for name, c := range map[string]struct {
		value func(i int, source *rand.Rand) float64
		most  float64 // highest probability
	}{
		"flat":  {func(int, *rand.Rand) float64 { return 0.01 }, 0.01},
		"zero":  {func(int, *rand.Rand) float64 { return 0 }, 0.01},
		"noise": {func(_ int, source *rand.Rand) float64 { return 0.01 * scatter(source, 0.5) }, 0.6},
		"falling": {func(i int, source *rand.Rand) float64 {
			return 0.04 * math.Exp(-float64(i)/300) * scatter(source, 0.3)
		}, 1},
		"daily": {func(i int, source *rand.Rand) float64 {
			return 0.008 * (1.5 + math.Sin(float64(i)*2*math.Pi/288)) * scatter(source, 0.3)
		}, 1},
		"bursts": {func(i int, source *rand.Rand) float64 {
			if i%97 < 3 {
				return 0.1
			}
			return 0.005 * scatter(source, 0.4)
		}, 1},
		"one long burst": {func(i int, source *rand.Rand) float64 {
			if i >= 500 && i < 506 {
				return 0.2
			}
			return 0.005 * scatter(source, 0.4)
		}, 1},
		"mostly zero": {func(i int, source *rand.Rand) float64 {
			if i%11 == 0 {
				return 0.02 * source.Float64()
			}
			return 0
		}, 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range int64(10) {
				source := rand.New(rand.NewSource(seed))
				d := newDrift(t, 0.05)
				for i := range 1000 {
					d.Update(start.Add(time.Duration(i)*five), c.value(i, source))
					f := d.Forecast()
					requireSane(t, f)
					require.False(t, f.Alert, "seed %d, step %d: %+v", seed, i, f)
					require.LessOrEqual(t, f.Probability, c.most, "seed %d, step %d", seed, i)
				}
			}
		})
	}
}

// A flat series leads nowhere.
func TestDriftFlat(t *testing.T) {
	d := newDrift(t, 0.05)
	for i := range 300 {
		d.Update(start.Add(time.Duration(i)*five), 0.01)
	}
	f := d.Forecast()
	require.True(t, f.Ready)
	require.InDelta(t, 0.01, f.Level, 1e-6)
	require.Zero(t, f.BreachAt)
	require.Empty(t, f.Causes)
}

// An alert stays while the level is too high, and closes when it came down.
func TestDriftAlertCloses(t *testing.T) {
	d := newDrift(t, 0.05)
	source := rand.New(rand.NewSource(1))
	var changes []int
	alert := false
	for i := range 1200 {
		level := 0.01
		if i >= 400 && i < 800 {
			level = 0.08
		}
		d.Update(start.Add(time.Duration(i)*five), level*scatter(source, 0.3))
		if f := d.Forecast(); f.Alert != alert {
			alert = f.Alert
			changes = append(changes, i)
			if alert {
				require.NotZero(t, f.BreachAt)
			}
		}
	}
	require.Len(t, changes, 2, "it opens and closes once")
	require.InDelta(t, 410, changes[0], 12)
	require.InDelta(t, 810, changes[1], 24)
}

func TestDriftScaleDoesNotMatter(t *testing.T) {
	of := func(unit float64) Forecast {
		source := rand.New(rand.NewSource(2))
		d := newDrift(t, unit)
		for i := range 500 {
			d.Update(start.Add(time.Duration(i)*five), unit*(0.1+0.0014*float64(i))*scatter(source, 0.2))
		}
		return d.Forecast()
	}
	share, bytes := of(1), of(1e12)
	require.InDelta(t, share.Probability, bytes.Probability, 1e-9)
	require.Greater(t, share.Probability, 0.1)
	require.Equal(t, share.Causes[0].Feature, bytes.Causes[0].Feature)
}

func TestDriftWhatIsNoMeasurement(t *testing.T) {
	clean, dirty := newDrift(t, 1), newDrift(t, 1)
	for i := range 400 {
		at, v := start.Add(time.Duration(i)*five), 0.2+wiggle(i)
		clean.Update(at, v)
		dirty.Update(at, v)
		dirty.Update(at, math.NaN())
		dirty.Update(at, math.Inf(1))
		dirty.Update(at, math.Inf(-1))
		dirty.Update(at.Add(-time.Hour), 17) // late
	}
	require.Equal(t, clean.Forecast(), dirty.Forecast())
}

func TestDriftGaps(t *testing.T) {
	d := newDrift(t, 1)
	for i := range 400 {
		d.Update(start.Add(time.Duration(i)*five), 0.2+wiggle(i))
	}
	before := d.Forecast()
	d.Update(start.Add(440*five), 0.2)
	require.EqualValues(t, 440, d.seen, "steps without a measurement pass")
	require.InDelta(t, before.Level, d.Forecast().Level, 0.05)
	d.Update(start.Add(700*five), 0.2)
	require.False(t, d.Forecast().Ready, "a long gap begins anew")
	d.Update(start, 0.2)
	require.Equal(t, "1 of 48 steps seen", d.Forecast().Missing, "and so does a clock that goes far back")
}

// Figures of quality are not negative; what is counts as nothing.
func TestDriftNegative(t *testing.T) {
	d := newDrift(t, 1)
	for i := range 100 {
		d.Update(start.Add(time.Duration(i)*five), -1e6)
	}
	require.InDelta(t, 0, d.Forecast().Level, 1e-9)
}

func TestDriftSmallAndWithoutGarbage(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Drift{}), uintptr(1024))
	d := newDrift(t, 1)
	i := 0
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		i++
		d.Update(start.Add(time.Duration(i)*five), wiggle(i)+0.1)
	}))
}

func FuzzDrift(f *testing.F) {
	f.Add([]byte{1, 2, 3, 250, 0, 9, 9, 9, 128, 4}, 1.0)
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 1e-12)
	f.Fuzz(func(t *testing.T, data []byte, capacity float64) {
		d, err := NewDrift(Options{Capacity: capacity, Horizon: 12 * time.Hour, Step: time.Hour})
		if err != nil {
			t.Skip()
		}
		fuzzed(data, capacity, d.Update, func(time.Time) { requireSane(t, d.Forecast()) })
	})
}
