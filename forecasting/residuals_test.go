package forecasting

import (
	"math"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"
)

// High values that come in clusters make fewer first rises than those of a Gaussian process.
func TestHazardOfClusters(t *testing.T) {
	hazard := func(value func(source *rand.Rand) float64) float64 {
		source, r := rand.New(rand.NewSource(1)), newResiduals()
		for range slowSteps {
			r.take(value(source), 3)
		}
		return r.hazard()
	}
	require.InDelta(t, 1, hazard(func(source *rand.Rand) float64 { return source.NormFloat64() }), 0.15)
	burst := 0
	require.Less(t, hazard(func(source *rand.Rand) float64 {
		if burst--; burst < -200 && source.Intn(100) == 0 {
			burst = 40
		}
		if burst > 0 {
			return 3 + 2*source.NormFloat64()
		}
		return source.NormFloat64()
	}), 0.75)
}

// The slow part is followed while there are measurements, and forgotten where there are none.
func TestSlowPart(t *testing.T) {
	source, r, slow := rand.New(rand.NewSource(2)), newResiduals(), 0.0
	for range slowSteps {
		slow = 0.98*slow + 0.15*source.NormFloat64()
		r.take(slow+0.5*source.NormFloat64(), 5)
	}
	for range 50 {
		r.take(2+0.5*source.NormFloat64(), 5)
	}
	now, doubt := r.now, r.doubt
	require.Greater(t, now, 1.0)
	r.skip(10)
	require.Less(t, r.now, now)
	require.Greater(t, r.doubt, doubt)
	r.skip(math.MaxInt64)
	require.InDelta(t, 0, r.now, 1e-3)
	require.InDelta(t, r.share, r.doubt, 1e-3, "no more is known than of any time")
}

// A constant, or one value that is off, breaks nothing.
func TestResidualsOfAConstant(t *testing.T) {
	r := newResiduals()
	for range 20000 {
		r.take(0, 1000)
	}
	r.take(math.Inf(1), 1000)
	r.take(math.Inf(-1), 1000)
	for _, x := range []float64{r.now, r.doubt, r.share, r.keep, r.tail, r.excess, r.hazard(), r.beyond(3), r.quantile(0.9)} {
		require.False(t, math.IsNaN(x) || math.IsInf(x, 0))
	}
	require.Less(t, r.beyond(2), 0.01)
}
