package forecasting

import (
	"testing"
	"time"
	"unsafe"
)

// BenchmarkDriftUpdate takes one measurement of a new step.
func BenchmarkDriftUpdate(b *testing.B) {
	d := newDrift(b, 1)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		d.Update(start.Add(time.Duration(i)*five), 0.2+wiggle(i))
	}
	b.ReportMetric(float64(unsafe.Sizeof(*d)), "B/series")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// BenchmarkDriftForecast answers once, with times.
func BenchmarkDriftForecast(b *testing.B) {
	d := newDrift(b, 1)
	for i := range 500 {
		d.Update(start.Add(time.Duration(i)*five), 0.2+0.001*float64(i)+wiggle(i))
	}
	for b.Loop() {
		d.Forecast()
	}
}

// BenchmarkCounter makes a rate of one value.
func BenchmarkCounter(b *testing.B) {
	var c Counter
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		c.Rate(start.Add(time.Duration(i)*five), float64(i*i%1000))
	}
	b.ReportMetric(float64(unsafe.Sizeof(c)), "B/series")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// BenchmarkCalibration learns from one outcome, and corrects one probability.
func BenchmarkCalibration(b *testing.B) {
	c, err := NewCalibration(CalibrationOptions{HalfLife: 30 * 24 * time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	i := 0
	b.Run("observe", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			i++
			c.Observe(float64(i%100)/100, i%7 == 0, start.Add(time.Duration(i)*five))
		}
		b.ReportMetric(float64(unsafe.Sizeof(*c)), "B/series")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
	})
	b.Run("apply", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Apply(0.3)
		}
	})
}
