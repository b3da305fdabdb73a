package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"sync"

	"github.com/shivx/shivx/forecasting"
)

// settings of a fit.
type settings struct {
	trees, depth int
	rate         float64 // of learning
	lambda       float64 // penalty on a leaf
	least        float64 // weight of the curvature in a leaf
	half         bool    // each tree looks at a random half of the features
}

const bins = 128

// table is the features in bins, column by column.
type table struct {
	cols  [][]uint8
	edges [][]float32 // a value of edges[b] or more is in bin b+1 or a later one
	y, w  []float32
}

func newTable(rows []decision, label func(*decision) float32) *table {
	n := len(rows[0].x)
	t := &table{cols: make([][]uint8, n), edges: make([][]float32, n)}
	for i := range rows {
		t.y, t.w = append(t.y, label(&rows[i])), append(t.w, rows[i].weight)
	}
	parallel(n, func(c int) {
		t.edges[c] = edges(rows, c)
		t.cols[c] = make([]uint8, len(rows))
		for i := range rows {
			x := rows[i].x[c]
			t.cols[c][i] = uint8(sort.Search(len(t.edges[c]), func(k int) bool { return t.edges[c][k] > x }))
		}
	})
	return t
}

// edges returns quantiles of a column, each once.
func edges(rows []decision, c int) []float32 {
	var sample []float32
	for i := 0; i < len(rows); i += 1 + len(rows)/20000 {
		sample = append(sample, rows[i].x[c])
	}
	slices.Sort(sample)
	var out []float32
	last := sample[0]
	for b := 1; b < bins; b++ {
		if e := sample[b*len(sample)/bins]; e > last {
			out, last = append(out, e), e
		}
	}
	return out
}

func parallel(n int, f func(int)) {
	var wg sync.WaitGroup
	for k := range 2 {
		wg.Go(func() {
			for i := k; i < n; i += 2 {
				f(i)
			}
		})
	}
	wg.Wait()
}

type split struct {
	gain    float64
	feature int
	bin     int
}

type sums struct{ g, h float64 }

// loss gives where a sum begins, and the first and second derivative at a sum.
type loss struct {
	begin  func(t *table) float64
	derive func(sum float64, y float32) (g, h float64)
}

// mean returns the weighted mean of the labels.
func mean(t *table) float64 {
	var sum, all float64
	for i, y := range t.y {
		sum, all = sum+float64(y*t.w[i]), all+float64(t.w[i])
	}
	return sum / all
}

// chance is the logistic loss of labels 0 and 1, square the squared error of any.
var (
	chance = loss{
		begin: func(t *table) float64 { return math.Log(mean(t) / (1 - mean(t))) },
		derive: func(sum float64, y float32) (g, h float64) {
			p := logistic(sum)
			return p - float64(y), p * (1 - p)
		},
	}
	square = loss{begin: mean, derive: func(sum float64, y float32) (g, h float64) { return sum - float64(y), 1 }}
)

// fit makes a model by second-order boosting.
func fit(t *table, s settings, l loss) *forecasting.Model {
	n := len(t.y)
	m := &forecasting.Model{Depth: s.depth, Bias: l.begin(t)}
	f := make([]float64, n)
	for i := range f {
		f[i] = m.Bias
	}
	g, h := make([]float32, n), make([]float32, n)
	node := make([]uint8, n)
	r := rand.New(rand.NewPCG(seed, 2))
	for range s.trees {
		looks := make([]bool, len(t.cols))
		for c := range looks {
			looks[c] = !s.half || r.Uint32()&1 == 0
		}
		for i := range f {
			a, b := l.derive(f[i], t.y[i])
			g[i], h[i] = float32(a)*t.w[i], float32(b)*t.w[i]
			node[i] = 0
		}
		tree := grow(t, s, g, h, looks, node)
		m.Trees = append(m.Trees, tree)
		first := 1<<s.depth - 1
		for i := range f {
			f[i] += float64(tree.Value[first+int(node[i])])
		}
	}
	return m
}

// grow makes one tree; node becomes each row's leaf.
func grow(t *table, s settings, g, h []float32, looks []bool, node []uint8) forecasting.Tree {
	inner := 1<<s.depth - 1
	tree := forecasting.Tree{Feature: make([]uint8, inner), At: make([]float32, inner), Value: make([]float32, 2*inner+1)}
	totals := []sums{{}}
	for i := range g {
		totals[0].g += float64(g[i])
		totals[0].h += float64(h[i])
	}
	value := func(x sums) float32 { return float32(-s.rate * x.g / (x.h + s.lambda)) }
	tree.Value[0] = value(totals[0])
	for d := range s.depth {
		width := 1 << d
		best := findSplits(t, s, g, h, looks, node, totals)
		next := make([]sums, 2*width)
		for k, b := range best {
			at := width - 1 + k
			if b.gain <= 0 {
				tree.At[at] = math.MaxFloat32
				continue
			}
			tree.Feature[at], tree.At[at] = uint8(b.feature), t.edges[b.feature][b.bin]
		}
		for i := range node {
			k := node[i]
			b := best[k]
			c := 2 * k
			if b.gain > 0 && int(t.cols[b.feature][i]) > b.bin {
				c++
			}
			node[i] = c
			next[c].g += float64(g[i])
			next[c].h += float64(h[i])
		}
		for c, x := range next {
			tree.Value[2*width-1+c] = value(x)
		}
		totals = next
	}
	smooth(&tree, totals, s.depth)
	return tree
}

// smooth gives the inner nodes the mean of their leaves, by curvature, so that paths add up.
func smooth(t *forecasting.Tree, leaves []sums, depth int) {
	weight := make([]float64, len(t.Value))
	first := 1<<depth - 1
	for i, x := range leaves {
		weight[first+i] = x.h + 1e-9
	}
	for i := first - 1; i >= 0; i-- {
		a, b := 2*i+1, 2*i+2
		weight[i] = weight[a] + weight[b]
		t.Value[i] = float32((float64(t.Value[a])*weight[a] + float64(t.Value[b])*weight[b]) / weight[i])
	}
}

func findSplits(t *table, s settings, g, h []float32, looks []bool, node []uint8, totals []sums) []split {
	width := len(totals)
	perFeature := make([][]split, len(t.cols))
	parallel(len(t.cols), func(c int) {
		if !looks[c] {
			perFeature[c] = make([]split, width)
			return
		}
		hist := make([]sums, width*bins)
		col := t.cols[c]
		for i, b := range col {
			x := &hist[int(node[i])*bins+int(b)]
			x.g += float64(g[i])
			x.h += float64(h[i])
		}
		out := make([]split, width)
		for k := range width {
			var left sums
			tot := totals[k]
			whole := tot.g * tot.g / (tot.h + s.lambda)
			for b := range t.edges[c] {
				left.g += hist[k*bins+b].g
				left.h += hist[k*bins+b].h
				right := sums{tot.g - left.g, tot.h - left.h}
				if left.h < s.least || right.h < s.least {
					continue
				}
				gain := left.g*left.g/(left.h+s.lambda) + right.g*right.g/(right.h+s.lambda) - whole
				if gain > out[k].gain {
					out[k] = split{gain, c, b}
				}
			}
		}
		perFeature[c] = out
	})
	best := make([]split, width)
	for k := range best {
		for _, o := range perFeature {
			if o[k].gain > best[k].gain {
				best[k] = o[k]
			}
		}
	}
	return best
}

// predict returns the log-odds of a row.
func predict(m *forecasting.Model, x []float32) float64 {
	sum := m.Bias
	for i := range m.Trees {
		t, n := &m.Trees[i], 0
		for range m.Depth {
			at := n
			n = 2*n + 1
			if x[t.Feature[at]] >= t.At[at] {
				n++
			}
		}
		sum += float64(t.Value[n])
	}
	return sum
}

// round leaves four digits of what the leaves add and six of where the splits are.
func round(m *forecasting.Model) {
	digits := func(v []float32, n int) {
		for i, x := range v {
			f, _ := strconv.ParseFloat(strconv.FormatFloat(float64(x), 'g', n, 32), 32)
			v[i] = float32(f)
		}
	}
	for i := range m.Trees {
		digits(m.Trees[i].At, 6)
		digits(m.Trees[i].Value, 4)
	}
}
