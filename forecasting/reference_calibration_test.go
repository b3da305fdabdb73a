package forecasting

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Pools of adjacent violators are those of the examples in scikit-learn's tests of its isotonic regression, and, with weights,
// those worked by hand.
func TestReferenceIsotonic(t *testing.T) {
	for _, c := range []struct{ values, weights, want []float64 }{
		{[]float64{3, 7, 5, 9, 8, 7, 10}, []float64{1, 1, 1, 1, 1, 1, 1}, []float64{3, 6, 6, 8, 8, 8, 10}},
		{[]float64{10, 0, 2}, []float64{1, 1, 1}, []float64{4, 4, 4}},
		{[]float64{1, 4, 1, 5}, []float64{1, 1, 2, 1}, []float64{1, 2, 2, 5}}, // (4+2·1)/3
		{[]float64{1, 2, 3}, []float64{1, 5, 1}, []float64{1, 2, 3}},
	} {
		isotonic(c.values, c.weights)
		require.InDeltaSlice(t, c.want, c.values, 1e-12)
	}
}

// Four forecasts of rain worked out in the encyclopedia's article on the Brier score: 1 and rain 0, 1 and none 1, 0.7
// and rain 0.09, 0.3 and rain 0.49.
func TestReferenceBrier(t *testing.T) {
	for _, f := range []struct {
		p     float64
		rain  bool
		score float64
	}{{1, true, 0}, {1, false, 1}, {0.7, true, 0.09}, {0.3, true, 0.49}, {0.5, false, 0.25}} {
		c := newCalibration(t, 0)
		c.Observe(f.p, f.rain, start)
		require.InDelta(t, f.score, c.Brier(), 1e-12)
	}
}

// Ten forecasts worked by hand. Of 0.1 one in five comes, of 0.8 three in five: the squares are 4·0.01 + 0.81
// and 3·0.04 + 2·0.64, in all 2.25; four of ten came, so that always forecasting 0.4 scores 0.24; and the shares are off by 0.1 and 0.2.
// Murphy's partition (J. Appl. Meteor. 12, 1973) of the Brier score into reliability, resolution and uncertainty is an identity.
func TestReferenceSkillAndCalibrationError(t *testing.T) {
	c := newCalibration(t, 0)
	for i := range 5 {
		c.Observe(0.1, i < 1, start)
		c.Observe(0.8, i < 3, start)
	}
	require.InDelta(t, 0.225, c.Brier(), 1e-12)
	require.InDelta(t, 1-0.225/0.24, c.Skill(), 1e-12)
	require.InDelta(t, 0.15, c.ECE(), 1e-12)
	reliability, resolution := 0.0, 0.0
	for _, b := range c.Reliability() {
		reliability += b.Count / 10 * (b.Forecast - b.Observed) * (b.Forecast - b.Observed)
		resolution += b.Count / 10 * (b.Observed - 0.4) * (b.Observed - 0.4)
	}
	require.InDelta(t, c.Brier(), reliability-resolution+0.4*0.6, 1e-12)
}

// Corners worked by hand: five forecasts of 0.5 of which all came, and the belief of 20, are 15 of 25, which is more than the
// 8.5/15 of the next bin, of which nothing but its 20 is known: together they are (15 + 20·8.5/15)/45.
func TestReferenceShrinking(t *testing.T) {
	c := newCalibration(t, 0)
	for range 5 {
		c.Observe(0.5, true, start)
	}
	require.InDelta(t, (15+20*8.5/15)/45, c.Apply(0.5), 1e-12)
}

// What is a half-life old weighs half, what is n of them old 2⁻ⁿ.
func TestReferenceHalfLife(t *testing.T) {
	c := newCalibration(t, time.Hour)
	c.Observe(0, true, start)
	c.Observe(0, false, start.Add(5*time.Hour))
	require.InDelta(t, math.Exp2(-5)/(1+math.Exp2(-5)), c.Brier(), 1e-12)
}
