package main

import (
	"slices"

	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/backtest"
)

// hour is the horizon of recurrence, in steps.
const hour = 12

// lesson is a way to ask a metric's train part: a level that the first part of it seldom reached, and decisions
// on what came after that part, one in so many steps.
type lesson struct {
	part, quantile float64
	every          int
}

// lessons teach a level of which the future knows more than the past does, as it is when they serve. Only the first one
// asks of the same part that gave the level; other quantiles are there for more to learn from.
var lessons = []lesson{
	{1, 0.99, 7},
	{1. / 3, 0.99, 8}, {1. / 2, 0.99, 5}, {2. / 3, 0.99, 6},
	{1. / 3, 0.98, 11}, {1. / 2, 0.98, 11}, {2. / 3, 0.98, 11},
	{1. / 3, 0.995, 11}, {1. / 2, 0.995, 11}, {2. / 3, 0.995, 11},
}

// recurrenceRows returns decisions on the train parts.
func recurrenceRows(metrics []backtest.Metric) []decision {
	rows := make([][]decision, len(metrics))
	parallel(len(metrics), func(i int) {
		train := metrics[i].Values[:metrics[i].Test]
		for _, l := range lessons {
			rows[i] = append(rows[i], l.ask(train, i)...)
		}
	})
	return slices.Concat(rows...)
}

func (l lesson) ask(values []float64, series int) []decision {
	past := values[:int(float64(len(values))*l.part)]
	if slices.Min(past) == slices.Max(past) {
		return nil
	}
	from := len(past)
	if l.part == 1 {
		from = 288
	}
	return reachedAgain(values, series, quantile(past, l.quantile), from, l.every)
}

// reachedAgain returns the decisions from a step on, one in so many, at which a metric that was at the capacity before was
// below it for half an hour.
func reachedAgain(values []float64, series int, capacity float64, from, every int) []decision {
	var out []decision
	calm := 0
	watch(values[:len(values)-hour], capacity, hour*step, func(t int, b *forecasting.Breach) {
		calm++
		if values[t] >= capacity {
			calm = 0
		}
		if calm < 6 || t < from || (t+series)%every != 0 {
			return
		}
		d := decision{series: series, at: t, x: features(b), weight: 1}
		if d.x[pastAt] == 0 {
			return
		}
		if slices.Max(values[t+1:t+1+hour]) >= capacity {
			d.soon = 1
		}
		out = append(out, d)
	})
	return out
}

var pastAt = slices.Index(forecasting.FeatureNames(), "past")

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-2)
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// ofGrowth takes from a table what only the model of recurrence looks at.
func (t *table) ofGrowth() *table {
	for c := range t.edges {
		if forecasting.OnlyRecurrence(c) {
			t.edges[c] = nil // no value to split at
		}
	}
	return t
}

// ofRecurrence takes from a table what only the models of growth look at.
func (t *table) ofRecurrence() *table {
	for c := range t.edges {
		if forecasting.OnlyGrowth(c) {
			t.edges[c] = nil
		}
	}
	return t
}

// hosts returns the hosts of metrics, each once, in order.
func hosts(metrics []backtest.Metric) []string {
	var out []string
	for i := range metrics {
		if !slices.Contains(out, metrics[i].Host) {
			out = append(out, metrics[i].Host)
		}
	}
	return out
}
