package forecast

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/vitals"
)

// memory is a history in memory.
type memory struct {
	series []Series
	err    error
}

func (m *memory) add(at time.Time, name string, labels map[string]string, v float64) {
	for i := range m.series {
		if s := &m.series[i]; s.Name == name && seriesName("", s.Labels) == seriesName("", labels) {
			s.Points = append(s.Points, Point{at, v, v})
			return
		}
	}
	m.series = append(m.series, Series{Name: name, Labels: labels, Points: []Point{{at, v, v}}})
}

func (m *memory) keep(at time.Time, figures []vitals.Figure) {
	for _, f := range figures {
		m.add(at, f.Name, map[string]string{f.Label: f.Subject}, f.Value)
	}
}

// Query implements History.
func (m *memory) Query(_ context.Context, name string, labels map[string]string, from, to time.Time, step time.Duration) ([]Series, error) {
	if m.err != nil {
		return nil, m.err
	}
	var out []Series
	for _, s := range m.series {
		match := s.Name == name
		for k, v := range labels {
			match = match && s.Labels[k] == v
		}
		if !match {
			continue
		}
		got := Series{Name: s.Name, Labels: s.Labels}
		n := 0.0
		first, _ := slices.BinarySearchFunc(s.Points, from, func(p Point, at time.Time) int { return p.At.Compare(at) })
		for _, p := range s.Points[first:] {
			if p.At.After(to) {
				break
			}
			at := p.At
			if step > 0 {
				at = floor(at, step)
			}
			if last := len(got.Points) - 1; step > 0 && last >= 0 && got.Points[last].At.Equal(at) {
				n++
				got.Points[last].Value += (p.Value - got.Points[last].Value) / n
				got.Points[last].Last = p.Value
				continue
			}
			n = 1
			got.Points = append(got.Points, Point{at, p.Value, p.Value})
		}
		if len(got.Points) > 0 {
			out = append(out, got)
		}
	}
	return out, nil
}

// stand is an engine with a clock that only the test moves.
type stand struct {
	t      *testing.T
	now    time.Time
	memory *memory
	path   string // of the ledger
	ledger *ledger.Ledger
	engine *Engine
	o      Options
}

var begin = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// newStand builds one with the subsystems alone. Its test runs beside others: all of them wait for the disk.
func newStand(t *testing.T, subsystems ...config.Subsystem) *stand {
	t.Helper()
	t.Parallel()
	s := &stand{t: t, now: begin, memory: &memory{}, path: t.TempDir() + "/operational_ledger.ndjson"}
	t.Cleanup(func() { require.NoError(t, s.ledger.Close()) })
	rules := config.Default().Forecast
	rules.Subsystems = subsystems
	s.o = Options{Host: "web-1", Rules: rules, Dir: t.TempDir(), History: s.memory, Keep: s.memory.keep,
		Now: func() time.Time { return s.now }}
	s.reopenLedger()
	s.start()
	return s
}

// reopenLedger opens the ledger for the next engine.
func (s *stand) reopenLedger() {
	var err error
	s.ledger, err = ledger.Open(s.path, ledger.Options{})
	require.NoError(s.t, err)
	s.o.Ledger = s.ledger
}

// start builds the engine, as a new process would.
func (s *stand) start() {
	var err error
	s.engine, err = New(s.o)
	require.NoError(s.t, err)
}

func (s *stand) look() {
	s.t.Helper()
	require.NoError(s.t, s.engine.Look(s.t.Context()))
}

// run measures once a minute, and looks every five until the end, unless stop says so; it returns whether that did.
func (s *stand) run(until time.Time, measure func(at time.Time), stop func() bool) bool {
	s.t.Helper()
	for ; s.now.Before(until); s.now = s.now.Add(time.Minute) {
		measure(s.now)
		if s.now.Unix()%300 != 0 {
			continue
		}
		s.look()
		if stop != nil && stop() {
			return true
		}
	}
	return false
}

func (s *stand) prediction(subsystem string) shivx.Prediction {
	s.t.Helper()
	_, p, ok := s.engine.Worst(subsystem)
	require.True(s.t, ok)
	require.NotNil(s.t, p)
	return *p
}

// all returns what the ledger has.
func (s *stand) all() (out []ledger.Record) {
	s.t.Helper()
	last, _ := s.ledger.Last()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	if last == 0 {
		return nil
	}
	err := s.ledger.Follow(ctx, 1, func(r ledger.Record) error {
		out = append(out, r)
		if r.Seq == last {
			cancel()
		}
		return nil
	})
	require.ErrorIs(s.t, err, context.Canceled)
	return out
}

// records returns what the ledger has of predictions.
func (s *stand) records() (out []shivx.RecoveryRecord) {
	s.t.Helper()
	for _, r := range s.all() {
		var rec shivx.RecoveryRecord
		require.NoError(s.t, r.Decode(&rec))
		if rec.EventType == shivx.EventPrediction {
			out = append(out, rec)
		}
	}
	return out
}

// sharesOf is a subsystem that fills up, of which the share is measured.
func sharesOf(name, metric string) config.Subsystem {
	return config.Subsystem{Name: name, Enabled: true, Model: "exhaustion", Capacity: 0.95, Horizon: 6 * time.Hour, Step: 5 * time.Minute,
		Series: []config.SubsystemSeries{{History: metric}}}
}

// noise returns noise that is the same in each run.
func noise(seed uint64) func() float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	return r.NormFloat64
}

// leak is a level that is flat for a while, and then grows by so much an hour.
func leak(flat time.Duration, level, perHour float64, wobble func() float64) func(at time.Time) float64 {
	return func(at time.Time) float64 {
		v := level + 0.004*wobble()
		if since := at.Sub(begin) - flat; since > 0 {
			v += perHour * since.Hours()
		}
		return math.Min(1, v)
	}
}
