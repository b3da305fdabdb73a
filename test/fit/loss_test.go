package main

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/backtest"
)

// The derivative that presses on a healthy series is that of the logistic loss of its softest maximum.
func TestPressIsADerivative(t *testing.T) {
	tab := &table{healthy: []int32{-1, 7, 7, 7, 9}, worth: []float32{1, 2, 2, 2, 1}}
	sums := []float64{3, -1, 0.5, 0.2, -4}
	g, h := make([]float32, 5), make([]float32, 5)
	pressHealthy(tab, sums, g, h)
	require.Zero(t, g[0], "a leak is left alone")
	loss := func(of []float64) float64 {
		all := 0.0
		for _, s := range of {
			all += math.Exp(s)
		}
		return price * 2 * math.Log1p(all)
	}
	for i := 1; i <= 3; i++ {
		up, down := append([]float64{}, sums[1:4]...), append([]float64{}, sums[1:4]...)
		up[i-1] += 1e-5
		down[i-1] -= 1e-5
		require.InDelta(t, (loss(up)-loss(down))/2e-5, g[i], 1e-3)
		require.Positive(t, h[i])
	}
	require.InDelta(t, price*logistic(-4), g[4], 1e-3, "a series of one moment")
}

func TestStraighten(t *testing.T) {
	var ds []decision
	for i := range 4000 {
		odds := float64(i%41)/10 - 2 // what was forecast; the truth is twice that and one more
		came := float32(0)
		if math.Mod(float64(i)*0.6180339887, 1) < logistic(2*odds+1) {
			came = 1
		}
		ds = append(ds, decision{odds: odds, soon: came})
	}
	scale, shift := straighten(ds)
	require.InDelta(t, 2, scale, 0.15)
	require.InDelta(t, 1, shift, 0.15)
}

func TestQuietAlertsNoMoreThanItsShare(t *testing.T) {
	var ds []decision
	for i := range 50 {
		ds = append(ds, decision{series: i, healthy: true, alert: float64(i) - 1}, decision{series: i, healthy: true, alert: float64(i)})
	}
	ds = append(ds, decision{series: 99, alert: 1000})
	open := quiet(ds, 0.04)
	alerted := map[int]bool{}
	for _, d := range ds {
		if d.healthy && d.alert >= open {
			alerted[d.series] = true
		}
	}
	require.Len(t, alerted, 2, "of fifty")
}

func TestBackgroundsStayTogether(t *testing.T) {
	var leaks []backtest.Leak
	for range 8 {
		for _, kind := range []string{"linear", "none", "step"} {
			leaks = append(leaks, backtest.Leak{Kind: kind})
		}
	}
	leaks = append(leaks[:4], leaks[5:]...) // one background has a kind less
	fold := foldsOf(leaks)
	require.Equal(t, []int{0, 0, 0, 0, 0, 1}, fold[:6])
	require.Equal(t, 3, fold[len(fold)-1])
}

// Trees find what decides, and ask for it in the terms that the forecaster uses.
func TestFitFindsTheSplit(t *testing.T) {
	var rows []decision
	for i := range 2000 {
		x := []float32{float32(i % 7), float32(i%100) / 100}
		d := decision{series: i, x: x, weight: 1}
		if x[1] >= 0.6 {
			d.soon = 1
		}
		rows = append(rows, d)
	}
	m := fit(newTable(rows, soon), settings{trees: 40, depth: 2, rate: 0.3, lambda: 1, least: 1}, chance)
	require.Less(t, logistic(predict(m, []float32{3, 0.5})), 0.05)
	require.Greater(t, logistic(predict(m, []float32{3, 0.7})), 0.95)
}
