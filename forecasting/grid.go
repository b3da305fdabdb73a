package forecasting

import (
	"math"
	"time"
)

// longGap is how many steps without a measurement end a series: what comes after them is another one.
const longGap = 48

// largest is the largest value that counts as a number: sums and squares of it stay finite.
const largest = 1e30

// grid cuts time into steps and says which are over.
type grid struct {
	step  int64 // nanoseconds
	index int64 // of the open step, in steps since 1970
	sum   float64
	count int32
	begun bool
}

// verdict is what a measurement means for the steps before it.
type verdict int

const (
	sameStep verdict = iota
	nextStep         // the open step is over, and steps without a measurement may lie between
	newLife          // the series begins anew
	ignored          // no number, or of a step that is over
)

// look says what a measurement at that time does; gap is how many steps since the open one, at least
// one when it is over.
func (g *grid) look(at time.Time, v float64) (verdict, int64) {
	if !(math.Abs(v) <= largest) { // NaN, too
		return ignored, 0
	}
	i := floorDiv(at.UnixNano(), g.step)
	switch d := i - g.index; {
	case !g.begun, d > longGap, d < -longGap:
		return newLife, 0
	case d > 0:
		return nextStep, d
	case d < 0:
		return ignored, 0
	default:
		return sameStep, 0
	}
}

// put begins a step with its first measurement.
func (g *grid) put(at time.Time, v float64) {
	g.index, g.sum, g.count, g.begun = floorDiv(at.UnixNano(), g.step), v, 1, true
}

func (g *grid) add(v float64) { g.sum += v; g.count++ }

func (g *grid) mean() float64 { return g.sum / float64(g.count) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
