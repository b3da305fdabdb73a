package forecasting

import (
	"math"
	"math/rand"
	"testing"
	"time"
	"unsafe"
)

// benchmarkAnomaly reports updates per second and the bytes of a series.
func benchmarkAnomaly(b *testing.B, value func(i int, source *rand.Rand) float64) {
	source := rand.New(rand.NewSource(1))
	values := make([]float64, 1<<14)
	for i := range values {
		values[i] = value(i, source)
	}
	a := NewAnomaly()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		a.Update(anomalyStart.Add(time.Duration(i)*anomalyStep), values[i&(len(values)-1)])
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
	b.ReportMetric(float64(unsafe.Sizeof(*a)), "B/series")
}

func BenchmarkAnomaly(b *testing.B) {
	b.Run("noise", func(b *testing.B) {
		benchmarkAnomaly(b, func(_ int, source *rand.Rand) float64 { return source.NormFloat64() })
	})
	b.Run("day", func(b *testing.B) {
		benchmarkAnomaly(b, func(i int, source *rand.Rand) float64 {
			return 50 + 20*math.Sin(2*math.Pi*float64(i)/288) + source.NormFloat64()
		})
	})
	b.Run("walk", func(b *testing.B) {
		v := 0.0
		benchmarkAnomaly(b, func(_ int, source *rand.Rand) float64 {
			v += source.NormFloat64()
			return v
		})
	})
	b.Run("flat", func(b *testing.B) {
		benchmarkAnomaly(b, func(int, *rand.Rand) float64 { return 1 })
	})
}
