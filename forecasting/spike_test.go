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

// office is a load that rises between 9 and 10 on weekdays, stays until 17, and hardly moves at weekends.
func office(i int) float64 {
	day, hour := i/aDay%7, float64(i%aDay)/12
	if day >= 5 {
		return 20
	}
	return 20 + 50*math.Max(0, math.Min(1, hour-9))*math.Max(0, math.Min(1, 18-hour))
}

func TestSpikeDaily(t *testing.T) {
	source := rand.New(rand.NewSource(1))
	s := newSpike(t, 65, time.Hour)
	for i := range 9*aDay + 8*12 + 6 { // Wednesday 08:30
		s.Update(monday.Add(time.Duration(i)*five), office(i)+source.NormFloat64())
	}
	f := s.Forecast()
	t.Logf("%+v", f)
	at := monday.Add(9*24*time.Hour + 8*time.Hour + 30*time.Minute)
	for k := range 12 {
		s.Update(at.Add(time.Duration(k)*five), office(9*aDay+8*12+6+k)+source.NormFloat64())
		f := s.Forecast()
		t.Logf("%d %.3f %v %v %v %v %+v", k, f.Probability, f.Low.Format("15:04"), f.BreachAt.Format("15:04"), f.High.Format("15:04"), f.Alert, f.Causes)
	}
	q, ok := s.Quietest(at, at.Add(24*time.Hour), time.Hour)
	t.Log(q, ok)
	mean, low, high, ok := s.Expected(monday.Add(11 * time.Hour))
	t.Log(mean, low, high, ok)
	mean, low, high, ok = s.Expected(monday.Add(5*24*time.Hour + 11*time.Hour))
	t.Log(mean, low, high, ok)
	t.Logf("%+v", s.residuals)
}

func TestSpikeSmallAndWithoutGarbage(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Spike{}), uintptr(4096))
	s := newSpike(t, 65, time.Hour)
	i := 0
	require.Zero(t, testing.AllocsPerRun(3000, func() {
		i++
		s.Update(start.Add(time.Duration(i)*five), office(i)+wiggle(i))
	}))
	t.Log(unsafe.Sizeof(Spike{}))
}
