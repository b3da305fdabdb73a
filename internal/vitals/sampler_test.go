package vitals

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the wanted readings into the cases")

// TestCases samples each case and compares with its file "want": for base every reading, for the
// others what differs from base.
func TestCases(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(paths), 37, "the cases are gone")
	base := newHost(t, "base").run()
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) {
			against := base
			if name == "base" {
				against = [steps][]string{}
			}
			got := differences(against, newHost(t, name).run())
			a, err := txtar.ParseFile(path)
			require.NoError(t, err)
			last := len(a.Files) - 1
			if *update {
				if a.Files[last].Name != "want" {
					a.Files, last = append(a.Files, txtar.File{Name: "want"}), last+1
				}
				a.Files[last].Data = []byte(got)
				require.NoError(t, os.WriteFile(path, txtar.Format(a), 0o644))
			}
			require.Equal(t, "want", a.Files[last].Name)
			assert.Equal(t, string(a.Files[last].Data), got)
		})
	}
}

// TestMissingHasNoFigure: every reading has its figures or none, and no figure is impossible.
func TestMissingHasNoFigure(t *testing.T) {
	names := map[Resource]string{
		CPU: "shivx_host_cpu_used_ratio", Load: "shivx_host_load1", Memory: "shivx_host_memory_used_ratio",
		Disk: "shivx_host_filesystem_used_ratio", Inodes: "shivx_host_filesystem_inodes_used_ratio",
		Threads: "shivx_host_threads", OpenFiles: "shivx_host_open_files", Network: "shivx_host_network_faulty_ratio",
		PressureCPU: "shivx_host_pressure_cpu_waiting_ratio", PressureMemory: "shivx_host_pressure_memory_stalled_ratio",
		PressureIO: "shivx_host_pressure_io_stalled_ratio",
	}
	paths, _ := filepath.Glob("testdata/*.txtar")
	for _, path := range paths {
		h := newHost(t, strings.TrimSuffix(filepath.Base(path), ".txtar"))
		s := NewSampler(h.options())
		for step := range steps {
			h.show(step + 1)
			sample := s.Sample(context.Background())
			have := map[string]bool{}
			for _, f := range sample.Figures {
				id := f.Name + "{" + f.Subject + "}"
				assert.False(t, have[id], "%s: %s is there twice", path, id)
				assert.False(t, math.IsNaN(f.Value) || math.IsInf(f.Value, 0) || f.Value < 0, "%s: %s is %v", path, id, f.Value)
				assert.Equal(t, f.Label == "", f.Subject == "", id)
				have[id] = true
			}
			for _, r := range sample.Readings {
				id := names[r.Resource] + "{" + r.Subject + "}"
				require.NotEqual(t, "{"+r.Subject+"}", id)
				assert.Equal(t, r.Missing == "", have[id], "%s step %d: %+v and %s", path, step+1, r, id)
				assert.False(t, r.Missing != "" && (r.Percent != 0 || r.Detail != ""), "%+v", r)
			}
			h.pass(10 * time.Second)
		}
	}
}

func TestFirstSampleHasRatesWhenItComesLater(t *testing.T) {
	h := newHost(t, "base")
	s := NewSampler(h.options())
	h.show(2)
	h.pass(10 * time.Second)
	first := s.Sample(context.Background())
	assert.Equal(t, 10*time.Second, first.Elapsed)
	assert.Contains(t, lines(h.root, first), "cpu 25.00 % (1.0 of 4 cores busy)")

	// One that follows at once repeats the rates instead of telling them over a tick or two.
	h.pass(minInterval / 2)
	h.show(3)
	second := s.Sample(context.Background())
	assert.Equal(t, find(t, first, CPU, ""), find(t, second, CPU, ""))
	assert.Equal(t, find(t, first, Network, ""), find(t, second, Network, ""))
	assert.Len(t, second.Figures, len(first.Figures))

	h.pass(10*time.Second - minInterval/2)
	assert.Contains(t, lines(h.root, s.Sample(context.Background())), "cpu 10.53 % (0.4 of 4 cores busy)")
}

func TestClockJumpsAreToldForTenMinutes(t *testing.T) {
	h := newHost(t, "base")
	s := NewSampler(h.options())
	sample := func() []string { return s.Sample(context.Background()).Notices }
	h.pass(5 * time.Second)
	assert.Empty(t, sample())

	h.wall = h.wall.Add(-2 * time.Second)
	h.pass(5 * time.Second)
	assert.Empty(t, sample(), "2 s are no jump")

	h.wall = h.wall.Add(time.Hour)
	h.pass(5 * time.Second)
	forward := "the clock jumped forward by 1h0m0s to 2023-11-14T23:13:33Z"
	assert.Equal(t, []string{forward}, sample())

	h.wall = h.wall.Add(-time.Hour)
	h.pass(5 * time.Second)
	back := "the clock jumped back by 1h0m0s to 2023-11-14T22:13:38Z"
	assert.Equal(t, []string{forward, back}, sample())

	h.pass(10*time.Minute - 6*time.Second)
	assert.Equal(t, []string{forward, back}, sample())
	h.pass(time.Second)
	assert.Equal(t, []string{back}, sample())
	h.pass(5 * time.Second)
	assert.Empty(t, sample())

	for range 10 {
		h.wall = h.wall.Add(time.Minute)
		assert.LessOrEqual(t, len(sample()), maxJumps)
	}
}

func TestClockJumpChangesNoReading(t *testing.T) {
	h := newHost(t, "base")
	s := NewSampler(h.options())
	s.Sample(context.Background())
	h.show(2)
	h.pass(10 * time.Second)
	h.wall = h.wall.Add(-24 * time.Hour)
	got := s.Sample(context.Background())
	assert.Equal(t, 10*time.Second, got.Elapsed)
	assert.Contains(t, lines(h.root, got), "cpu 25.00 % (1.0 of 4 cores busy)")
}

func TestLossAndReturnAreLoggedOnce(t *testing.T) {
	h := newHost(t, "unreadable")
	var log bytes.Buffer
	o := h.options()
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := NewSampler(o)
	for _, step := range []int{1, 2, 2, 3, 3} {
		h.show(step)
		s.Sample(context.Background())
		h.pass(10 * time.Second)
	}
	assert.Equal(t, 1, strings.Count(log.String(), `"vital figure is missing" reading=memory`))
	assert.Equal(t, 1, strings.Count(log.String(), `"vital figure is back" reading=memory`))
	assert.NotContains(t, log.String(), firstSample)
}

func TestImpossiblePercentagesAreMissing(t *testing.T) {
	for _, x := range []struct {
		res       Resource
		percent   float64
		tolerance float64
		want      float64
		missing   string
	}{
		{Memory, 50, 1, 50, ""},
		{Memory, 100.5, 1, 100, ""},
		{Memory, 101.5, 1, 0, "101.5 % is more than there is"},
		{Memory, 1e300, 1, 0, "1e+300 % is more than there is"},
		{Memory, -0.1, 1, 0, "-0.1 % is less than nothing"},
		{Memory, math.NaN(), 1, 0, "not a number"},
		{Memory, math.Inf(1), 1, 0, "not a number"},
		{Load, math.Inf(-1), 0, 0, "not a number"},
		{Load, 750, 0, 750, ""},
	} {
		var c collector
		ok := c.add(Reading{Resource: x.res, Percent: x.percent}, x.tolerance)
		assert.Equal(t, Reading{Resource: x.res, Percent: x.want, Missing: x.missing}, c.readings[0])
		assert.Equal(t, x.missing == "", ok)
	}
}

// find returns a reading of a sample.
func find(t testing.TB, s Sample, r Resource, subject string) Reading {
	t.Helper()
	for _, x := range s.Readings {
		if x.Resource == r && x.Subject == subject {
			return x
		}
	}
	require.Failf(t, "no such reading", "%s[%s] in %+v", r, subject, s.Readings)
	return Reading{}
}
