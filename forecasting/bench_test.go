package forecasting

import (
	"testing"
	"time"
	"unsafe"
)

// BenchmarkUpdate takes one measurement of a new step.
func BenchmarkUpdate(b *testing.B) {
	x := newBreach(b, 1)
	at := feed(x, 1000, wiggle)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		x.Update(at.Add(time.Duration(i)*five), 0.01*float64(i%7))
	}
	b.ReportMetric(float64(unsafe.Sizeof(*x)), "B/series")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// BenchmarkUpdateRecurring takes one of a series that is at its capacity every day.
func BenchmarkUpdateRecurring(b *testing.B) {
	x := newHourly(b)
	at := feed(x, 20*288, daily)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		x.Update(at.Add(time.Duration(i)*five), daily(i-1))
	}
}

// BenchmarkForecast answers once.
func BenchmarkForecast(b *testing.B) {
	x := newBreach(b, 1)
	feed(x, 1000, func(i int) float64 { return 0.3 + wiggle(i) + 0.0005*float64(i) })
	for b.Loop() {
		x.Forecast()
	}
}

// BenchmarkForecastAll answers once for each of 100,000 series that are at different places of a rise.
func BenchmarkForecastAll(b *testing.B) {
	all := make([]Breach, 100_000)
	x := newBreach(b, 1)
	at := feed(x, 500, wiggle)
	for i := range all {
		if i%100 == 0 {
			n := i / 100
			x.Update(at.Add(time.Duration(n+1)*five), 0.0008*float64(n))
		}
		all[i] = *x
	}
	for b.Loop() {
		for i := range all {
			all[i].Forecast()
		}
	}
	b.ReportMetric(float64(len(all))*float64(b.N)/b.Elapsed().Seconds(), "forecasts/s")
}
