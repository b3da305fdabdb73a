package resilience

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/vitals"
)

// FuzzScore feeds any floats through one Scorer: eight bytes for each reading, one sample after the other.
func FuzzScore(f *testing.F) {
	f.Add([]byte{})
	seed := make([]byte, 0, 200)
	for _, v := range []float64{50, math.NaN(), math.Inf(1), math.Copysign(0, -1), 1e308, 5e-324, 99.99, 100, 80, 97.5714285, 1600} {
		seed = binary.LittleEndian.AppendUint64(seed, math.Float64bits(v))
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, m := NewScorer(defaultScore()), NewMachine(defaultLevels(), 0.5, shivx.LevelNormal)
		var readings []vitals.Reading
		var modules []Module
		for i, r := range idle() {
			if len(data) < 8 {
				break
			}
			r.Percent = math.Float64frombits(binary.LittleEndian.Uint64(data))
			if data[0]%7 == 0 {
				r.Missing = "gone"
			}
			modules = append(modules, Module{Name: r.Subject, State: []string{"healthy", "failing", "unknown"}[i%3], Score: r.Percent})
			readings, data = append(readings, r), data[8:]
			score := s.Score(sampleOf(time.Duration(math.Float64bits(r.Percent)), readings...), modules)
			checkScore(t, score)
			m.Observe(time.Duration(math.Float64bits(r.Percent)), score)
			require.GreaterOrEqual(t, m.Level().Rank(), 0)
		}
	})
}

func BenchmarkScore(b *testing.B) {
	readings := idle()
	modules := []Module{{Name: "nginx", Critical: true, State: "healthy", Score: 100}, {Name: "cron", State: "failing"}}
	s := NewScorer(defaultScore())
	b.ReportAllocs()
	for i := range b.N {
		for j := range readings {
			readings[j].Percent = float64((i+j)%1000) / 10
		}
		s.Score(sampleOf(time.Duration(i)*5*time.Second, readings...), modules)
	}
}
