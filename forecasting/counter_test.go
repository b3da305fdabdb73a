package forecasting

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCounter(t *testing.T) {
	type reading struct {
		after time.Duration // since the start
		value float64
		rate  float64
		ok    bool
	}
	const s = time.Second
	for name, readings := range map[string][]reading{
		"steady":         {{0, 100, 0, false}, {10 * s, 200, 10, true}, {20 * s, 250, 5, true}, {30 * s, 250, 0, true}},
		"irregular":      {{0, 0, 0, false}, {10 * s, 100, 10, true}, {45 * s, 450, 10, true}, {47 * s, 470, 10, true}},
		"begins anew":    {{0, 1000, 0, false}, {10 * s, 1100, 10, true}, {20 * s, 50, 5, true}, {30 * s, 150, 10, true}},
		"duplicate":      {{0, 0, 0, false}, {10 * s, 100, 10, true}, {10 * s, 110, 0, false}, {20 * s, 200, 10, true}},
		"nearly at once": {{0, 0, 0, false}, {10 * s, 100, 10, true}, {10*s + 1, 101, 0, false}, {20 * s, 200, 10, true}},
		"falls a little": {{0, 1000, 0, false}, {10 * s, 1100, 10, true}, {20 * s, 1099, 0, true}, {30 * s, 1199, 9.9, true}},
		"clock goes back": {
			{3600 * s, 0, 0, false}, {3610 * s, 100, 10, true}, {10 * s, 200, 0, false}, {20 * s, 300, 10, true},
		},
		"clock goes ahead": {
			{0, 0, 0, false}, {10 * s, 100, 10, true}, {9999 * s, 200, 0, false}, {10009 * s, 300, 10, true},
		},
		"no numbers": {
			{0, math.NaN(), 0, false}, {0, 0, 0, false}, {10 * s, math.Inf(1), 0, false}, {10 * s, -1, 0, false},
			{10 * s, 1e40, 0, false}, {10 * s, 100, 10, true},
		},
		"one point": {{0, 7, 0, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var c Counter
			for i, r := range readings {
				rate, ok := c.Rate(start.Add(r.after), r.value)
				require.Equal(t, r.ok, ok, "reading %d", i)
				require.InDelta(t, r.rate, rate, 1e-9, "reading %d", i)
			}
		})
	}
}

func TestCounterWithoutGarbage(t *testing.T) {
	var c Counter
	i := 0
	require.Zero(t, testing.AllocsPerRun(100, func() {
		i++
		c.Rate(start.Add(time.Duration(i)*five), float64(i))
	}))
}

func FuzzCounter(f *testing.F) {
	f.Add([]byte{1, 2, 3, 250, 0, 9, 9, 9, 128, 4}, 1.0)
	f.Fuzz(func(t *testing.T, data []byte, unit float64) {
		var c Counter
		fuzzed(data, unit, func(at time.Time, v float64) {
			rate, ok := c.Rate(at, v)
			require.True(t, rate >= 0 && rate <= largest, "%v", rate)
			require.True(t, ok || rate == 0)
		}, func(time.Time) {})
	})
}
