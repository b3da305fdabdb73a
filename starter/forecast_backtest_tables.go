package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shivx/shivx/internal/backtest"
)

// backtestTables prints a table for each measure, with a row for each forecaster.
func (a *app) backtestTables(b *backtested) {
	if len(b.Leaks) > 0 {
		s := b.Leaks[0]
		a.out.printf("Leaks: %s, %s, %s, %d of them positive; exhausted within 6h", count(s.Leaks, "leak"), fmt.Sprintf("%d healthy series", s.Clean),
			count(s.Decisions, "decision"), s.Positives)
		t := backtestTable("CLEAN", "CAUGHT", "LEAD", "TIME AT 50%", "75%", "90%", "COVERED")
		for _, s := range b.Leaks {
			t.add(cells(append(scoreTexts(s.Forecaster, &s.Score), percent(s.CleanAlerted), percent(s.Caught), minutes(s.Lead),
				ratio(s.TimeError[0]), ratio(s.TimeError[1]), ratio(s.TimeError[2]), percent(s.Coverage))...)...)
		}
		a.out.table(t)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Breaches)) {
		scores := b.Breaches[name]
		a.out.line(normal, "")
		a.out.printf("Breaches, %s: %s, %d of them positive; the 99 %% quantile reached within 1h", strings.ToUpper(name),
			count(scores[0].Decisions, "decision"), scores[0].Positives)
		t := backtestTable()
		for _, s := range scores {
			t.add(cells(scoreTexts(s.Forecaster, &s.Score)...)...)
		}
		a.out.table(t)
	}
	if len(b.Anomalies) > 0 {
		a.out.line(normal, "")
		a.out.printf("Anomalies: NAB, standard profile, %s", count(b.Anomalies[0].Windows, "window"))
		t := table{head: []string{"DETECTOR", "SCORE", "THRESHOLD", "CAUGHT", "FALSE ALARMS"}}
		for _, s := range b.Anomalies {
			t.add(cells(s.Detector, fmt.Sprintf("%.1f", float64(s.Score)), ratio(s.Threshold), fmt.Sprint(s.Caught), fmt.Sprint(s.FalseAlarms))...)
		}
		a.out.table(t)
	}
	for i, f := range b.Files {
		if i > 0 {
			a.out.line(normal, "")
		}
		a.backtestFileTable(f)
	}
}

func (a *app) backtestFileTable(f backtestedFile) {
	s := f.Scores[0]
	a.out.printf("%s: %s, %s, %s, %d of them positive", f.name(), count(f.Steps, "step"), count(s.Events, "event"), count(s.Decisions, "decision"), s.Positives)
	t := backtestTable("CAUGHT", "LEAD", "TIME", "COVERED")
	for _, s := range f.Scores {
		t.add(cells(append(scoreTexts(s.Forecaster, &s.Score), percent(s.Caught), minutes(s.Lead), ratio(s.TimeError), percent(s.Coverage))...)...)
	}
	a.out.table(t)
}

// backtestTable has the columns that every measure has, and more. None is cut: half a number is none.
func backtestTable(more ...string) table {
	t := table{head: append([]string{"FORECASTER", "F1", "PRECISION", "RECALL", "AUPRC", "SKILL", "OFF"}, more...)}
	for i := range t.head {
		t.whole = append(t.whole, i)
	}
	return t
}

func scoreTexts(name string, s *backtest.Score) []string {
	return []string{name, ratio(s.F1), ratio(s.Precision), ratio(s.Recall), ratio(s.AUPRC), ratio(s.BrierSkill), ratio(s.CalibrationError)}
}

func ratio(f backtest.Figure) string {
	return figure(f, func(x float64) string { return strconv.FormatFloat(x, 'f', 3, 64) })
}

func percent(f backtest.Figure) string {
	return figure(f, func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) })
}

func minutes(f backtest.Figure) string {
	return figure(f, func(x float64) string { return short(time.Duration(x * float64(time.Minute)).Round(time.Minute)) })
}

// figure is "–" when there was nothing to measure.
func figure(f backtest.Figure, text func(float64) string) string {
	if math.IsNaN(float64(f)) {
		return "–"
	}
	return text(float64(f))
}
