package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/backtest"
)

// breaches returns the decisions of a metric: below for 30 minutes.
func breaches(m *backtest.Metric, s int) []decision {
	b, err := forecasting.NewBreach(forecasting.Options{Capacity: m.Threshold, Horizon: time.Hour, Step: step})
	if err != nil {
		panic(err)
	}
	var out []decision
	buf := make([]float64, 0, 80)
	calm := 0
	for t := 0; t+12 < len(m.Values); t++ {
		b.Update(time.Unix(0, 0).Add(time.Duration(t)*step), m.Values[t])
		if m.Values[t] < m.Threshold {
			calm++
		} else {
			calm = 0
		}
		if calm < 6 || t < 288 || t < m.Test && t+12 >= m.Test {
			continue
		}
		buf = b.Features(buf[:0])
		x := make([]float32, len(buf))
		for i, f := range buf {
			x[i] = float32(f)
		}
		d := decision{series: s, step: t, x: x}
		for _, v := range m.Values[t+1 : t+13] {
			if v >= m.Threshold {
				d.y = 1
			}
		}
		out = append(out, d)
	}
	return out
}

func fitBreach(s settings) {
	ms, err := backtest.ReadSeries("/work/shared/data/series")
	if err != nil {
		panic(err)
	}
	var train, test []decision
	for i := range ms {
		for _, d := range breaches(&ms[i], i) {
			if d.step < ms[i].Test {
				train = append(train, d)
			} else {
				test = append(test, d)
			}
		}
	}
	fmt.Println(len(ms), "metrics", len(train), "train", len(test), "test")
	run := func(keep func(i int) bool) *forecasting.Model {
		var rows [][]float32
		var y, w []float32
		for _, d := range train {
			if keep(d.series) {
				rows, y, w = append(rows, d.x), append(y, d.y), append(w, 1)
			}
		}
		return fit(newTable(rows, y, w), s)
	}
	for _, kind := range []string{"smd", "asd"} {
		m := run(func(i int) bool { return true })
		for i := range test {
			test[i].p = 1 / (1 + math.Exp(-predict(m, test[i].x)))
		}
		evalBreach(kind+" fitted on all train", ms, test, kind)
		hosts := map[string]bool{}
		for _, x := range ms {
			hosts[x.Host] = true
		}
		for h := range hosts {
			if !strings.HasPrefix(h, kind) {
				continue
			}
			m := run(func(i int) bool { return ms[i].Host != h })
			for i := range test {
				if ms[test[i].series].Host == h {
					test[i].p = 1 / (1 + math.Exp(-predict(m, test[i].x)))
				}
			}
		}
		evalBreach(kind+" other hosts only", ms, test, kind)
	}
}

func evalBreach(name string, ms []backtest.Metric, ds []decision, kind string) {
	var n, pos, brier float64
	var binN, binP, binY [15]float64
	for _, d := range ds {
		if !strings.HasPrefix(ms[d.series].Host, kind) {
			continue
		}
		n++
		pos += float64(d.y)
		brier += (d.p - float64(d.y)) * (d.p - float64(d.y))
		b := min(14, int(d.p*15))
		binN[b]++
		binP[b] += d.p
		binY[b] += float64(d.y)
	}
	ece := 0.0
	for b := range binN {
		ece += math.Abs(binP[b]-binY[b]) / n
	}
	base := pos / n * (1 - pos/n) * n
	fmt.Printf("%-24s base %.4f brier skill %.3f ece %.4f", name, pos/n, 1-brier/base, ece)
	for _, thr := range []float64{.15, .2, .25, .3, .35, .4, .5} {
		var tp, fp, fn float64
		for _, d := range ds {
			if !strings.HasPrefix(ms[d.series].Host, kind) {
				continue
			}
			switch {
			case d.p >= thr && d.y > 0:
				tp++
			case d.p >= thr:
				fp++
			case d.y > 0:
				fn++
			}
		}
		fmt.Printf("  %.2f: %.3f", thr, 2*tp/(2*tp+fp+fn))
	}
	fmt.Println()
}
