package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx/internal/backtest"
)

func (a *app) forecastBacktestCommand() *cobra.Command {
	var t backtest.Task
	var horizon time.Duration
	var server prometheusFlags
	c := &cobra.Command{
		Use: "backtest [DIR | --capacity C FILE... | --capacity C --query PROMQL]", Short: "Judge forecasts on what has been, beside simpler ones",
		Long: `Runs forecasts over series whose end is known and prints how right they were, beside predict_linear of Prometheus over
1, 6 and 24 hours, a fixed threshold at 85 % of the capacity, and what followed at the same time yesterday.

With --capacity it judges your own series: CSV files (gzip too) of rows "timestamp,value" or "step,value". Each time the
series reaches the capacity from below is an event; an alert is right when one comes within the horizon. Decisions are
made at every step below the capacity, from the 49th on.

With --query the series are those of a query to the Prometheus server at --prometheus, or else the one of forecast.prometheus
in the agent's configuration: its value at each step of the time since --since. A query such as avg_over_time(x[5m]) averages.
$PROMETHEUS_TOKEN is sent as a bearer token.

Without --capacity, it judges a folder of labelled data, by the measures in its README: leaks/, series/ and nab/, what there is of it.
The folder is shared/data in this folder or one above it, if none is named.

  F1          of the alerts; with precision and recall
  AUPRC       average precision over all thresholds
  clean       healthy series with any alert
  caught      events with an alert before them; lead: from the first such alert, in the median
  time        median |error of the time to the end| / time left; without a forecast it is 1
  covered     ends within the 80 % interval
  skill       Brier skill: 0 is as good as always saying the base rate, 1 is perfect
  off         calibration error: how far probabilities are from frequencies`,
		Example: `  shivx forecast backtest --capacity 1.0 --horizon 6h memory.csv
  shivx forecast backtest --capacity 90 --horizon 1h -o json disk-*.csv | jq '.files[].scores[0].f1'
  shivx forecast backtest --capacity 0.95 --prometheus http://127.0.0.1:9090 --query 'instance:memory_used:ratio' --since 14d
  shivx forecast backtest ../shared/data`,
	}
	f := c.Flags()
	f.Float64Var(&t.Capacity, "capacity", 0, "the level that must not be reached, in the unit of the series")
	f.DurationVar(&horizon, "horizon", 6*time.Hour, "how far to look ahead")
	f.DurationVar(&t.Step, "step", 5*time.Minute, "the time that one value stands for; values of one step are averaged")
	server.add(f)
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		if server.asked(f) {
			return a.backtestQuery(cmd.Context(), args, server, t, horizon, f.Changed("capacity"))
		}
		if f.Changed("capacity") {
			if err := backtestTask(&t, horizon, args); err != nil {
				return err
			}
			return a.backtestFiles(cmd.Context(), args, t)
		}
		if f.Changed("horizon") || f.Changed("step") {
			return hint(usagef("--horizon and --step are for series of your own"), "add --capacity and name the files")
		}
		if len(args) > 1 {
			return hint(usagef("%d arguments without --capacity", len(args)), "name one folder, or add --capacity to judge files")
		}
		return a.backtestFolder(cmd.Context(), args)
	})
	return c
}

// backtested is the answer, as JSON has it.
type backtested struct {
	Leaks     []backtest.LeakScore              `json:"leaks,omitempty"`
	Breaches  map[string][]backtest.BreachScore `json:"breaches,omitempty"`
	Anomalies []backtest.AnomalyScore           `json:"anomalies,omitempty"`
	Files     []backtestedFile                  `json:"files,omitempty"`
}

// backtestFolder judges what a folder of labelled data holds.
func (a *app) backtestFolder(ctx context.Context, args []string) error {
	dir, err := backtestData(args)
	if err != nil {
		return err
	}
	var out backtested
	found := false
	for _, part := range []struct {
		folder string
		judge  func(context.Context, string, *backtested) error
	}{{"leaks", a.backtestLeaks}, {"series", a.backtestSeries}, {"nab", a.backtestNAB}} {
		path := filepath.Join(dir, part.folder)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		found = true
		if err := part.judge(ctx, path, &out); err != nil {
			return backtestError(path, err)
		}
	}
	if !found {
		return hint(usagef("%s holds none of leaks, series and nab", dir), "name a folder of labelled data, or judge files of your own with --capacity")
	}
	if a.json() {
		return a.document(out)
	}
	a.backtestTables(&out)
	return nil
}

func backtestError(path string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("backtest: %w", errInterrupted)
	}
	return fmt.Errorf("judge %s: %w", path, err)
}

// backtestData is the folder that is named, or shared/data above.
func backtestData(args []string) (string, error) {
	if len(args) > 0 {
		info, err := os.Stat(args[0])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", hint(usagef("there is no folder %s", args[0]), "name a folder of labelled data")
		case err != nil:
			return "", withCode(exitUsage, fmt.Errorf("open the data: %w", err))
		case !info.IsDir():
			return "", hint(usagef("%s is a file", args[0]), "say with --capacity which level it must not reach")
		}
		return args[0], nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the data: %w", err)
	}
	for up := dir; ; up = filepath.Dir(up) {
		data := filepath.Join(up, "shared", "data")
		if info, err := os.Stat(data); err == nil && info.IsDir() {
			return data, nil
		}
		if up == filepath.Dir(up) {
			return "", hint(usagef("there is no folder shared/data above %s", dir), "name a folder of labelled data, or judge files of your own with --capacity")
		}
	}
}

// judging runs f with a judge that says on a terminal how far it is.
func (a *app) judging(what string, total int, f func(backtest.Judge) error) error {
	var done atomic.Int64
	shown := newProgress(&a.err, func() string { return fmt.Sprintf("judging %s: %d of %d", what, done.Load(), total) })
	defer shown.end()
	return f(backtest.Judge{Done: func() { done.Add(1) }})
}

func (a *app) backtestLeaks(ctx context.Context, dir string, out *backtested) error {
	leaks, err := backtest.ReadLeaks(dir)
	if err != nil {
		return err
	}
	return a.judging("leaks", len(leaks), func(j backtest.Judge) (err error) {
		out.Leaks, err = j.Leaks(ctx, leaks, backtest.Contenders())
		return err
	})
}

func (a *app) backtestSeries(ctx context.Context, dir string, out *backtested) error {
	metrics, err := backtest.ReadSeries(dir)
	if err != nil {
		return err
	}
	out.Breaches = map[string][]backtest.BreachScore{}
	families := map[string][]backtest.Metric{}
	for _, m := range metrics {
		families[m.Family()] = append(families[m.Family()], m)
	}
	return a.judging("metrics", len(metrics), func(j backtest.Judge) error {
		for name, of := range families {
			if out.Breaches[name], err = j.Breaches(ctx, of, backtest.RecurrentContenders()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) backtestNAB(ctx context.Context, dir string, out *backtested) error {
	series, err := backtest.LoadNAB(dir)
	if err != nil {
		return err
	}
	return a.judging("anomalies", len(series), func(j backtest.Judge) (err error) {
		out.Anomalies, err = j.Anomalies(ctx, series)
		return err
	})
}

func backtestTask(t *backtest.Task, horizon time.Duration, files []string) error {
	if len(files) == 0 {
		return hint(usagef("--capacity needs a file to judge"), "name the CSV files to judge, or a --query to Prometheus")
	}
	return backtestHorizon(t, horizon)
}

func backtestHorizon(t *backtest.Task, horizon time.Duration) error {
	if t.Step <= 0 {
		return hint(usagef("--step %v is no length of a step", t.Step), "write a duration such as 5m")
	}
	t.Horizon = int(horizon / t.Step)
	return nil
}
