package vitals

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
)

// column reads a number of a file by hand: of the first line that begins with prefix.
func column(t *testing.T, path, prefix string, n int) float64 {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for line := range strings.SplitSeq(string(data), "\n") {
		if strings.HasPrefix(line, prefix) {
			v, err := strconv.ParseFloat(strings.Fields(line)[n], 64)
			require.NoError(t, err)
			return v
		}
	}
	require.Failf(t, "no such line", "%s in %s", prefix, path)
	return 0
}

// needMachine skips where limits of a container are in force, for those readings have other sources.
func needMachine(t *testing.T) {
	t.Helper()
	if found, _ := filepath.Glob("/sys/fs/cgroup/*.max"); len(found) > 0 {
		testenv.Missing(t, "needs a machine without a container's limits")
	}
}

// TestAgreesWithProcReadByHand on the machine the test runs on, which is busy with other tests:
// the tolerances are for what changes between two readings.
func TestAgreesWithProcReadByHand(t *testing.T) {
	needMachine(t)
	busy := func() (float64, float64) {
		var all float64
		for i := 1; i <= 8; i++ {
			all += column(t, "/proc/stat", "cpu ", i)
		}
		return all - column(t, "/proc/stat", "cpu ", 4) - column(t, "/proc/stat", "cpu ", 5), all
	}
	busy1, all1 := busy()
	s := NewSampler(Options{})
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); { // one core is busy
	}
	sample := s.Sample(context.Background())
	busy2, all2 := busy()

	for _, r := range sample.Readings {
		assert.Empty(t, r.Missing, "%+v", r)
	}
	cores := float64(strings.Count(readFile(t, "/proc/cpuinfo"), "processor\t:"))
	assert.InDelta(t, 100*(busy2-busy1)/(all2-all1), find(t, sample, CPU, "").Percent, 10)
	assert.Greater(t, find(t, sample, CPU, "").Percent, 50/cores, "a core was busy all the time")
	assert.InDelta(t, 100*column(t, "/proc/loadavg", "", 0)/cores, find(t, sample, Load, "").Percent, 25)
	total, available := column(t, "/proc/meminfo", "MemTotal:", 1), column(t, "/proc/meminfo", "MemAvailable:", 1)
	assert.InDelta(t, 100*(1-available/total), find(t, sample, Memory, "").Percent, 5)
	assert.InDelta(t, 100*column(t, "/proc/sys/fs/file-nr", "", 0)/column(t, "/proc/sys/fs/file-nr", "", 2), find(t, sample, OpenFiles, "").Percent, 1)
	_, threads, _ := strings.Cut(strings.Fields(readFile(t, "/proc/loadavg"))[3], "/")
	n, err := strconv.ParseFloat(threads, 64)
	require.NoError(t, err)
	most := min(column(t, "/proc/sys/kernel/threads-max", "", 0), column(t, "/proc/sys/kernel/pid_max", "", 0))
	assert.InDelta(t, 100*n/most, find(t, sample, Threads, "").Percent, 1)
	if _, err := os.ReadFile("/proc/pressure/cpu"); err == nil {
		v, err := strconv.ParseFloat(strings.TrimPrefix(strings.Fields(readFile(t, "/proc/pressure/cpu"))[1], "avg10="), 64)
		require.NoError(t, err)
		assert.InDelta(t, v, find(t, sample, PressureCPU, "").Percent, 30, "it moves by each 2 s")
	}

	var st unix.Statfs_t
	require.NoError(t, unix.Statfs("/", &st))
	used := float64(st.Blocks - st.Bfree)
	assert.InDelta(t, 100*used/(used+float64(st.Bavail)), find(t, sample, Disk, "/").Percent, 1)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

// BenchmarkSample takes whole samples of the machine, rates included.
func BenchmarkSample(b *testing.B) {
	now := time.Duration(0)
	s := NewSampler(Options{Monotonic: func() time.Duration { now += time.Second; return now }})
	b.ReportAllocs()
	for b.Loop() {
		s.Sample(context.Background())
	}
}
