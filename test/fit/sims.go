package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/shivx/shivx/internal/backtest"
)

// How many series are simulated on each recorded background, on backgrounds made for one, and on metrics of
// hosts that are scaled to be one.
const (
	onRecorded = 60
	onMade     = 1200
	onMetrics  = 400
)

// horizons of what is simulated, in steps: most are asked for six hours.
var horizons = [...]int{72, 72, 36, 72, 72, 144, 72, 24, 72, 12}

const folds = 4

// foldsOf says which part of the leaks each series belongs to. Series of one background follow each other, one
// of each kind at most, and stay together.
func foldsOf(leaks []backtest.Leak) []int {
	out := make([]int, len(leaks))
	background, had := 0, map[string]bool{}
	for i, l := range leaks {
		if had[l.Kind] {
			background, had = background+1, map[string]bool{}
		}
		had[l.Kind] = true
		out[i] = background
	}
	for i := range out {
		out[i] = out[i] * folds / (background + 1)
	}
	return out
}

// exhaustionRows returns the decisions on leaks and on simulated series. Those on a recorded background belong
// to its fold, the others to none.
func exhaustionRows(leaks []backtest.Leak, metrics []backtest.Metric) []decision {
	s := &simulator{r: rand.New(rand.NewPCG(seed, 1)), series: len(leaks)}
	fold := foldsOf(leaks)
	for i := range leaks {
		for _, d := range decide(&leaks[i], i, 288, 3, horizon) {
			d.weight, d.worth, d.fold = weight, weight, fold[i]
			s.rows = append(s.rows, d)
		}
	}
	for i, l := range leaks {
		if l.Kind == "none" {
			s.add(l.Values, onRecorded, fold[i])
		}
	}
	for range onMade {
		s.add(backtest.SyntheticBackground(s.r, made), 1, -1)
	}
	for range onMetrics {
		if b := s.scaled(metrics); b != nil {
			s.add(b, 1, -1)
		}
	}
	return s.rows
}

// made is how many steps a background has.
const made = 1700

type simulator struct {
	r      *rand.Rand
	series int
	rows   []decision
}

// add makes decisions on series with a background.
func (s *simulator) add(background []float64, count, fold int) {
	for range count {
		h := horizons[s.series%len(horizons)]
		l := backtest.Simulate(s.r, [][]float64{background}, 1, float64(h)/horizon)[0]
		for _, d := range sample(s.r, &l, s.series, max(1, h/18), h) {
			d.fold = fold
			s.rows = append(s.rows, d)
		}
		s.series++
	}
}

// scaled returns a part of a metric, as quiet or as loud as memory may be; nil for one that moves too seldom.
// The memory of these hosts is left out: it may be the background of a leak that is held out.
func (s *simulator) scaled(metrics []backtest.Metric) []float64 {
	m := metrics[s.r.IntN(len(metrics))]
	if len(m.Values) < made || strings.Contains(m.Name, "mem") {
		return nil
	}
	at := s.r.IntN(len(m.Values) - made + 1)
	v := slices.Clone(m.Values[at : at+made])
	sorted := slices.Sorted(slices.Values(v))
	middle, wide := sorted[made/2], sorted[made*4/5]-sorted[made/5]
	if wide <= 0 {
		return nil
	}
	scale := 0.005 * math.Exp(s.r.Float64()*math.Log(20)) / wide
	for i := range v {
		v[i] = 0.4 + math.Max(-0.3, math.Min(0.3, (v[i]-middle)*scale))
	}
	return v
}
