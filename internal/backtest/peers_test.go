package backtest

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func after(f Forecaster, values ...float64) Outlook {
	for _, v := range values {
		f.Take(v)
	}
	return f.Look()
}

func TestLinear(t *testing.T) {
	task := Task{Capacity: 10, Horizon: 4, Step: 15 * time.Minute} // four values in an hour
	hour := func() Forecaster { return newLinear(task, time.Hour) }

	o := after(hour(), 90, 90, 1, 2, 3, 4) // what is older than the window does not count
	require.InDelta(t, 6, o.In, 1e-9)
	require.False(t, o.Alert)
	require.Zero(t, o.Probability)

	o = after(hour(), 3, 4, 5, 6) // 6 + 4 steps of 1: just there
	require.InDelta(t, 4, o.In, 1e-9)
	require.True(t, o.Alert)
	require.InDelta(t, 1, o.Probability, 0)
	require.True(t, math.IsNaN(o.Low), "it knows no interval")

	// 0, 0, 3, 1: slope (-1.5·0 - 0.5·0 + 0.5·3 + 1.5·1)/5 = 0.6, mean 1, now 1 + 1.5·0.6 = 1.9.
	o = after(hour(), 0, 0, 3, 1)
	require.InDelta(t, (10-1.9)/0.6, o.In, 1e-9)

	for name, values := range map[string][]float64{"one value": {5}, "constant": {5, 5, 5, 5}, "falling": {4, 3, 2, 1}} {
		o = after(hour(), values...)
		require.False(t, o.Alert, name)
		require.True(t, math.IsNaN(o.In), name)
	}
	require.Zero(t, after(hour(), 11, 11, 11).In, "it is there")
}

func TestFixed(t *testing.T) {
	f := &fixed{limit: fixedShare * 200}
	require.False(t, after(f, 180, 169.9).Alert)
	o := after(f, 170)
	require.True(t, o.Alert)
	require.True(t, math.IsNaN(o.In))
}

func TestYesterday(t *testing.T) {
	task := Task{Capacity: 1, Horizon: 2, Step: 6 * time.Hour} // a day has four steps
	for _, c := range []struct {
		name   string
		values []float64
		in     float64
	}{
		{"less than a day was seen", []float64{1, 1, 1}, math.NaN()},
		{"a day before the next step", []float64{1, 0, 0, 0}, 1},
		{"a day before the step after", []float64{0, 1, 0, 0}, 2},
		{"beyond the horizon", []float64{0, 0, 1, 0}, math.NaN()},
		{"now, and so a day before what is beyond", []float64{0, 0, 0, 1}, math.NaN()},
		{"only the last day counts", []float64{1, 0, 0, 0, 0}, math.NaN()},
	} {
		o := after(newYesterday(task), c.values...)
		require.Equal(t, !math.IsNaN(c.in), o.Alert, c.name)
		if o.Alert {
			require.InDelta(t, c.in, o.In, 0, c.name)
		}
	}
}
