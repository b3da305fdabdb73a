package resilience

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/vitals"
)

const dayStep = 5 * time.Second

// TestDay runs a day of samples in event time; its transitions must equal those that were worked
// out by hand from the rules.
func TestDay(t *testing.T) {
	day := readDay(t, "testdata/day/script.txt")
	want := readOracle(t, "testdata/day/transitions.txt")
	start := time.Now()
	scorer, machine := NewScorer(defaultScore()), NewMachine(defaultLevels(), 0.5, shivx.LevelNormal)
	var got []string
	samples := 0
	for at := time.Duration(0); at < 24*time.Hour; at += dayStep {
		sample, modules := day.at(at)
		score := scorer.Score(sample, modules)
		checkScore(t, score)
		from := machine.Level()
		if to, changed, reason := machine.Observe(sample.Elapsed, score); changed {
			got = append(got, fmt.Sprintf("%s %s %s %s", clock(at), from, to, word(t, reason)))
		}
		samples++
	}
	took := time.Since(start)
	t.Logf("%d samples, %d transitions in %s", samples, len(got), took.Round(time.Millisecond))
	require.Equal(t, 17280, samples)
	require.Equal(t, want, got)
	require.Less(t, took, 5*time.Second)
}

var reasonWords = regexp.MustCompile(`; (.+?) \(|at least (\d+) for`)

// word is what the oracle has of a reason: the dearest term, or the score needed.
func word(t *testing.T, reason string) string {
	m := reasonWords.FindStringSubmatch(reason)
	require.NotNil(t, m, reason)
	return m[1] + m[2]
}

func clock(at time.Duration) string { return time.Time{}.Add(at).Format(time.TimeOnly) }

func readOracle(t *testing.T, path string) []string {
	var lines []string
	for _, l := range readLines(t, path) {
		f := strings.Fields(l)
		lines = append(lines, strings.Join(f, " "))
	}
	require.NotEmpty(t, lines)
	return lines
}

// readLines returns the lines of a file that are not empty and no comments.
func readLines(t *testing.T, path string) []string {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if l := strings.TrimSpace(s.Text()); l != "" && !strings.HasPrefix(l, "#") {
			lines = append(lines, l)
		}
	}
	return lines
}

// day is the script of a day.
type day struct {
	events []event
	next   int
	terms  []*track
	// elapsed and wall are how far those clocks have jumped.
	elapsed, wall time.Duration
}

type event struct {
	at   time.Duration
	term string
	args []string
}

// track is one term as the script goes on.
type track struct {
	name         string
	reading      func(at time.Duration) float64
	missing      string
	state        string
	pulses       []pulse
	health       float64
	gone, module bool
}

type pulse struct {
	from, until time.Duration
	value       float64
}

func readDay(t *testing.T, path string) *day {
	d := &day{}
	for _, l := range readLines(t, path) {
		f := strings.Fields(l)
		require.GreaterOrEqual(t, len(f), 3, l)
		e := event{at: parseClock(t, f[0]), term: f[1], args: f[2:]}
		if n := len(d.events); n > 0 {
			require.GreaterOrEqual(t, e.at, d.events[n-1].at, "%s: the script is in order of time", l)
		}
		d.events = append(d.events, e)
	}
	return d
}

func parseClock(t *testing.T, s string) time.Duration {
	at, err := time.Parse(time.TimeOnly, s)
	require.NoError(t, err)
	return at.Sub(at.Truncate(24 * time.Hour))
}

// at returns the sample of that time; times must not go back.
func (d *day) at(at time.Duration) (vitals.Sample, []Module) {
	for ; d.next < len(d.events) && d.events[d.next].at <= at; d.next++ {
		d.apply(d.events[d.next])
	}
	sample := vitals.Sample{Elapsed: at + d.elapsed, At: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC).Add(at + d.wall)}
	var modules []Module
	for _, tr := range d.terms {
		switch {
		case tr.gone:
		case tr.module:
			name, critical := strings.CutSuffix(tr.name, "!")
			modules = append(modules, Module{Name: name, Critical: critical, State: tr.state, Score: tr.health})
		default:
			resource, subject, _ := strings.Cut(strings.TrimSuffix(tr.name, "]"), "[")
			r := vitals.Reading{Resource: vitals.Resource(resource), Subject: subject, Missing: tr.missing}
			if r.Missing == "" {
				r.Percent = tr.value(at)
			}
			sample.Readings = append(sample.Readings, r)
		}
	}
	return sample, modules
}

func (tr *track) value(at time.Duration) float64 {
	for _, p := range tr.pulses {
		if at >= p.from && at < p.until {
			return p.value
		}
	}
	return tr.reading(at)
}

func (d *day) track(name string) *track {
	name, module := strings.CutPrefix(name, "module:")
	for _, tr := range d.terms {
		if tr.name == name && tr.module == module {
			return tr
		}
	}
	tr := &track{name: name, module: module}
	d.terms = append(d.terms, tr)
	return tr
}

// apply panics on a script that cannot be read: it is part of the test.
func (d *day) apply(e event) {
	switch e.term {
	case "elapsed":
		d.elapsed += duration(e.args[1])
		return
	case "wall":
		d.wall += duration(e.args[1])
		return
	}
	tr := d.track(e.term)
	if tr.module {
		tr.state, tr.health = e.args[0], number(e.args[1])
		return
	}
	switch e.args[0] {
	case "value":
		tr.set(number(e.args[1]), number(e.args[1]), e.at, time.Second)
	case "ramp":
		tr.set(number(e.args[1]), number(e.args[2]), e.at, duration(e.args[3]))
	case "pulse":
		tr.pulse(e)
	case "missing":
		tr.missing = strings.Join(e.args[1:], " ")
	case "gone":
		tr.gone = true
	default:
		panic("unknown verb " + e.args[0])
	}
}

func (tr *track) set(from, to float64, start, length time.Duration) {
	tr.missing, tr.gone = "", false
	tr.reading = func(at time.Duration) float64 {
		if at-start >= length {
			return to
		}
		return from + (to-from)*float64(at-start)/float64(length)
	}
}

func (tr *track) pulse(e event) {
	length := time.Duration(number(e.args[2])) * dayStep
	every, until := time.Hour, e.at+1
	if len(e.args) > 3 {
		every = duration(e.args[3])
		end, err := time.Parse(time.TimeOnly, e.args[4])
		if err != nil {
			panic(err)
		}
		until = end.Sub(end.Truncate(24 * time.Hour))
	}
	for from := e.at; from < until; from += every {
		tr.pulses = append(tr.pulses, pulse{from, from + length, number(e.args[1])})
	}
}

func number(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(err)
	}
	return v
}

func duration(s string) time.Duration {
	v, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return v
}
