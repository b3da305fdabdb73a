package main

import (
	"fmt"
	"math"

	"github.com/shivx/shivx/internal/backtest"
)

const folds = 4

// foldOf says which part of the leaks a series belongs to. Seven series in a row have the same background.
func foldOf(leaks []backtest.Leak, series int) int {
	return series / 7 * folds / ((len(leaks) + 6) / 7)
}

// othersOf returns, for each fold, the decisions on the series of all other folds.
func othersOf(leaks []backtest.Leak) (others [folds][]decision) {
	for f := range folds {
		others[f] = exhaustionRows(leaks, func(i int) bool { return foldOf(leaks, i) != f })
	}
	return others
}

// crossValidate fits on three quarters of the backgrounds and judges on the fourth, each in turn.
func crossValidate(leaks []backtest.Leak, others [folds][]decision) {
	var judged []decision
	for f := range folds {
		rows := others[f]
		soonModel := fit(newTable(rows, soon).ofGrowth(), exhaustion, chance)
		everModel := fit(newTable(rows, ever).ofGrowth(), exhaustion, chance)
		for i := range leaks {
			if foldOf(leaks, i) != f {
				continue
			}
			for _, d := range decide(&leaks[i], i, 288, 3, horizon) {
				d.p, d.leak = logistic(predict(soonModel, d.x)), logistic(predict(everModel, d.x))
				judged = append(judged, d)
			}
		}
		fmt.Printf("fold %d of %d: fitted on %d decisions\n", f+1, folds, len(rows))
	}
	for _, leak := range []float64{0, 0.5, 0.7, 0.8, 0.85, 0.9} {
		for _, p := range []float64{0.35, 0.5} {
			fmt.Printf("open at %.2f and leak %.2f: ", p, leak)
			judge(leaks, judged, p, leak)
		}
	}
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func judge(leaks []backtest.Leak, ds []decision, p, leak float64) {
	var tp, fp, fn float64
	open, alerted := map[int]bool{}, map[int]bool{}
	for _, d := range ds {
		if open[d.series] {
			open[d.series] = d.p >= p-0.1 && d.leak >= leak-0.3
		} else {
			open[d.series] = d.p >= p && d.leak >= leak
		}
		switch a := open[d.series]; {
		case a && d.soon > 0:
			tp++
		case a:
			fp++
		case d.soon > 0:
			fn++
		}
		if open[d.series] && (leaks[d.series].Exhausted < 0 || d.at >= leaks[d.series].Onset) {
			alerted[d.series] = true
		}
	}
	var of, hit [2]float64
	for i, l := range leaks {
		k := 0
		if l.Exhausted >= 0 {
			k = 1
		}
		of[k]++
		if alerted[i] {
			hit[k]++
		}
	}
	fmt.Printf("F1 %.3f, clean alerted %.1f %%, caught %.1f %%\n", 2*tp/(2*tp+fp+fn), 100*hit[0]/of[0], 100*hit[1]/of[1])
}
