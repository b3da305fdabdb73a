package forecasting

import (
	"testing"
	"time"
	"unsafe"
)

// spikeAfter returns a Spike that has seen three weeks, and the number of the next step.
func spikeAfter(b *testing.B) (*Spike, int) {
	s := newSpike(b, 80, 6*time.Hour)
	for i := range 21 * aDay {
		s.Update(monday.Add(time.Duration(i)*five), office(i)+100*wiggle(i))
	}
	return s, 21 * aDay
}

// BenchmarkSpikeUpdate takes one measurement of a new step.
func BenchmarkSpikeUpdate(b *testing.B) {
	s, i := spikeAfter(b)
	b.ReportAllocs()
	for b.Loop() {
		i++
		s.Update(monday.Add(time.Duration(i)*five), office(i)+100*wiggle(i))
	}
	b.ReportMetric(float64(unsafe.Sizeof(*s)), "B/series")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// BenchmarkSpikeForecast answers once for 72 steps.
func BenchmarkSpikeForecast(b *testing.B) {
	s, _ := spikeAfter(b)
	for b.Loop() {
		s.Forecast()
	}
}
