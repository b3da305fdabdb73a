package forecasting

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Two trees worked by hand. The first asks for feature 3 at 10, then for feature 5 at 1 or feature 3 at 20; the second for feature
// 7 at 0 twice. What a step down changes belongs to the feature asked for (Saabas, Interpreting random forests,
// https://blog.datadive.net/interpreting-random-forests/, 2014): the answer is the bias, the roots, and the changes.
func TestReferenceTrees(t *testing.T) {
	m := Model{Bias: -1, Depth: 2, Trees: []Tree{
		{Feature: []uint8{3, 5, 3}, At: []float32{10, 1, 20}, Value: []float32{0.5, 0.25, 1, 0, 0.75, 0.875, 2}},
		{Feature: []uint8{7, 7, 7}, At: []float32{0, -1, 1}, Value: []float32{0, -0.5, 0.5, -1, -0.25, 0.25, 1}},
	}}
	require.NoError(t, m.check())
	for _, c := range []struct{ three, five, seven, sum, by3, by5, by7 float64 }{
		// To the left and left; left and right: a value at the split goes right.
		{9, 0, -0.5, -1 + 0 - 0.25, -0.25, -0.25, -0.25},
		{9, 1, 0, -1 + 0.75 + 0.25, -0.25, 0.5, 0.25},
		// To the right and left, and to the right twice by the same feature.
		{10, 7, -1.5, -1 + 0.875 - 1, 0.375, 0, -1},
		{20, 7, 1, -1 + 2 + 1, 1.5, 0, 1},
	} {
		var f, with [featureCount]float64
		f[3], f[5], f[7] = c.three, c.five, c.seven
		require.InDelta(t, c.sum, m.sum(&f, &with), 1e-12, "%+v", c)
		require.InDelta(t, c.by3, with[3], 1e-12, "%+v", c)
		require.InDelta(t, c.by5, with[5], 1e-12, "%+v", c)
		require.InDelta(t, c.by7, with[7], 1e-12, "%+v", c)
	}
	require.InDelta(t, 0.7310585786300049, logistic(1), 1e-15, "1/(1+1/e)")
}
