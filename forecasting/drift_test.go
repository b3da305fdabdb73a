package forecasting

import (
	"math"
	"math/rand"
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

// Shares of errors that grow to the limit in a day are seen in time, and the time is told.
func TestDriftDegradation(t *testing.T) {
	for name, level := range map[string]func(share float64) float64{
		"by sums":    func(share float64) float64 { return 0.004 + 0.046*share },
		"by factors": func(share float64) float64 { return 0.004 * math.Pow(12.5, share) },
	} {
		t.Run(name, func(t *testing.T) {
			inTime, covered := 0, 0
			const runs = 40
			for seed := range int64(runs) {
				source := rand.New(rand.NewSource(seed))
				d := newDrift(t, 0.05)
				const begin, end = 400, 688
				alerted := 0
				for i := range end {
					share := math.Max(0, float64(i-begin)/(end-begin))
					d.Update(start.Add(time.Duration(i)*five), level(share)*scatter(source, 0.3))
					f := d.Forecast()
					if f.Alert && alerted == 0 {
						alerted = i
					}
					if i == end-36 {
						at := start.Add(end * five)
						if !f.Low.IsZero() && !f.Low.After(at) && (f.High.IsZero() || !f.High.Before(at)) {
							covered++
						}
					}
				}
				if alerted > begin && alerted < end-6 {
					inTime++
				}
			}
			t.Logf("in time %d, covered %d of %d", inTime, covered, runs)
			require.GreaterOrEqual(t, inTime, runs*9/10)
		})
	}
}

func TestDriftHealthy(t *testing.T) {
	for name, value := range map[string]func(i int, source *rand.Rand) float64{
		"flat":  func(int, *rand.Rand) float64 { return 0.01 },
		"zero":  func(int, *rand.Rand) float64 { return 0 },
		"noise": func(_ int, source *rand.Rand) float64 { return 0.01 * scatter(source, 0.5) },
		"falling": func(i int, source *rand.Rand) float64 {
			return 0.04 * math.Exp(-float64(i)/300) * scatter(source, 0.3)
		},
		"daily": func(i int, source *rand.Rand) float64 {
			return 0.008 * (1.5 + math.Sin(float64(i)*2*math.Pi/288)) * scatter(source, 0.3)
		},
		"one burst": func(i int, source *rand.Rand) float64 {
			if i >= 500 && i < 512 {
				return 0.2
			}
			return 0.005 * scatter(source, 0.4)
		},
		"bursts": func(i int, source *rand.Rand) float64 {
			if i%97 < 3 {
				return 0.1
			}
			return 0.005 * scatter(source, 0.4)
		},
		"mostly zero": func(i int, source *rand.Rand) float64 {
			if i%11 == 0 {
				return 0.02 * source.Float64()
			}
			return 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			alerts, highest := 0, 0.0
			for seed := range int64(10) {
				source := rand.New(rand.NewSource(seed))
				d := newDrift(t, 0.05)
				for i := range 1500 {
					d.Update(start.Add(time.Duration(i)*five), value(i, source))
					f := d.Forecast()
					requireSane(t, f)
					highest = math.Max(highest, f.Probability)
					if f.Alert {
						alerts++
					}
				}
			}
			t.Logf("%d alerted steps of 15000, highest probability %.2f", alerts, highest)
		})
	}
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
