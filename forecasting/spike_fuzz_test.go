package forecasting

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzSpike(f *testing.F) {
	f.Add([]byte{1, 2, 3, 250, 0, 9, 9, 9, 128, 4}, 1.0)
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 0.0)
	f.Fuzz(func(t *testing.T, data []byte, capacity float64) {
		s, err := NewSpike(Options{Capacity: capacity, Horizon: 12 * time.Hour, Step: time.Hour})
		if err != nil {
			t.Skip()
		}
		fuzzed(data, capacity, s.Update, func(at time.Time) {
			requireSane(t, s.Forecast())
			if mean, low, high, ok := s.Expected(at); ok {
				require.True(t, low <= mean && mean <= high, "%v %v %v", low, mean, high)
				require.False(t, math.IsInf(low, 0) || math.IsInf(high, 0))
			}
			if quiet, ok := s.Quietest(at, at.Add(30*time.Hour), time.Hour); ok {
				require.False(t, quiet.Before(at) || quiet.After(at.Add(29*time.Hour)))
			}
		})
	})
}

// fuzzed makes measurements of bytes, good and bad ones, and checks now and then.
func fuzzed(data []byte, unit float64, update func(time.Time, float64), check func(time.Time)) {
	at := monday
	for i, x := range data {
		v := (float64(x) - 100) * unit / 100
		switch x % 16 {
		case 0:
			v = math.NaN()
		case 1:
			v = math.Inf(-1)
		case 2:
			v = math.MaxFloat64 * float64(x) / 255
		case 3:
			at = at.Add(time.Duration(int(x)-128) * 24 * time.Hour)
		case 4:
			v = 1e30
		}
		for range 1 + x%8 {
			update(at, v)
			at = at.Add(time.Duration(x) * time.Minute)
		}
		if i%3 == 0 {
			check(at)
		}
	}
}
