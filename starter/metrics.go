package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx/plugins/sdk"
)

// metricPoint is what was measured in one step.
type metricPoint struct {
	At   time.Time `json:"at"`
	Mean float64   `json:"mean"`
	Min  float64   `json:"min"`
	Max  float64   `json:"max"`
	Last float64   `json:"last"`
}

// UnmarshalJSON reads [time, mean, min, max, last], the time in seconds since 1970.
func (p *metricPoint) UnmarshalJSON(b []byte) error {
	var v [5]float64
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*p = metricPoint{time.UnixMilli(int64(v[0] * 1e3)).UTC(), v[1], v[2], v[3], v[4]}
	return nil
}

// metricSeries is one series of the agent's history.
type metricSeries struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Points []metricPoint     `json:"points"`
}

// metricsAnswer is what the agent answers to a query.
type metricsAnswer struct {
	From   time.Time      `json:"from"`
	To     time.Time      `json:"to"`
	Step   float64        `json:"step_seconds"`
	Series []metricSeries `json:"series"`
}

func (m metricsAnswer) step() time.Duration { return time.Duration(m.Step * float64(time.Second)) }

// metricsFlags are the flags of shivx metrics.
type metricsFlags struct {
	since, step time.Duration
	match       []string
}

func (a *app) metricsCommand() *cobra.Command {
	var o metricsFlags
	c := &cobra.Command{
		Use: "metrics [NAME]", Short: "Show what was measured on this host",
		Long: `Show the measurements that the agent of this host keeps: without NAME every series with its latest,
least and greatest value and its course over --since; with NAME its values step by step.

What only counts up (its name ends in _total) is shown as its rate per second. A gap means that
nothing was measured then.`,
		Example: `  shivx metrics --since 24h
  shivx metrics shivx_host_filesystem_used_ratio --match mountpoint=/var --since 7h --step 30m
  shivx metrics shivx_host_load1 --output json | jq '.series[0].points[-1].last'`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeMetric,
	}
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		name := ""
		if len(args) == 1 {
			name = args[0]
		}
		return a.metrics(cmd.Context(), name, o)
	})
	fl := c.Flags()
	fl.DurationVar(&o.since, "since", time.Hour, "how far back, such as 30m or 24h")
	fl.DurationVar(&o.step, "step", 0, "the time of one value; without it, what fits")
	fl.StringArrayVar(&o.match, "match", nil, "only series with this label: LABEL=VALUE; may be repeated")
	return c
}

func (o *metricsFlags) check(steps int) error {
	if o.since <= 0 {
		return hint(usagef("--since %s is not in the past", o.since), "write 30m or 24h")
	}
	for _, m := range o.match {
		if label, _, ok := strings.Cut(m, "="); !ok || label == "" {
			return hint(usagef("--match %q is no label with a value", m), "write LABEL=VALUE, such as mountpoint=/var")
		}
	}
	switch {
	case o.step < 0 || o.step > 0 && o.step < time.Second:
		return hint(usagef("--step %s is too short", o.step), "write 1s or more")
	case o.step == 0:
		o.step = niceStep(o.since, steps)
	}
	return nil
}

// Without --step, how many steps make a list of values, and a course drawn in one line; on a
// terminal of fewer columns than wideTerminal, a short one.
const (
	valueSteps   = 20
	courseSteps  = 24
	shortCourse  = 12
	wideTerminal = 110
)

// niceStep divides a time into at most so many steps of a length that people use.
func niceStep(since time.Duration, steps int) time.Duration {
	const day = 24 * time.Hour
	for _, d := range []time.Duration{
		5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 3 * time.Minute,
		5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, day,
	} {
		if since <= d*time.Duration(steps) {
			return d
		}
	}
	return (since/time.Duration(steps) + day).Truncate(day)
}

func (a *app) metrics(ctx context.Context, name string, o metricsFlags) error {
	steps, columns := courseSteps, a.out.columns()
	narrow := columns > 0 && columns < wideTerminal
	switch {
	case name != "":
		steps = valueSteps
	case narrow:
		steps = shortCourse
	}
	if err := o.check(steps); err != nil {
		return err
	}
	c, err := a.agent()
	if err != nil {
		return err
	}
	query := url.Values{"since": {o.since.String()}, "step": {o.step.String()}, "match": o.match}
	if name != "" {
		query.Set("name", name)
	}
	var found metricsAnswer
	if err := c.get(ctx, "/api/metrics/query?"+query.Encode(), &found); err != nil {
		return err
	}
	if name != "" && len(found.Series) == 0 {
		return noSuchMetric(ctx, c, name, o)
	}
	if a.json() {
		return a.document(found)
	}
	switch {
	case len(found.Series) == 0:
		a.err.line(normal, fmt.Sprintf("nothing was measured in the last %s", short(o.since)))
	case name == "":
		a.out.table(courseTable(found, narrow))
	default:
		a.printValues(found)
	}
	return nil
}

// noSuchMetric says why there is nothing to show of a name.
func noSuchMetric(ctx context.Context, c *agentClient, name string, o metricsFlags) error {
	var list struct {
		Names []string `json:"names"`
	}
	if err := c.get(ctx, "/api/metrics/names", &list); err != nil {
		return err
	}
	if slices.Contains(list.Names, name) {
		return hint(fmt.Errorf("nothing was measured of %s in the last %s%s", name, short(o.since), among(o.match)), "look further back with --since")
	}
	err := fmt.Errorf("the agent has no measurements of %s", name)
	if near := sdk.Nearest(name, list.Names); near != "" {
		return hint(err, "did you mean "+near+"?")
	}
	return hint(err, "shivx metrics lists them all")
}

func among(match []string) string {
	if len(match) == 0 {
		return ""
	}
	return " with " + strings.Join(match, " and ")
}

// completeMetric completes the first argument with the names of series.
func (a *app) completeMetric(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list struct {
		Names []string `json:"names"`
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	if c, err := a.agent(); len(args) == 0 && err == nil && c.get(ctx, "/api/metrics/names", &list) == nil {
		for i := range list.Names {
			list.Names[i] = clean(list.Names[i])
		}
	}
	return list.Names, cobra.ShellCompDirectiveNoFileComp
}
