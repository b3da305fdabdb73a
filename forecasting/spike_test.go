package forecasting

import (
	"math"
	"math/rand"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func newSpike(t testing.TB, capacity float64, horizon time.Duration) *Spike {
	t.Helper()
	s, err := NewSpike(Options{Capacity: capacity, Horizon: horizon, Step: five})
	require.NoError(t, err)
	return s
}

// monday is one, at midnight.
var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

const aDay = 288 // steps

// office is a load that rises between 9 and 10 on weekdays, stays until 17, and does not move at weekends.
func office(i int) float64 {
	day, hour := i/aDay%7, float64(i%aDay)/12
	if day >= 5 {
		return 20
	}
	return 20 + 50*math.Max(0, math.Min(1, hour-9))*math.Max(0, math.Min(1, 18-hour))
}

// follow puts in the steps from first up to end, from a Monday on.
func follow(s *Spike, first, end int, value func(i int) float64) time.Time {
	for i := first; i < end; i++ {
		s.Update(monday.Add(time.Duration(i)*five), value(i))
	}
	return monday.Add(time.Duration(end) * five)
}

func noisy(seed int64, value func(i int) float64) func(i int) float64 {
	source := rand.New(rand.NewSource(seed))
	return func(i int) float64 { return value(i) + source.NormFloat64() }
}

func TestSpikeOptions(t *testing.T) {
	_, err := NewSpike(Options{Capacity: math.Inf(1), Horizon: time.Hour})
	require.ErrorContains(t, err, "capacity")
}

func TestSpikeWarmUp(t *testing.T) {
	s := newSpike(t, 65, time.Hour)
	require.Equal(t, "0 of 576 steps seen", s.Forecast().Missing)
	value := noisy(1, office)
	follow(s, 0, 575, value)
	require.Equal(t, "575 of 576 steps seen", s.Forecast().Missing, "the open one counts")
	follow(s, 575, 576, value)
	require.True(t, s.Forecast().Ready)
	half := newSpike(t, 65, time.Hour)
	for day := range 6 { // the afternoons are never measured
		follow(half, day*aDay, day*aDay+aDay/2, value)
	}
	require.Equal(t, "no day known at 12:00 UTC", half.Forecast().Missing)
}

// A rise that comes every working day is forecast before it begins, for its time, and not at weekends.
func TestSpikeDaily(t *testing.T) {
	s := newSpike(t, 65, time.Hour)
	value := noisy(1, office)
	const wednesday = 16 * aDay
	follow(s, 0, wednesday+8*12, value) // 08:00
	f := s.Forecast()
	require.Less(t, f.Probability, 0.01)
	require.Zero(t, f.BreachAt)
	require.Empty(t, f.Causes)
	now := follow(s, wednesday+8*12, wednesday+9*12+2, value) // 09:10, where it begins to rise
	f = s.Forecast()
	require.Greater(t, f.Probability, 0.9)
	require.True(t, f.Alert)
	require.WithinDuration(t, now.Add(46*time.Minute), f.BreachAt, 10*time.Minute)
	require.True(t, f.Low.Before(f.BreachAt) && f.High.After(f.BreachAt) && f.High.Sub(f.Low) < 30*time.Minute, "%+v", f)
	require.Equal(t, CauseSeason, f.Causes[0].Feature)
	require.InDelta(t, 70, f.Causes[0].Value, 3)
	follow(s, wednesday+9*12+2, wednesday+11*12, value)
	f = s.Forecast()
	require.InDelta(t, 1, f.Probability, 0)
	require.Equal(t, f.BreachAt, f.Low)
	follow(s, wednesday+11*12, wednesday+3*aDay+9*12, value) // Saturday, 09:00
	f = s.Forecast()
	require.Less(t, f.Probability, 0.05)
	require.False(t, f.Alert)
}

// On a day on which all is higher than usual, the usual rise is too much: before it begins that is known.
func TestSpikeOnAnUnusualDay(t *testing.T) {
	probability := func(extra float64) Forecast {
		s := newSpike(t, 82, time.Hour)
		source, slow := rand.New(rand.NewSource(3)), 0.0
		const thursday = 17 * aDay
		follow(s, 0, thursday+9*12+2, func(i int) float64 {
			// Half of what differs from the template goes on for hours.
			slow = 0.99*slow + 0.14*2*source.NormFloat64()
			if i >= thursday {
				return office(i) + extra + source.NormFloat64()
			}
			return office(i) + slow + source.NormFloat64()
		})
		return s.Forecast()
	}
	usual, unusual := probability(0), probability(12)
	require.Less(t, usual.Probability, 0.1)
	require.Greater(t, unusual.Probability, 3*usual.Probability+0.1)
	require.Contains(t, []string{unusual.Causes[0].Feature, unusual.Causes[len(unusual.Causes)-1].Feature}, CauseExcess)
}

func TestSpikeHealthy(t *testing.T) {
	for name, value := range map[string]func(i int) float64{
		"flat":   func(int) float64 { return 40 },
		"zero":   func(int) float64 { return 0 },
		"noise":  noisy(1, func(int) float64 { return 50 }),
		"office": noisy(2, office),
		"walk":   func(i int) float64 { return 40 + 20*math.Sin(float64(i)/700) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpike(t, 90, time.Hour)
			for day := range 15 {
				for hour := range 24 {
					follow(s, day*aDay+hour*12, day*aDay+hour*12+12, value)
					f := s.Forecast()
					requireSane(t, f)
					require.False(t, f.Alert, "day %d, %d:00: %+v", day, hour, f)
				}
			}
			f := s.Forecast()
			require.Less(t, f.Probability, 0.02)
			require.Zero(t, f.BreachAt)
		})
	}
}

// Of forecasts for made series with a season, slow and fast noise and heavy tails, as many come true as they say.
func TestSpikeProbabilities(t *testing.T) {
	c, err := NewCalibration(CalibrationOptions{})
	require.NoError(t, err)
	for seed := range int64(12) {
		source, slow := rand.New(rand.NewSource(seed)), 0.0
		values := make([]float64, 28*aDay)
		for i := range values {
			slow = 0.97*slow + source.NormFloat64()
			values[i] = office(i) + slow + source.ExpFloat64()*2
		}
		s := newSpike(t, 76, time.Hour)
		for i := range len(values) - 12 {
			s.Update(monday.Add(time.Duration(i)*five), values[i])
			if i < 14*aDay || i%7 != 0 || values[i] >= 76 {
				continue
			}
			came := false
			for _, v := range values[i+1 : i+13] {
				came = came || v >= 76
			}
			c.Observe(s.Forecast().Probability, came, monday)
		}
	}
	t.Logf("skill %.2f, calibration error %.3f", c.Skill(), c.ECE())
	require.Greater(t, c.Skill(), 0.4)
	require.Less(t, c.ECE(), 0.03)
}

func TestSpikeExpected(t *testing.T) {
	s := newSpike(t, 90, time.Hour)
	_, _, _, ok := s.Expected(monday)
	require.False(t, ok, "nothing was seen")
	now := follow(s, 0, 21*aDay, noisy(1, office))
	mean, low, high, ok := s.Expected(now.Add(12 * time.Hour)) // Monday noon
	require.True(t, ok)
	require.InDelta(t, 70, mean, 1)
	require.InDelta(t, 70-1.28, low, 1, "80 %% of normal noise lie within 1.28 deviations")
	require.InDelta(t, 70+1.28, high, 1)
	mean, _, _, ok = s.Expected(now.Add(5*24*time.Hour + 12*time.Hour)) // Saturday noon
	require.True(t, ok)
	require.Less(t, mean, 35.0, "what weekdays say fades")
}

func TestSpikeQuietest(t *testing.T) {
	s := newSpike(t, 90, time.Hour)
	_, ok := s.Quietest(monday, monday.Add(24*time.Hour), time.Hour)
	require.False(t, ok, "nothing was seen")
	value := noisy(1, func(i int) float64 {
		if hour := i % aDay / 12; hour == 3 || hour == 4 { // quiet from 3 to 5
			return 5
		}
		return 30 + office(i)
	})
	now := follow(s, 0, 14*aDay+6, value) // Monday 00:30
	at, ok := s.Quietest(now, now.Add(24*time.Hour), 2*time.Hour)
	require.True(t, ok)
	require.Equal(t, now.Truncate(time.Hour).Add(3*time.Hour), at)
	at, ok = s.Quietest(now.Add(6*time.Hour), now.Add(7*time.Hour), time.Hour)
	require.True(t, ok)
	require.Equal(t, now.Add(6*time.Hour), at, "one window alone")
	_, ok = s.Quietest(now, now.Add(time.Hour), 2*time.Hour)
	require.False(t, ok, "no window lies between")
	_, ok = s.Quietest(now, now.Add(time.Hour), 0)
	require.False(t, ok)
	at, ok = s.Quietest(now, now.Add(100*365*24*time.Hour), time.Hour)
	require.True(t, ok)
	require.True(t, at.Before(now.Add(8*24*time.Hour)))
}

func TestSpikeWhatIsNoMeasurement(t *testing.T) {
	clean, dirty := newSpike(t, 65, time.Hour), newSpike(t, 65, time.Hour)
	value := func(i int) float64 { return office(i) + 100*wiggle(i) }
	follow(clean, 0, 3*aDay, value)
	for i := range 3 * aDay {
		at := monday.Add(time.Duration(i) * five)
		dirty.Update(at, value(i))
		dirty.Update(at, math.NaN())
		dirty.Update(at, math.Inf(1))
		dirty.Update(at.Add(-time.Hour), 17) // late
	}
	require.Equal(t, clean.Forecast(), dirty.Forecast())
}

// What was learnt of the days outlives gaps and clocks that jump.
func TestSpikeGaps(t *testing.T) {
	value := noisy(1, office)
	s := newSpike(t, 65, time.Hour)
	follow(s, 0, 14*aDay, value)
	follow(s, 15*aDay, 15*aDay+9*12+2, value) // a day is missing
	require.Greater(t, s.Forecast().Probability, 0.9)
	s.Update(monday.Add(-time.Hour), 20)
	require.True(t, s.Forecast().Ready, "a clock that goes back")
	follow(s, 16*aDay, 16*aDay+9*12+2, value)
	require.Greater(t, s.Forecast().Probability, 0.5)
	// After years another load: it is soon learnt.
	for i := range 3 * aDay {
		s.Update(monday.Add(2*52*7*24*time.Hour+time.Duration(i)*five), 20)
	}
	require.Less(t, s.Forecast().Probability, 0.05)
}

// One point is no template, and two days of one value are one without a spread.
func TestSpikeOfOnePoint(t *testing.T) {
	s := newSpike(t, 65, time.Hour)
	s.Update(monday, 40)
	require.Equal(t, "1 of 576 steps seen", s.Forecast().Missing)
	_, _, _, ok := s.Expected(monday)
	require.False(t, ok)
	follow(s, 1, 3*aDay, func(int) float64 { return 40 })
	mean, low, high, ok := s.Expected(monday.Add(100 * time.Hour))
	require.True(t, ok)
	require.InDelta(t, 40, mean, 0)
	require.InDelta(t, 40, low, 0.2)
	require.InDelta(t, 40, high, 0.2)
}

func TestTemplateKnowsTheDay(t *testing.T) {
	for date, kind := range map[string]int{
		"2026-03-01": weekend, "2026-03-02": weekday, "2026-03-06": weekday, "2026-03-07": weekend,
		"1970-01-01": weekday, "1969-12-27": weekend, "1969-12-28": weekend, "1969-12-29": weekday,
	} {
		at, err := time.Parse(time.DateOnly, date)
		require.NoError(t, err)
		tpl := template{step: int64(five)}
		got, slot := tpl.slot(floorDiv(at.Add(10*time.Hour+25*time.Minute).UnixNano(), tpl.step))
		require.Equal(t, kind, got, date)
		require.Equal(t, 62, slot, "10:20 to 10:30")
	}
}

func TestSpikeLongSteps(t *testing.T) {
	s, err := NewSpike(Options{Capacity: 65, Horizon: 12 * time.Hour, Step: time.Hour})
	require.NoError(t, err)
	for i := range 14 * 24 {
		s.Update(monday.Add(time.Duration(i)*time.Hour), office(i*12))
	}
	f := s.Forecast()
	require.True(t, f.Ready)
	require.Greater(t, f.Probability, 0.9, "at midnight, for noon")
}

func TestSpikeSmallAndWithoutGarbage(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Spike{}), uintptr(4096))
	s := newSpike(t, 65, time.Hour)
	i := 0
	require.Zero(t, testing.AllocsPerRun(3000, func() {
		i++
		s.Update(start.Add(time.Duration(i)*five), office(i)+wiggle(i))
	}))
}
