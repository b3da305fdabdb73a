package main

import (
	"fmt"
	"math"

	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/backtest"
)

// limits of an alert for recurrence that are compared: it opens at one probability and closes below another.
var limits = [...][2]float64{{0.16, 0.16}, {0.18, 0.15}, {0.18, 0.18}, {0.2, 0.17}, {0.2, 0.2}, {0.22, 0.19}, {0.22, 0.22}, {0.25, 0.25}}

// checkRecurrence leaves out each host in turn, fits on the train parts of the others, and judges on the host: on the last
// third of its train part, by which what is frozen is chosen, and on its test part.
func checkRecurrence(metrics []backtest.Metric) {
	rows := recurrenceRows(metrics)
	inTrain, inTest := map[string][]decision{}, map[string][]decision{}
	for _, host := range hosts(metrics) {
		var others []decision
		for _, d := range rows {
			if metrics[d.series].Host != host {
				others = append(others, d)
			}
		}
		m := fit(newTable(others, soon), recurrence, chance)
		for i := range metrics {
			if metrics[i].Host != host {
				continue
			}
			train := metrics[i].Values[:metrics[i].Test]
			kind := family(host)
			inTrain[kind] = append(inTrain[kind], forecastAll(m, lesson{2. / 3, 0.99, 1}.ask(train, i))...)
			inTest[kind] = append(inTest[kind], forecastAll(m, reachedAgain(metrics[i].Values, i, metrics[i].Threshold, metrics[i].Test, 1))...)
		}
		fmt.Printf("%s: fitted on %d decisions on the other hosts\n", host, len(others))
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
