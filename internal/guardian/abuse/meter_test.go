package abuse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// second is what a target does in one second: cpu in percent, memory in MB.
type second struct{ cpu, memory, processes, born, available int }

// play gives a meter one reading a second and returns the first breach with its second; -1: none.
func play(l limits, n int, at func(i int) second) (*breach, int) {
	m := meter{limits: l}
	began := time.Date(2026, 5, 1, 3, 0, 0, 0, time.UTC)
	var cpu time.Duration
	for i := range n {
		s := at(i)
		cpu += time.Duration(s.cpu) * time.Second / 100
		b := m.add(reading{
			at: began.Add(time.Duration(i) * time.Second), cpu: cpu, memory: int64(s.memory) * megabyte,
			processes: s.processes, born: s.born, available: int64(s.available) * megabyte,
		})
		if b != nil {
			return b, i
		}
	}
	return nil, -1
}

const gigabyte = 1 << 30

func TestMeter(t *testing.T) {
	cpu := limits{cpu: 100, span: 30 * time.Second}
	memory := limits{memory: 2 * gigabyte, span: 30 * time.Second}
	crowd := limits{processes: 100, span: 30 * time.Second}
	for _, c := range []struct {
		name   string
		limits limits
		at     func(i int) second
		second int // -1: no breach in ten minutes
		kind   shivx.ThreatType
		bomb   bool
	}{
		{"cpu beyond without a break", cpu, func(int) second { return second{cpu: 150} }, 30, shivx.ThreatCPU, false},
		{"cpu at the budget", cpu, func(int) second { return second{cpu: 100} }, -1, "", false},
		{"cpu beyond with a short dip", cpu, func(i int) second {
			if i == 15 {
				return second{cpu: 90}
			}
			return second{cpu: 150}
		}, 40, shivx.ThreatCPU, false},
		{"cpu beyond half of the time", cpu, func(i int) second { return second{cpu: 150 * (i % 2)} }, -1, "", false},
		{"a rare huge burst", cpu, func(i int) second {
			if i%60 < 20 {
				return second{cpu: 1600}
			}
			return second{}
		}, -1, "", false},
		{"memory beyond, steady", memory, func(int) second { return second{memory: 2100, available: 9000} }, 30, shivx.ThreatMemory, false},
		{"memory up to the budget, fast", memory, func(i int) second { return second{memory: min(2000, 400*i), available: 9000} }, -1, "", false},
		{"memory beyond and doubling", memory, func(i int) second { return second{memory: 150 * i, available: 90000} }, 14, shivx.ThreatMemory, true},
		{"memory beyond, breathing", memory, func(i int) second { return second{memory: 2000 + 100*(i%4), available: 9000} }, -1, "", false},
		{"memory growing slowly beyond", memory, func(i int) second { return second{memory: 2049 + i, available: 9000} }, 30, shivx.ThreatMemory, false},
		{"memory growing slowly beyond a budget over hours", limits{memory: 2 * gigabyte, span: 6 * time.Hour}, func(i int) second { return second{memory: 2049 + 2*i, available: 90000} }, -1, "", false},
		{"the machine's memory ends first", memory, func(i int) second { return second{memory: 500 * i, available: 2500 - 500*i} }, 3, shivx.ThreatMemory, true},
		{"no limit, no breach", limits{cpu: 50, span: time.Second}, func(i int) second { return second{memory: 1000 * i, processes: 2 * i, born: i} }, -1, "", false},
		{"processes at the budget", crowd, func(int) second { return second{processes: 100} }, -1, "", false},
		{"processes a little beyond", crowd, func(int) second { return second{processes: 105} }, 30, shivx.ThreatFork, false},
		{"processes doubling each second", crowd, func(i int) second { return second{processes: 1 << i, born: 1 << i / 2} }, 7, shivx.ThreatFork, true},
		{"a wave of new processes", crowd, func(i int) second {
			if i == 3 {
				return second{processes: 150, born: 140}
			}
			return second{processes: 10}
		}, 3, shivx.ThreatFork, true},
		{"workers of a server that starts", crowd, func(i int) second { return second{processes: min(64, 1<<i), born: min(32, 1<<i/2)} }, -1, "", false},
		{"processes rising steadily past the budget", crowd, func(i int) second { return second{processes: 60 + 8*i, born: 8} }, 6, shivx.ThreatFork, true},
		{"few processes, restarted", limits{processes: 2, span: 30 * time.Second}, func(i int) second {
			if i%60 == 0 {
				return second{processes: 6, born: 4}
			}
			return second{processes: 2}
		}, -1, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, i := play(c.limits, 600, c.at)
			require.Equal(t, c.second, i)
			if b != nil {
				assert.Equal(t, c.kind, b.kind)
				assert.Equal(t, c.bomb, b.bomb)
			}
		})
	}
}

func TestBreachHasItsFigures(t *testing.T) {
	b, _ := play(limits{cpu: 100, span: 10 * time.Second}, 60, func(i int) second { return second{cpu: 140 + 20*(i%2)} })
	require.NotNil(t, b)
	assert.Equal(t, "150 % of a core for 10s", b.used)
	assert.Equal(t, "100 %", b.allowed)
	assert.Equal(t, map[string]any{"cpu_percent": int64(150), "allowed_cpu_percent": int64(100), "beyond_for_seconds": 10.0}, b.evidence)
}

// TestReadingsOfTheSameMomentCountOnce: a clock that stands still, or steps back, is no breach.
func TestReadingsOfTheSameMomentCountOnce(t *testing.T) {
	m := meter{limits: limits{cpu: 1, span: time.Second}}
	at := time.Unix(0, 0)
	for i := range 100 {
		require.Nil(t, m.add(reading{at: at.Add(-time.Duration(i) * time.Millisecond), cpu: time.Duration(i) * time.Second}))
	}
	assert.Len(t, m.recent, 1)
}

// TestFastRounds: four readings a second judge as one does.
func TestFastRounds(t *testing.T) {
	m := meter{limits: limits{cpu: 50, memory: gigabyte, processes: 100, span: 10 * time.Second}}
	at := time.Unix(0, 0)
	for i := range 4 * 10 {
		b := m.add(reading{at: at.Add(time.Duration(i) * 250 * time.Millisecond), cpu: time.Duration(i) * 200 * time.Millisecond, processes: 100, born: 25, memory: 1})
		require.Nil(t, b, "%d: %+v", i, b)
		require.LessOrEqual(t, len(m.recent), 4*5+1)
	}
	b := m.add(reading{at: at.Add(10 * time.Second), cpu: 8 * time.Second, processes: 100, memory: 1})
	require.NotNil(t, b)
	assert.Equal(t, shivx.ThreatCPU, b.kind)
}
