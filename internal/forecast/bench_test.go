package forecast

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

// BenchmarkLook is one look at ten thousand series: a minute's measurements of each, and every fifth time forecasts of all.
// It shows the memory that a series takes.
func BenchmarkLook(b *testing.B) {
	const n = maxSeries
	rules := config.Default().Forecast
	rules.Subsystems = []config.Subsystem{sharesOf("disk", "used_ratio")}
	now, m := begin, &memory{}
	for i := range n {
		m.series = append(m.series, Series{Name: "used_ratio", Labels: map[string]string{"i": fmt.Sprint(i)}})
	}
	measure := func() {
		for i := range m.series {
			v := 0.3 + 0.01*float64((now.Unix()/60+int64(i))%17)
			m.series[i].Points = append(m.series[i].Points[:0], Point{now, v, v})
		}
	}
	before := live()
	e, err := New(Options{Host: "h", Rules: rules, Dir: b.TempDir(), History: m, Now: func() time.Time { return now }})
	require.NoError(b, err)
	look := func() {
		measure()
		require.NoError(b, e.Look(b.Context()))
		now = now.Add(time.Minute)
	}
	for range 5 * 49 {
		look()
	}
	bytes := float64(live()-before) / n
	b.ResetTimer()
	for range b.N {
		look()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/series")
	b.ReportMetric(bytes, "bytes/series")
}

func live() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
