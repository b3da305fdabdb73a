// Program fit makes forecasting/model.json: it fits the trees of the forecasts to labelled series, real and
// simulated, and judges the way they are made on backgrounds that were held out.
//
//	go run ./test/fit -data ../shared/data -out forecasting/model.json
//	go run ./test/fit -data ../shared/data -check
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/backtest"
)

func main() {
	data := flag.String("data", "../shared/data", "`folder` with leaks and series")
	out := flag.String("out", "forecasting/model.json", "`file` to write")
	check := flag.Bool("check", false, "judge on held-out backgrounds; write nothing")
	flag.Parse()
	if err := run(*data, *out, *check); err != nil {
		fmt.Fprintln(os.Stderr, "fit:", err)
		os.Exit(1)
	}
}

// How the trees are made; the same for every model.
var (
	exhaustion = settings{trees: 100, depth: 5, rate: 0.1, lambda: 5, least: 10}
	recurrence = settings{trees: 100, depth: 4, rate: 0.1, lambda: 5, least: 10}
)

const (
	simulated = 1000 // series
	weight    = 6    // of a decision on a real series
	seed      = 6
)

func run(data, out string, check bool) error {
	leaks, err := backtest.ReadLeaks(filepath.Join(data, "leaks"))
	if err != nil {
		return err
	}
	if check {
		crossValidate(leaks)
		return nil
	}
	metrics, err := backtest.ReadSeries(filepath.Join(data, "series"))
	if err != nil {
		return err
	}
	all := func(int) bool { return true }
	rows := exhaustionRows(leaks, all)
	fmt.Println(len(rows), "decisions on exhaustion")
	again := recurrenceRows(metrics)
	fmt.Println(len(again), "decisions on recurrence")
	m := forecasting.Models{
		Made: fmt.Sprintf("go run ./test/fit: %d series with and without leaks and %d simulated on their backgrounds (seed %d), %d decisions; %d metrics of hosts, train parts, %d decisions",
			len(leaks), simulated, seed, len(rows), len(metrics), len(again)),
		Features:   forecasting.FeatureNames(),
		Exhaustion: *fit(newTable(rows, soon), exhaustion),
		Leak:       *fit(newTable(rows, ever), exhaustion),
		Recurrence: *fit(newTable(again, soon), recurrence),
	}
	for _, m := range []*forecasting.Model{&m.Exhaustion, &m.Leak, &m.Recurrence} {
		round(m)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644)
}

// exhaustionRows returns the decisions on those leaks that are kept, and on series simulated on the
// backgrounds of those.
func exhaustionRows(leaks []backtest.Leak, keep func(int) bool) []decision {
	r := rand.New(rand.NewPCG(seed, 1))
	var rows []decision
	var backgrounds [][]float64
	for i := range leaks {
		if !keep(i) {
			continue
		}
		for _, d := range decide(&leaks[i], i, 288, 3, horizon) {
			d.weight = weight
			rows = append(rows, d)
		}
		if leaks[i].Kind == "none" {
			backgrounds = append(backgrounds, leaks[i].Values, backtest.SyntheticBackground(r, len(leaks[i].Values)))
		}
	}
	for _, h := range horizons {
		pace := float64(h) / horizon
		sims := backtest.Simulate(r, backgrounds, simulated/len(horizons), pace)
		for i := range sims {
			rows = append(rows, decide(&sims[i], -1, 48, max(1, h/12), h)...)
		}
	}
	return rows
}

// horizons of what is simulated, in steps: most are asked for six hours.
var horizons = [...]int{12, 24, 36, 72, 72, 72, 72, 144}
