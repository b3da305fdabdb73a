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
	b.ReportMetric(float64(unsafe.Sizeof(*x)), "bytes/series")
	i := 0
	for b.Loop() {
		i++
		x.Update(at.Add(time.Duration(i)*five), 0.01*float64(i%7))
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
