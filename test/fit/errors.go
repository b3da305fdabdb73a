package main

import (
	"fmt"
	"github.com/shivx/shivx/internal/backtest"
	"maps"
	"slices"
)

func errorsOf(ls []backtest.Leak, ds []decision, thr float64) {
	type c struct{ tp, fn, fp int }
	m := map[string]*c{}
	get := func(k string) *c {
		if m[k] == nil {
			m[k] = &c{}
		}
		return m[k]
	}
	for _, d := range ds {
		l := ls[d.series]
		a := d.p >= thr
		if l.Exhausted >= 0 {
			life := l.Exhausted - l.Onset
			k := "fast"
			if life > 110 {
				k = "mid"
			}
			if life > 450 {
				k = "slow"
			}
			left := l.Exhausted - d.step
			switch {
			case d.y > 0 && d.step < l.Onset:
				k += " before onset"
			case d.y > 0:
				k += fmt.Sprintf(" left %02d-", left/12*12)
				k += ""
			case left <= 144 && a:
				k += " early 73-144"
			case a && d.step >= l.Onset:
				k += " early >144"
			case a:
				k += " pre-onset"
			default:
				continue
			}
			switch {
			case d.y > 0 && a:
				get(k).tp++
			case d.y > 0:
				get(k).fn++
			case a:
				get(k).fp++
			}
		} else if a {
			get("clean "+l.Kind).fp++
		}
	}
	for _, k := range sortedKeys(m) {
		fmt.Printf("%-28s tp %4d fn %4d fp %4d\n", k, m[k].tp, m[k].fn, m[k].fp)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func worst(ls []backtest.Leak, ds []decision) {
	for i, l := range ls {
		if l.Exhausted < 0 {
			continue
		}
		n, hit := 0, 0
		mx := 0.0
		last := 0.0
		for _, d := range ds {
			if d.series == i && d.y > 0 && d.step >= l.Onset {
				n++
				if d.p >= .4 {
					hit++
				}
				mx = max(mx, d.p)
				last = d.p
			}
		}
		if hit*3 < n*1 || last < .4 {
			v := l.Values
			e := l.Exhausted
			fmt.Printf("%s %-9s onset %d life %d: %d of %d, max p %.2f last %.2f  last values", l.ID, l.Kind, l.Onset, e-l.Onset, hit, n, mx, last)
			for _, b := range []int{96, 72, 48, 36, 24, 18, 12, 6, 5, 4, 3, 2, 1, 0} {
				if e >= b {
					fmt.Printf(" %.2f", v[e-b])
				}
			}
			fmt.Println()
		}
	}
}
