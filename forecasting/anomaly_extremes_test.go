package forecasting

import (
	"math"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"
)

// extremesOf remembers the given peaks, a burst apart, between values of 0.
func extremesOf(peaks ...float32) *anomalyExtremes {
	e := &anomalyExtremes{peak: float32(math.Inf(-1))}
	for _, p := range peaks {
		e.add(p)
		for range anomalyBurst + 1 {
			e.add(-100)
		}
	}
	return e
}

func TestExtremesCountBursts(t *testing.T) {
	e := &anomalyExtremes{peak: float32(math.Inf(-1))}
	for _, v := range []float32{1, 5, 3, 7, 6, 2} { // one burst
		e.add(v)
	}
	require.Equal(t, uint8(1), e.n)
	require.Equal(t, []float32{7}, e.top[:1])
	for range anomalyBurst {
		e.add(0)
	}
	e.add(4)
	require.Equal(t, uint8(2), e.n)
	require.Equal(t, []float32{7, 4}, e.top[:2])
}

// Ten peaks of 10, 9, … 1 in 1,200 points, which are 100 bursts.
func TestSurpriseIsTheLogarithmOfTheReturnPeriod(t *testing.T) {
	e := extremesOf(3, 9, 1, 10, 5, 7, 2, 8, 4, 6)
	require.Equal(t, [anomalyPeaks]float32{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, e.top)
	for v, want := range map[float32]float64{
		0:    0,
		1:    0,                                 // the least of them is reached by chance
		9:    math.Log(100. / 2),                // two of 100 bursts reached it
		8.5:  math.Log(100 / 2.5),               // between the second and the third
		10:   math.Log(100),                     // one did
		15:   math.Log(100) + math.Log1p(5./5),  // the mean excess over 1 is 5
		1000: math.Log(100) + anomalyBeyond,     // limited
		12.5: math.Log(100) + math.Log1p(2.5/5), //
	} {
		require.InDelta(t, want, e.surprise(v, 100*anomalyBurst), 1e-6, v)
	}
}

func TestSurpriseWithoutSpread(t *testing.T) {
	e := extremesOf(0, 0, 0)
	require.Zero(t, e.surprise(0, 1200))
	require.InDelta(t, math.Log(100)+anomalyBeyond, e.surprise(1e-9, 1200), 1e-9)
	require.Zero(t, extremesOf(5).surprise(6, 1200), "one burst is no experience")
}

// Forgetting goes through all places and keeps the order.
func TestExtremesForget(t *testing.T) {
	e := extremesOf(3, 9, 1, 10, 5, 7, 2, 8, 4, 6)
	for turn := range 4 * anomalyPeaks {
		e.forget(turn)
		for i := 1; i < anomalyPeaks; i++ {
			require.Greater(t, e.top[i-1], e.top[i])
		}
	}
	require.Less(t, e.top[0], float32(1), "all peaks of then are forgotten")

	few := extremesOf(1, 2)
	before := *few
	few.forget(0)
	require.Equal(t, before, *few)
}

// In a stationary series as many peaks come as are forgotten: how often a surprise passes a limit stays the same.
func TestForgettingKeepsTheRate(t *testing.T) {
	source := rand.New(rand.NewSource(4))
	e := &anomalyExtremes{peak: float32(math.Inf(-1))}
	const rounds = 20
	var passed [rounds]int
	for i := range rounds * anomalyMemory {
		v := float32(source.NormFloat64())
		if e.surprise(v, float64(min(i, anomalyMemory))) > math.Log(anomalyMemory/anomalyBurst/3.) {
			passed[i/anomalyMemory]++
		}
		e.add(v)
		if i%(anomalyMemory/anomalyPeaks) == 0 {
			e.forget(i / (anomalyMemory / anomalyPeaks))
		}
	}
	late := 0
	for _, n := range passed[rounds/2:] {
		late += n
	}
	require.InDelta(t, 3, float64(late)/(rounds/2), 2, "of the three that are to be expected in the memory")
}
