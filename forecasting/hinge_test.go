package forecasting

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// bent returns n points that are flat until the onset and rise from there on.
func bent(n, onset int, base, slope float64) []float64 {
	y := make([]float64, n)
	for i := range y {
		y[i] = base + slope*math.Max(0, float64(i-onset))
	}
	return y
}

func TestHingeWithoutNoise(t *testing.T) {
	h := hingeOf(bent(72, 40, 0.3, 0.01))
	require.Equal(t, 40, h.onset)
	require.InDelta(t, 0.3, h.base, 1e-9)
	require.InDelta(t, 0.01, h.slope, 1e-9)
	require.InDelta(t, 0.61, h.end, 1e-9)
	require.InDelta(t, 1, h.fit, 1e-9)
	require.InDelta(t, 0, h.sd, 1e-7)
}

func TestHingeThatDoesNotRise(t *testing.T) {
	for name, y := range map[string][]float64{
		"flat":    bent(30, 30, 0.5, 0),
		"falling": bent(30, 0, 0.5, -0.01),
	} {
		h := hingeOf(y)
		require.Zero(t, h.slope, name)
		require.Equal(t, len(y)-1, h.onset, name)
		require.Equal(t, rise{}, riseOf(y, h), name)
	}
}

// Least squares by the normal equations for every onset, the slow way.
func TestHingeIsTheBestOfAll(t *testing.T) {
	y := bent(48, 17, 0.2, 0.004)
	for i := range y {
		y[i] += 3 * wiggle(i+5)
	}
	best, slope, onset := math.Inf(1), 0.0, 0
	for k := 0; k <= len(y)-4; k++ {
		var n, sx, sy, sxx, sxy, left float64
		for i, v := range y {
			x := math.Max(0, float64(i-k))
			n, sx, sy, sxx, sxy = n+1, sx+x, sy+v, sxx+x*x, sxy+x*v
		}
		b := (n*sxy - sx*sy) / (n*sxx - sx*sx)
		a := (sy - b*sx) / n
		for i, v := range y {
			d := v - a - b*math.Max(0, float64(i-k))
			left += d * d
		}
		if left < best {
			best, slope, onset = left, b, k
		}
	}
	h := hingeOf(y)
	require.Equal(t, onset, h.onset)
	require.InDelta(t, slope, h.slope, 1e-9)
	require.InDelta(t, math.Sqrt(best/float64(len(y))), h.sd, 1e-9)
}

func TestRiseTellsShapesApart(t *testing.T) {
	line := bent(80, 39, 0.2, 0.01)
	r := riseOf(line, hingeOf(line))
	require.InDelta(t, 0.25, r.quarter, 0.01)
	require.InDelta(t, 0.5, r.half, 0.01)
	require.InDelta(t, 0.75, r.late, 0.01)
	require.Zero(t, r.fall)
	require.Zero(t, r.idle)
	require.InDelta(t, 1.0/40, r.jump, 1e-3)

	warm := make([]float64, 80)
	for i := range warm {
		warm[i] = 0.2 - 0.4*math.Expm1(-math.Max(0, float64(i-39))/8)
	}
	require.Greater(t, riseOf(warm, hingeOf(warm)).half, 0.6, "a warm-up is made early")

	stairs := make([]float64, 80)
	for i := range stairs {
		stairs[i] = 0.2 + 0.1*math.Floor(math.Max(0, float64(i-39))/10)
	}
	s := riseOf(stairs, hingeOf(stairs))
	require.Greater(t, s.jump, 0.2)
	require.InDelta(t, s.jump, s.jumps, 1e-9, "every stair is as high as the others")

	teeth := make([]float64, 80)
	for i := range teeth {
		teeth[i] = 0.2 + 0.005*math.Max(0, float64(i-39)) + 0.02*math.Mod(float64(i), 10)
	}
	require.Greater(t, riseOf(teeth, hingeOf(teeth)).fall, 0.3)
}
