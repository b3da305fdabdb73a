package forecasting

import (
	"math"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

const five = 5 * time.Minute

func newBreach(t testing.TB, capacity float64) *Breach {
	t.Helper()
	b, err := NewBreach(Options{Capacity: capacity, Horizon: 6 * time.Hour, Step: five})
	require.NoError(t, err)
	return b
}

// feed puts values in, one each step, and returns the time of the last one.
func feed(b *Breach, n int, value func(i int) float64) time.Time {
	for i := range n {
		b.Update(start.Add(time.Duration(i)*five), value(i))
	}
	return start.Add(time.Duration(n-1) * five)
}

// wiggle is noise without a generator: it has no trend and does not repeat within a day.
func wiggle(i int) float64 { return 0.01 * math.Sin(float64(i*i)) }

func TestOptions(t *testing.T) {
	for text, o := range map[string]Options{
		"capacity NaN": {Capacity: math.NaN(), Horizon: time.Hour},
		"horizon":      {Capacity: 1},
		"step":         {Capacity: 1, Horizon: time.Hour, Step: -1},
		"288 steps":    {Capacity: 1, Horizon: 24 * time.Hour, Step: time.Minute},
		"6 to":         {Capacity: 1, Horizon: time.Hour, Step: time.Hour},
	} {
		_, err := NewBreach(o)
		require.ErrorContains(t, err, text)
	}
	b, err := NewBreach(Options{Capacity: 1, Horizon: 6 * time.Hour})
	require.NoError(t, err)
	require.Equal(t, int64(five), b.grid.step, "a 72nd of the horizon")
}

func TestSaysWhatItWaitsFor(t *testing.T) {
	b := newBreach(t, 1)
	require.Equal(t, "0 of 48 steps seen", b.Forecast().Missing)
	feed(b, 20, wiggle)
	f := b.Forecast()
	require.False(t, f.Ready)
	require.Equal(t, "20 of 48 steps seen", f.Missing)
	require.Zero(t, f.Probability)
}

func TestSteadyLeak(t *testing.T) {
	b := newBreach(t, 1)
	level := func(i int) float64 { return 0.3 + wiggle(i) + 0.0015*math.Max(0, float64(i-300)) } // full at 767
	at := feed(b, 740, level)
	f := b.Forecast()
	require.True(t, f.Ready)
	require.Greater(t, f.Probability, 0.8)
	require.Greater(t, f.Leak, 0.8)
	require.True(t, f.Alert)
	require.WithinDuration(t, start.Add(767*five), f.BreachAt, 2*time.Hour, "now %v", at)
	require.True(t, f.Low.Before(f.BreachAt) && f.High.After(f.BreachAt))
	require.NotEmpty(t, f.Causes)
	for i, c := range f.Causes[1:] {
		require.LessOrEqual(t, c.Weight, f.Causes[i].Weight)
	}
}

func TestHealthySeries(t *testing.T) {
	for name, value := range map[string]func(i int) float64{
		"flat":     func(int) float64 { return 0.4 },
		"zero":     func(int) float64 { return 0 },
		"noise":    func(i int) float64 { return 0.5 + 3*wiggle(i) },
		"falling":  func(i int) float64 { return 0.9 - 0.0005*float64(i) + wiggle(i) },
		"daily":    func(i int) float64 { return 0.4 + 0.2*math.Sin(float64(i)*2*math.Pi/288) + wiggle(i) },
		"sawtooth": func(i int) float64 { return 0.3 + 0.35*math.Mod(float64(i), 100)/100 + wiggle(i) },
		"warm-up":  func(i int) float64 { return 0.3 - 0.35*math.Expm1(-math.Max(0, float64(i-400))/60) + wiggle(i) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBreach(t, 1)
			for i := range 1500 {
				b.Update(start.Add(time.Duration(i)*five), value(i))
				if f := b.Forecast(); f.Alert {
					t.Fatalf("alert at step %d, level %.2f: %+v", i, f.Level, f)
				}
			}
			if f := b.Forecast(); name == "flat" || name == "zero" {
				require.Zero(t, f.BreachAt, "a flat series leads nowhere")
				require.Less(t, f.Probability, 0.05)
			}
		})
	}
}

func TestScaleDoesNotMatter(t *testing.T) {
	value := func(i int) float64 { return 0.3 + wiggle(i) + 0.001*math.Max(0, float64(i-300)) }
	one, bytes := newBreach(t, 1), newBreach(t, 64<<30)
	feed(one, 800, value)
	feed(bytes, 800, func(i int) float64 { return value(i) * (64 << 30) })
	a, b := one.Forecast(), bytes.Forecast()
	require.InDelta(t, a.Probability, b.Probability, 0.02)
	require.WithinDuration(t, a.BreachAt, b.BreachAt, five)
}

func TestAtTheCapacity(t *testing.T) {
	b := newBreach(t, 1)
	feed(b, 100, func(i int) float64 { return 0.4 + wiggle(i) })
	b.Update(start.Add(100*five), 1.2)
	require.InDelta(t, 1, b.Forecast().Probability, 0)
}

func TestWhatIsNoMeasurement(t *testing.T) {
	clean, dirty := newBreach(t, 1), newBreach(t, 1)
	feed(clean, 400, wiggle)
	for i := range 400 {
		at := start.Add(time.Duration(i) * five)
		dirty.Update(at, wiggle(i))
		dirty.Update(at, math.NaN())
		dirty.Update(at, math.Inf(1))
		dirty.Update(at.Add(-time.Hour), 17) // late
	}
	require.Equal(t, clean.Forecast(), dirty.Forecast())
}

func TestGaps(t *testing.T) {
	b := newBreach(t, 1)
	at := feed(b, 400, wiggle)
	b.Update(at.Add(40*five), 0.1)
	require.EqualValues(t, 439, b.seen, "a short gap keeps the last value")
	b.Update(at.Add(200*five), 0.1)
	require.EqualValues(t, 0, b.seen, "a long one begins anew")
	require.False(t, b.Forecast().Ready)
	b.Update(at, 0.1)
	require.EqualValues(t, 0, b.seen, "and so does a clock that goes far back")
}

func TestSeveralMeasurementsInAStep(t *testing.T) {
	one, many := newBreach(t, 1), newBreach(t, 1)
	feed(one, 300, wiggle)
	for i := range 300 {
		for k := range 5 {
			many.Update(start.Add(time.Duration(i)*five+time.Duration(k)*time.Minute), wiggle(i)+0.001*float64(k-2))
		}
	}
	require.InDelta(t, one.Forecast().Probability, many.Forecast().Probability, 1e-6)
}

func TestSmallAndWithoutGarbage(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Breach{}), uintptr(4096))
	b := newBreach(t, 1)
	at := feed(b, 1000, wiggle)
	i := 0
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		i++
		b.Update(at.Add(time.Duration(i)*five), wiggle(i))
	}))
}

func TestFrozenModels(t *testing.T) {
	require.NotEmpty(t, models.Made)
	require.Equal(t, FeatureNames(), models.Features)
	for _, m := range []*Model{&models.Exhaustion, &models.Leak, &models.Alarm, &models.Recurrence, &models.Time, &models.Doubt} {
		require.NotEmpty(t, m.Trees)
		require.NoError(t, m.check())
	}
	require.Less(t, models.Close, models.Open)
	broken := models.Leak
	broken.Trees = append([]Tree{{Feature: []uint8{1}}}, broken.Trees...)
	require.ErrorContains(t, broken.check(), "tree 0 is not full")
}

// The weights of all features and what the model says of nothing make the log-odds.
func TestContributionsAddUp(t *testing.T) {
	b := newBreach(t, 1)
	feed(b, 700, func(i int) float64 { return 0.3 + wiggle(i) + 0.001*float64(i) })
	c := *b
	c.closeOpen()
	var f, with [featureCount]float64
	c.features(&f)
	m := &models.Exhaustion
	sum, total := m.sum(&f, &with), m.Bias
	for i := range m.Trees {
		total += float64(m.Trees[i].Value[0])
	}
	for _, w := range with {
		total += w
	}
	require.InDelta(t, sum, total, 1e-3)
}

func FuzzBreach(f *testing.F) {
	f.Add([]byte{1, 2, 3, 250, 0, 9, 9, 9, 128, 4}, 1.0)
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 0.0)
	f.Fuzz(func(t *testing.T, data []byte, capacity float64) {
		b, err := NewBreach(Options{Capacity: capacity, Horizon: time.Hour, Step: five})
		if err != nil {
			t.Skip()
		}
		at := start
		for i, x := range data {
			v := (float64(x) - 100) * capacity / 100
			switch x % 16 {
			case 0:
				v = math.NaN()
			case 1:
				v = math.Inf(-1)
			case 2:
				v = math.MaxFloat64 * float64(x) / 255
			case 3:
				at = at.Add(time.Duration(int(x)-128) * time.Hour)
			}
			b.Update(at, v)
			at = at.Add(time.Duration(x) * time.Minute / 8)
			if i%3 == 0 {
				requireSane(t, b.Forecast())
			}
		}
	})
}

func requireSane(t *testing.T, f Forecast) {
	t.Helper()
	for _, x := range []float64{f.Level, f.Probability, f.Leak} {
		require.False(t, math.IsNaN(x), "%+v", f)
	}
	require.True(t, f.Probability >= 0 && f.Probability <= 1 && f.Leak >= 0 && f.Leak <= 1)
	if !f.BreachAt.IsZero() {
		require.False(t, f.Low.IsZero() || f.Low.After(f.BreachAt), "%+v", f)
	}
	for _, c := range f.Causes {
		require.False(t, math.IsNaN(c.Value) || math.IsInf(c.Value, 0), c.Feature)
	}
}
