package main

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/backtest"
)

type decision struct {
	series, step int
	y, y2        float32
	p, p2        float64
	x            []float32
}

const step = 5 * time.Minute

func decide(l *backtest.Leak, s int, every int) []decision {
	b, err := forecasting.NewBreach(forecasting.Options{Capacity: 1, Horizon: 6 * time.Hour, Step: step})
	if err != nil {
		panic(err)
	}
	end := len(l.Values)
	if l.Exhausted >= 0 {
		end = l.Exhausted
	}
	var out []decision
	buf := make([]float64, 0, 64)
	for t := range end {
		b.Update(time.Unix(0, 0).Add(time.Duration(t)*step), l.Values[t])
		if t < 288 || (t-288)%every != 0 {
			continue
		}
		buf = b.Features(buf[:0])
		x := make([]float32, len(buf))
		for i, f := range buf {
			x[i] = float32(f)
		}
		d := decision{series: s, step: t, x: x}
		if l.Exhausted >= 0 && l.Exhausted-t <= 72 {
			d.y = 1
		}
		if l.Exhausted >= 0 && t >= l.Onset && l.Exhausted-t <= 72**far {
			d.y2 = 1
		}
		out = append(out, d)
	}
	return out
}

var far = flag.Int("far", 6, "horizons of the second model")

func main() {
	count := flag.Int("sims", 1200, "")
	trees := flag.Int("trees", 120, "")
	depth := flag.Int("depth", 4, "")
	rate := flag.Float64("rate", 0.1, "")
	realW := flag.Float64("real", 3, "weight of real")
	breach := flag.Bool("breach", false, "")
	flag.Parse()
	if *breach {
		fitBreach(settings{trees: *trees, depth: *depth, rate: *rate, lambda: 5, least: 10})
		return
	}
	ls, err := backtest.ReadLeaks("/work/shared/data/leaks")
	if err != nil {
		panic(err)
	}
	t0 := time.Now()
	var real []decision
	for i := range ls {
		real = append(real, decide(&ls[i], i, 3)...)
	}
	fmt.Println(len(real), "real decisions", time.Since(t0))
	const folds = 4
	fold := func(s int) int { return (s / 7) * folds / ((len(ls) + 6) / 7) }
	for f := range folds {
		r := rand.New(rand.NewPCG(uint64(f), 6))
		var bg [][]float64
		for i := range ls {
			if fold(i) != f && ls[i].Kind == "none" {
				bg = append(bg, ls[i].Values)
			}
		}
		nb := len(bg)
		for range nb {
			bg = append(bg, backtest.SyntheticBackground(r, 1700))
		}
		sims := backtest.Simulate(r, bg, *count)
		var rows [][]float32
		var y, y2, w []float32
		for i := range sims {
			for _, d := range decide(&sims[i], -1, 6) {
				rows, y, w = append(rows, d.x), append(y, d.y), append(w, 1)
				y2 = append(y2, d.y2)
			}
		}
		for _, d := range real {
			if fold(d.series) != f {
				rows, y, w = append(rows, d.x), append(y, d.y), append(w, float32(*realW))
				y2 = append(y2, d.y2)
			}
		}
		m := fit(newTable(rows, y, w), settings{trees: *trees, depth: *depth, rate: *rate, lambda: 5, least: 10})
		m2 := fit(newTable(rows, y2, w), settings{trees: *trees, depth: *depth, rate: *rate, lambda: 5, least: 10})
		for i := range real {
			if fold(real[i].series) == f {
				real[i].p2 = 1 / (1 + math.Exp(-predict(m2, real[i].x)))
				real[i].p = 1 / (1 + math.Exp(-predict(m, real[i].x)))
			}
		}
		use := map[string]float64{}
		for _, t := range m.Trees {
			for k, n := range t.Feature {
				use[forecasting.FeatureNames()[n]] += math.Abs(float64(t.Value[2*k+1] - t.Value[2*k+2]))
			}
		}
		var names []string
		for n := range use {
			names = append(names, n)
		}
		sort.Slice(names, func(a, b int) bool { return use[names[a]] > use[names[b]] })
		fmt.Println("fold", f, len(rows), "rows", time.Since(t0).Round(time.Second), names[:16])
	}
	report(ls, real)
	errorsOf(ls, real, .4)
	worst(ls, real)
}

func report(ls []backtest.Leak, ds []decision) {
	for _, k := range [][2]float64{{.4, .4}, {.5, .3}, {.6, .3}, {.7, .3}, {.75, .3}, {.8, .3}, {.85, .3}, {.8, .2}, {.85, .2}} {
		fmt.Printf("open %.2f close %.2f: ", k[0], k[1])
		judge(ls, ds, k[0], k[1], 0, 0)
	}
	for _, a := range []float64{.5, .6, .7, .8, .85, .9, .95} {
		for _, o := range []float64{.3, .4, .5} {
			fmt.Printf("leak %.2f open %.2f close .3: ", a, o)
			judge(ls, ds, o, min(o, .3), a, a-.3)
		}
	}
	var m, brier, base float64
	for _, d := range ds {
		m += float64(d.y)
	}
	m /= float64(len(ds))
	for _, d := range ds {
		brier += (d.p - float64(d.y)) * (d.p - float64(d.y))
		base += (m - float64(d.y)) * (m - float64(d.y))
	}
	fmt.Printf("brier skill %.3f\n", 1-brier/base)
}

func judge(ls []backtest.Leak, ds []decision, open, shut, open2, shut2 float64) {
	var tp, fp, fn float64
	alerted, caught, run := map[int]bool{}, map[int]bool{}, map[int]int{}
	for _, d := range ds {
		if d.p >= open && d.p2 >= open2 || run[d.series] > 0 && d.p >= shut && d.p2 >= shut2 {
			run[d.series] = 1
		} else {
			run[d.series] = 0
		}
		a := run[d.series] > 0
		switch {
		case a && d.y > 0:
			tp++
		case a:
			fp++
		case d.y > 0:
			fn++
		}
		if a {
			alerted[d.series] = true
			if ls[d.series].Exhausted >= 0 && d.step >= ls[d.series].Onset {
				caught[d.series] = true
			}
		}
	}
	var clean, nc, c, nl float64
	kinds := map[string]int{}
	for i, l := range ls {
		if l.Exhausted < 0 {
			nc++
			if alerted[i] {
				clean++
				kinds[l.Kind]++
			}
		} else {
			nl++
			if caught[i] {
				c++
			} else {
				kinds["missed "+l.Kind]++
			}
		}
	}
	fmt.Printf("F1 %.3f precision %.3f recall %.3f clean alerted %.3f caught %.3f %v\n", 2*tp/(2*tp+fp+fn), tp/(tp+fp), tp/(tp+fn), clean/nc, c/nl, kinds)
}
