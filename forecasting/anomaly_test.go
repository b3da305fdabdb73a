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

const anomalyStep = 5 * time.Minute

// anomalyStart is a Monday.
var anomalyStart = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// alarmsOf runs a detector over n points and returns the alarms.
func alarmsOf(n int, value func(i int) float64) map[int]AnomalyScore {
	a := NewAnomaly()
	alarms := map[int]AnomalyScore{}
	for i := range n {
		if s := a.Update(anomalyStart.Add(time.Duration(i)*anomalyStep), value(i)); s.Score >= 0.5 {
			alarms[i] = s
		}
	}
	return alarms
}

// firstFrom returns the first alarm in the rows from first to last.
func firstFrom(alarms map[int]AnomalyScore, first, last int) (int, AnomalyScore, bool) {
	for i := first; i <= last; i++ {
		if s, ok := alarms[i]; ok {
			return i, s, true
		}
	}
	return 0, AnomalyScore{}, false
}

func kindsOf(s AnomalyScore) []AnomalyKind {
	var kinds []AnomalyKind
	for _, r := range s.Reasons {
		if r.Share > 0 {
			kinds = append(kinds, r.Kind)
		}
	}
	return kinds
}

// Each of the faults is seen in noise that is quiet before, soon and for its reason, whatever the noise.
func TestAnomalyOfEachKind(t *testing.T) {
	const at = 3000
	for _, c := range []struct {
		name   string
		fault  func(i int, noise float64) float64
		within int
		kind   AnomalyKind
		// named is in how many of the 20 series the kind is among the reasons of the first alarm.
		named int
	}{
		{"spike", func(i int, noise float64) float64 {
			if i == at {
				return 20
			}
			return noise
		}, 0, AnomalySpike, 20},
		{"drop", func(i int, noise float64) float64 {
			if i == at {
				return -20
			}
			return noise
		}, 0, AnomalySpike, 20},
		{"level", func(_ int, noise float64) float64 { return noise + 4 }, 6, AnomalyLevel, 20},
		{"flat line", func(int, float64) float64 { return 0.5 }, flatFrom + anomalyRest, AnomalyFlat, 20},
		{"variance", func(_ int, noise float64) float64 { return 4 * noise }, 20, AnomalySpike, 8},
		{"trend", func(i int, noise float64) float64 { return noise + 0.03*float64(i-at) }, 150, AnomalyTrend, 15},
	} {
		t.Run(c.name, func(t *testing.T) {
			named := 0
			for seed := range int64(20) {
				source := rand.New(rand.NewSource(seed))
				alarms := alarmsOf(at+200, func(i int) float64 {
					noise := source.NormFloat64()
					if i < at {
						return noise
					}
					return c.fault(i, noise)
				})
				i, s, ok := firstFrom(alarms, at, at+c.within)
				require.True(t, ok, "seed %d", seed)
				if c.within == 0 {
					require.Equal(t, at, i)
				}
				share := 0.0
				for _, r := range s.Reasons {
					share += r.Share
					require.NotEqual(t, r.Share > 0, r.Feature == "")
				}
				require.LessOrEqual(t, share, 1+1e-9)
				require.GreaterOrEqual(t, s.Reasons[0].Share, s.Reasons[1].Share)
				require.GreaterOrEqual(t, s.Reasons[1].Share, s.Reasons[2].Share)
				if slices.Contains(kindsOf(s), c.kind) {
					named++
				}
			}
			require.GreaterOrEqual(t, named, c.named)
		})
	}
}

// A day without its peak is no new value, so that only the season can tell.
func TestAnomalyOfADayThatIsMissing(t *testing.T) {
	const day = 288
	source := rand.New(rand.NewSource(1))
	alarms := alarmsOf(12*day, func(i int) float64 {
		v := source.NormFloat64()
		if i/day != 10 {
			v += 20 * max(0, math.Sin(2*math.Pi*float64(i%day)/day-math.Pi/2))
		}
		return v
	})
	_, s, ok := firstFrom(alarms, 10*day, 11*day-1)
	require.True(t, ok)
	require.Equal(t, AnomalySeason, s.Reasons[0].Kind)
	require.False(t, s.Reasons[0].High)
	for i := range alarms {
		require.True(t, i < 3*day || i >= 10*day, "alarm in row %d of a usual day", i)
	}
}

// A lasting change alarms at its begin, and a few times more until the new level is the usual one.
func TestAnomalyAlarmsOnce(t *testing.T) {
	const at = 3000
	total := 0
	for seed := range int64(20) {
		source := rand.New(rand.NewSource(seed))
		alarms := alarmsOf(at+1000, func(i int) float64 {
			if i < at {
				return source.NormFloat64()
			}
			return 10 + source.NormFloat64()
		})
		_, _, ok := firstFrom(alarms, at, at)
		require.True(t, ok, "seed %d", seed)
		for i := range alarms {
			if i > at {
				total++
			}
		}
	}
	require.LessOrEqual(t, total, 5*20, "in 20 series, 1,000 points each behind the change")
}

// Of independent noise, 20 series of 8,000 points each, next to nothing alarms; a cadence that is the same each day
// alarms never.
func TestAnomalyIsQuiet(t *testing.T) {
	const n, series = 8000, 20
	total := 0
	for seed := range int64(series) {
		source := rand.New(rand.NewSource(seed))
		total += len(alarmsOf(n, func(int) float64 { return 50 + source.NormFloat64() }))
	}
	require.Less(t, total, n*series/4000)

	for name, value := range map[string]func(i int) float64{
		"constant":    func(int) float64 { return 0.1 },
		"square wave": func(i int) float64 { return float64(20 + 60*(i/12%2)) },
		"sine":        func(i int) float64 { return math.Sin(2 * math.Pi * float64(i) / 48) },
	} {
		require.Empty(t, alarmsOf(5000, value), name)
	}
}

func TestAnomalyOfAConstantThatChanges(t *testing.T) {
	alarms := alarmsOf(2000, func(i int) float64 {
		if i >= 1000 {
			return 0.2
		}
		return 0.1
	})
	require.Contains(t, alarms, 1000)
	require.LessOrEqual(t, len(alarms), 4)
}

// A fall is as strange as the rise that mirrors it.
func TestAnomalyDoesNotDependOnTheSign(t *testing.T) {
	up, down := NewAnomaly(), NewAnomaly()
	source := rand.New(rand.NewSource(3))
	for i := range 3000 {
		at := anomalyStart.Add(time.Duration(i) * anomalyStep)
		v := source.ExpFloat64()
		a, b := up.Update(at, v), down.Update(at, -v)
		require.InDelta(t, a.Score, b.Score, 1e-9)
		for j := range a.Reasons {
			require.InDelta(t, a.Reasons[j].Share, b.Reasons[j].Share, 1e-9)
		}
	}
}

func TestAnomalySaysItsWarmUp(t *testing.T) {
	a := NewAnomaly()
	for i := range anomalyWarmUp + 10 {
		v := 1.0
		if i == 100 {
			v = 1e6
		}
		s := a.Update(anomalyStart.Add(time.Duration(i)*anomalyStep), v)
		require.Equal(t, i < anomalyWarmUp, s.WarmUp, i)
		if s.WarmUp {
			require.Zero(t, s.Score)
		}
	}
}

// Missing values change nothing: the scores of the others are the same with and without them.
func TestAnomalyWithMissingValues(t *testing.T) {
	whole, gaps := NewAnomaly(), NewAnomaly()
	source := rand.New(rand.NewSource(5))
	for i := range 3000 {
		at := anomalyStart.Add(time.Duration(i) * anomalyStep)
		for _, missing := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			s := gaps.Update(at, missing)
			require.Equal(t, AnomalyScore{WarmUp: i < anomalyWarmUp}, s)
		}
		v := source.NormFloat64()
		require.Equal(t, whole.Update(at, v), gaps.Update(at, v))
	}
}

// What was extreme long ago is forgotten: a level that was usual, and left, is strange again when it comes back.
func TestAnomalyForgets(t *testing.T) {
	const old, n = 4000, 8 * anomalyMemory
	source := rand.New(rand.NewSource(9))
	alarms := alarmsOf(n+100, func(i int) float64 {
		v := source.NormFloat64()
		if i < old || i >= n {
			v += 5
		}
		return v
	})
	_, _, ok := firstFrom(alarms, n, n+20)
	require.True(t, ok)
}

func TestAnomalyNeedsLittle(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Anomaly{}), uintptr(4096))
	a := NewAnomaly()
	source := rand.New(rand.NewSource(1))
	at := anomalyStart
	require.Zero(t, testing.AllocsPerRun(20000, func() {
		at = at.Add(anomalyStep)
		a.Update(at, source.ExpFloat64())
	}))
}

func TestAnomalyKindsHaveWords(t *testing.T) {
	seen := map[string]bool{"unknown": true}
	for k := range anomalyKinds {
		require.False(t, seen[k.String()], k)
		seen[k.String()] = true
	}
	require.Equal(t, "unknown", anomalyKinds.String())
}

// Any values at any times give scores from 0 to 1 and reasons that make sense.
func FuzzAnomaly(f *testing.F) {
	f.Add([]byte("a series of any bytes, of which eight are a value"), uint16(300), int64(1))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 240, 127, 255, 255, 255, 255, 255, 255, 239, 127}, uint16(0), int64(-1))
	f.Fuzz(func(t *testing.T, raw []byte, step uint16, clock int64) {
		a := NewAnomaly()
		at := time.Unix(clock, 0)
		for round := range 40 {
			for i := 0; i+8 <= len(raw); i += 8 {
				bits := uint64(0)
				for j, b := range raw[i : i+8] {
					bits |= uint64(b) << (8 * j)
				}
				at = at.Add(time.Duration(int64(step)-int64(raw[i])*int64(round)) * time.Second)
				s := a.Update(at, math.Float64frombits(bits))
				require.False(t, math.IsNaN(s.Score))
				require.GreaterOrEqual(t, s.Score, 0.0)
				require.LessOrEqual(t, s.Score, 1.0)
				for _, r := range s.Reasons {
					require.False(t, math.IsNaN(r.Share))
					require.LessOrEqual(t, r.Share, 1.0)
				}
			}
		}
		for _, e := range a.extremes {
			for i := range int(e.n) {
				require.False(t, math.IsNaN(float64(e.top[i])))
				require.True(t, i == 0 || e.top[i-1] >= e.top[i])
			}
		}
	})
}
