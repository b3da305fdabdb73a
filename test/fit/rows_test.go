package main

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/backtest"
)

// What is left out is made up for by the weight of what is kept.
func TestSampleKeepsTheWeight(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	l := backtest.Leak{Kind: "linear", Onset: 500, Exhausted: 1100, Values: make([]float64, 1101)}
	for i := range l.Values {
		l.Values[i] = 0.3 + 0.01*r.NormFloat64()
		if i > 500 {
			l.Values[i] += 0.7 * float64(i-500) / 600
		}
	}
	var all, soonest float64
	const rounds = 20
	for range rounds {
		for _, d := range sample(r, &l, 3, 4, horizon) {
			all += float64(d.weight)
			soonest += float64(d.weight * d.soon)
			require.Equal(t, d.soon > 0, l.Exhausted-d.at <= horizon)
			require.False(t, d.healthy)
		}
	}
	require.InDelta(t, (1100-2*horizon)/4, all/rounds, 25)
	require.InDelta(t, horizon/4, soonest/rounds, 2)
}
