package main

import (
	"fmt"
	"math"

	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/backtest"
)

// limits of an alert for recurrence that are compared: it opens at one probability and closes below another.
var limits = [...][2]float64{{0.16, 0.16}, {0.18, 0.15}, {0.18, 0.18}, {0.2, 0.17}, {0.2, 0.2}, {0.22, 0.19}, {0.22, 0.22}, {0.25, 0.25}}

// thirds is how many parts the hosts are in, the kinds mixed, of which one at a time is held out.
const thirds = 3

// checkRecurrence fits on the train parts of two thirds of the hosts and judges on the others, each third in turn: on the
// last third of their train parts, by which what is frozen was chosen, and on their test parts.
func checkRecurrence(metrics []backtest.Metric) {
	rows := recurrenceRows(metrics)
	part := map[string]int{}
	for i, host := range hosts(metrics) {
		part[host] = i % thirds
	}
	inTrain, inTest := map[string][]decision{}, map[string][]decision{}
	for held := range thirds {
		var others []decision
		for _, d := range rows {
			if part[metrics[d.series].Host] != held {
				others = append(others, d)
			}
		}
		model := fit(newTable(others, soon).ofRecurrence(), recurrence, chance)
		for i := range metrics {
			m := &metrics[i]
			if part[m.Host] != held {
				continue
			}
			kind := m.Family()
			inTrain[kind] = append(inTrain[kind], forecastAll(model, lesson{2. / 3, 0.99, 1}.ask(m.Values[:m.Test], i))...)
			inTest[kind] = append(inTest[kind], forecastAll(model, reachedAgain(m.Values, i, m.Threshold, m.Test, 1))...)
		}
		fmt.Printf("part %d of %d of the hosts: fitted on %d decisions on the others\n", held+1, thirds, len(others))
	}
	for _, kind := range []string{"smd", "asd"} {
		fmt.Printf("%s, last third of the train part:\n", kind)
		judgeAgain(inTrain[kind])
		fmt.Printf("%s, test part:\n", kind)
		judgeAgain(inTest[kind])
	}
}

// judgeAgain prints the skill and the calibration error of the probabilities, and F1 by the limits of an alert.
func judgeAgain(ds []decision) {
	const width = 15
	var off [width]float64
	var sum, came float64
	for _, d := range ds {
		e := d.p - float64(d.soon)
		off[min(width-1, int(d.p*width))] += e
		sum, came = sum+e*e, came+float64(d.soon)
	}
	n := float64(len(ds))
	var apart float64
	for _, o := range off {
		apart += math.Abs(o)
	}
	base := came / n
	fmt.Printf("  %d decisions, %.4f of them positive: skill %.3f, calibration error %.4f; F1", len(ds), base, 1-sum/n/(base*(1-base)), apart/n)
	for _, l := range limits {
		fmt.Printf(" %.2f/%.2f: %.3f", l[0], l[1], alertF1(ds, l[0], l[1]))
	}
	fmt.Println()
}

// alertF1 returns the F1 of alerts on decisions that are in order, series by series.
func alertF1(ds []decision, opens, closes float64) float64 {
	var hits, alerts, came float64
	open := false
	for i, d := range ds {
		limit := opens
		if open && i > 0 && ds[i-1].series == d.series {
			limit = closes
		}
		open = d.p >= limit
		came += float64(d.soon)
		if open {
			alerts++
			hits += float64(d.soon)
		}
	}
	return 2 * hits / (alerts + came)
}

func forecastAll(m *forecasting.Model, ds []decision) []decision {
	for i := range ds {
		ds[i].p = logistic(predict(m, ds[i].x))
		ds[i].x = nil // much memory
	}
	return ds
}
