package forecasting

import (
	"fmt"
	"math"
)

// Models are what is frozen: of one kind of question each.
type Models struct {
	// Made says how they were fitted.
	Made string
	// Features are the names of what the trees look at, in their order.
	Features []string
	// Exhaustion answers whether a series that never was at its capacity reaches it within the
	// horizon, Leak whether it ever will, Recurrence the first for one that was there before.
	Exhaustion Model
	Leak       Model
	Recurrence Model
	// Alarm is the first question, with a price on every healthy series that is alerted at any time. An
	// alert opens at log-odds of Open and closes below Close.
	Alarm       Model
	Open, Close float64
	// Time adds to the logarithm of when the straightest trend leads to the capacity, Doubt is the
	// logarithm of how far that is off, itself in logarithms. Between Early and Late times that lie
	// eight of ten outcomes.
	Time, Doubt Model
	Early, Late float64
}

// Model is a sum of decision trees over features; the logistic of the first three is a probability.
type Model struct {
	// Bias is the sum's beginning, in log-odds.
	Bias float64
	// Depth of every tree.
	Depth int
	// Trees of which every one is full.
	Trees []Tree
}

// Tree is a full tree; the children of node i are 2i+1 and 2i+2.
type Tree struct {
	// Feature and At are the split of each inner node: a value of At or more goes to the second child.
	Feature []uint8
	At      []float32
	// Value is what each node, the leaves among them, adds in log-odds on the mean.
	Value []float32
}

// check returns what is wrong with a model.
func (m *Model) check() error {
	inner := 1<<m.Depth - 1
	for i, t := range m.Trees {
		if len(t.Feature) != inner || len(t.At) != inner || len(t.Value) != 2*inner+1 {
			return fmt.Errorf("tree %d is not full", i)
		}
		for _, f := range t.Feature {
			if int(f) >= featureCount {
				return fmt.Errorf("tree %d looks at feature %d", i, f)
			}
		}
	}
	return nil
}

// sum returns the log-odds; with is what each feature adds to it, unless nil.
func (m *Model) sum(f *[featureCount]float64, with *[featureCount]float64) float64 {
	total := m.Bias
	for i := range m.Trees {
		t := &m.Trees[i]
		n := 0
		for range m.Depth {
			at := n
			n = 2*n + 1
			if float32(f[t.Feature[at]]) >= t.At[at] {
				n++
			}
			if with != nil {
				with[t.Feature[at]] += float64(t.Value[n] - t.Value[at])
			}
		}
		total += float64(t.Value[n])
	}
	return total
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
