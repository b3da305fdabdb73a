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
	bag          bool    // each tree sees a random half of the rows
	half         bool    // each tree looks at a random half of the features
}

const bins = 128

// table is the features in bins, column by column.
type table struct {
	cols    [][]uint8
	edges   [][]float32 // a value of edges[b] or more is in bin b+1 or a later one
	y, w    []float32
	healthy []int32   // number of the series when it is never exhausted, or -1
	worth   []float32 // what its series counts
}

func newTable(rows []decision, label func(*decision) float32) *table {
	n := len(rows[0].x)
	t := &table{cols: make([][]uint8, n), edges: make([][]float32, n)}
	for i := range rows {
		t.y, t.w = append(t.y, label(&rows[i])), append(t.w, rows[i].weight)
		h := int32(-1)
		if rows[i].healthy {
			h = int32(rows[i].series)
		}
		t.healthy, t.worth = append(t.healthy, h), append(t.worth, rows[i].worth)
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

// fit makes a model by second-order boosting, of parts of the rows and features if so set: Friedman, Stochastic gradient boosting, Comput. Stat. Data Anal. 38 (2002).
func fit(t *table, s settings, l loss) *forecasting.Model {
	n := len(t.y)
	m := &forecasting.Model{Depth: s.depth, Bias: l.begin(t)}
	f := make([]float64, n)
	for i := range f {
		f[i] = m.Bias
	}
	r := rand.New(rand.NewPCG(seed, 2))
	rows, cols := t.numbers()
	g, h := make([]float32, n), make([]float32, n)
	for range s.trees {
		for i := range f {
			a, b := l.derive(f[i], t.y[i])
			g[i], h[i] = float32(a)*t.w[i], float32(b)*t.w[i]
		}
		if l.press != nil {
			l.press(t, f, g, h)
		}
		tree := grow(t, s, g, h, draw(r, rows, s.bag), draw(r, cols, s.half))
		m.Trees = append(m.Trees, tree)
		parallel(2, func(part int) {
			for i := part * n / 2; i < (part+1)*n/2; i++ {
				f[i] += float64(tree.Value[t.leaf(&tree, s.depth, i)])
			}
		})
	}
	return m
}

// numbers returns those of all rows and of the columns that differ.
func (t *table) numbers() (rows, cols []int32) {
	for i := range t.y {
		rows = append(rows, int32(i))
	}
	for c := range t.edges {
		if len(t.edges[c]) > 0 {
			cols = append(cols, int32(c))
		}
	}
	return rows, cols
}

// draw returns a random half of the numbers, or all of them.
func draw(r *rand.Rand, of []int32, half bool) []int32 {
	if !half {
		return of
	}
	out := make([]int32, 0, len(of)/2+64)
	for _, i := range of {
		if r.Uint32()&1 == 0 {
			out = append(out, i)
		}
	}
	return out
}

// leaf returns the leaf that a row falls into.
func (t *table) leaf(tree *forecasting.Tree, depth, row int) int {
	n := 0
	for range depth {
		at := n
		n = 2*n + 1
		// The bin's lower edge stands for the value: every split is at an edge.
		if b := t.cols[tree.Feature[at]][row]; b > 0 && t.edges[tree.Feature[at]][b-1] >= tree.At[at] {
			n++
		}
	}
	return n
}

// grow makes one tree of some rows and columns.
func grow(t *table, s settings, g, h []float32, rows, cols []int32) forecasting.Tree {
	inner := 1<<s.depth - 1
	tree := forecasting.Tree{Feature: make([]uint8, inner), At: make([]float32, inner), Value: make([]float32, 2*inner+1)}
	node := make([]uint8, len(rows))
	totals := []sums{{}}
	for _, i := range rows {
		totals[0].g += float64(g[i])
		totals[0].h += float64(h[i])
	}
	value := func(x sums) float32 { return float32(-s.rate * x.g / (x.h + s.lambda)) }
	tree.Value[0] = value(totals[0])
	for d := range s.depth {
		width := 1 << d
		best := findSplits(t, s, g, h, rows, cols, node, totals)
		next := make([]sums, 2*width)
		for k, b := range best {
			at := width - 1 + k
			if b.gain <= 0 {
				tree.At[at] = math.MaxFloat32
				continue
			}
			tree.Feature[at], tree.At[at] = uint8(b.feature), t.edges[b.feature][b.bin]
		}
		for j, i := range rows {
			k := node[j]
			b := best[k]
			c := 2 * k
			if b.gain > 0 && int(t.cols[b.feature][i]) > b.bin {
				c++
			}
			node[j] = c
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

func findSplits(t *table, s settings, g, h []float32, rows, cols []int32, node []uint8, totals []sums) []split {
	width := len(totals)
	perFeature := make([][]split, len(cols))
	parallel(len(cols), func(n int) {
		c := int(cols[n])
		hist := make([]sums, width*bins)
		col := t.cols[c]
		for j, i := range rows {
			x := &hist[int(node[j])*bins+int(col[i])]
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
		perFeature[n] = out
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
