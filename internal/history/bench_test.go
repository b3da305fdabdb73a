package history

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx/internal/vitals"
)

// hundred are the figures of a host: some rest, some wander, some count.
func hundred(i int) []vitals.Figure {
	out := make([]vitals.Figure, 100)
	for j := range out {
		out[j] = vitals.Figure{Name: fmt.Sprintf("shivx_host_figure_%02d", j/4), Label: "subject", Subject: strconv.Itoa(j % 4)}
		switch x := float64(i) / float64(10+j); j % 4 {
		case 0:
			out[j].Value = float64(j)
		case 1:
			out[j].Value = math.Abs(math.Sin(x)) + math.Mod(x*7919, 1)/10
		case 2:
			out[j].Value = math.Floor(1e9 * math.Abs(math.Sin(x)))
		default:
			out[j].Value = float64(i * (j + 1))
		}
	}
	return out
}

// BenchmarkAppend measures one sample of 100 figures.
func BenchmarkAppend(b *testing.B) {
	h := open(b, b.TempDir(), Options{})
	f := hundred(1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := h.Append(start.Add(time.Duration(i)*5*time.Second), f); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDay keeps a day of samples of 100 figures, one each 5 s, with the compactions as they
// come in life. It says how much resident memory the process has before, between the compactions
// (the median) and at most, what lies on the disk, and how long the question of a dashboard for
// all of it takes.
func BenchmarkDay(b *testing.B) {
	before := status(b, "VmRSS")
	for b.Loop() {
		h := open(b, b.TempDir(), Options{})
		const day = 24 * 60 * 60 / 5
		var resident []float64
		for i := range day {
			if err := h.Append(start.Add(time.Duration(i)*5*time.Second), hundred(i)); err != nil {
				b.Fatal(err)
			}
			if i%12 == 0 { // each minute
				h.db.ForceHeadMMap()
			}
			if i%720 == 0 { // each hour
				compact(b, h)
				debug.FreeOSMemory() // in life the history does so itself, with two hours' time
				resident = append(resident, status(b, "VmRSS"))
			}
		}
		slices.Sort(resident)
		b.ReportMetric(resident[len(resident)/2], "rss-MB")
		b.ReportMetric(status(b, "VmHWM"), "rss-most-MB")
		b.ReportMetric(before, "rss-before-MB")
		b.ReportMetric(float64(sizeOf(h.dir))/1e6, "disk-MB")
		asked := time.Now()
		got, err := h.Query(b.Context(), Query{From: start, To: start.Add(24 * time.Hour), Step: 5 * time.Minute})
		if err != nil || len(got) != 100 {
			b.Fatal(len(got), err)
		}
		b.ReportMetric(float64(time.Since(asked).Milliseconds()), "ask-all-ms")
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkQuery measures the question of a chart: a day of one series in steps of 5 minutes.
func BenchmarkQuery(b *testing.B) {
	h := open(b, b.TempDir(), Options{})
	for i := range 17280 {
		if err := h.Append(start.Add(time.Duration(i)*5*time.Second), hundred(i)[:8]); err != nil {
			b.Fatal(err)
		}
		if i%720 == 0 {
			compact(b, h)
		}
	}
	for b.Loop() {
		got, err := h.Query(b.Context(), Query{Name: "shivx_host_figure_00", From: start, To: start.Add(24 * time.Hour),
			Matchers: map[string]string{"subject": "1"}, Step: 5 * time.Minute})
		if err != nil || len(got) != 1 || len(got[0].Points) != 288 {
			b.Fatal(len(got), err)
		}
	}
}

// status reads a line of /proc/self/status in MB.
func status(b *testing.B, key string) float64 {
	b.Helper()
	all, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(all)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb / 1000
		}
	}
	b.Fatal("no " + key)
	return 0
}
