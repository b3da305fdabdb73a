package forecasting

import (
	"errors"
	"math"
)

// Costs say what a failure and each response to its forecast cost, all in one unit: what a failure costs that was
// not prevented, say. They cut the probability of a failure into colours.
//
// A response is worth its price when that is less than what is lost without it on the average: p·Miss. That is the
// cost-loss model (Murphy, The value of climatological, categorical and probabilistic forecasts in the cost-loss ratio
// situation, Mon. Weather Rev. 105, 1977), and the threshold of a decision by expected cost (Elkan, The foundations of
// cost-sensitive learning, IJCAI 2001). It holds for probabilities that mean what they say: see Calibration.
type Costs struct {
	// Miss is the cost of a failure that was not prevented.
	Miss float64
	// Look is the cost of a person's look at the subsystem: yellow is where it is worth that.
	Look float64
	// Prepare is the cost of a preparation that may be in vain: orange.
	Prepare float64
	// Act is the cost of acting without need, such as of a restart: red.
	Act float64
}

// DefaultCosts let one look at what fails in one of twenty such cases, prepare at one in five, act at one in two.
var DefaultCosts = Costs{Miss: 1, Look: 0.05, Prepare: 0.2, Act: 0.5}

// Check returns what is wrong with the costs.
func (c Costs) Check() error {
	switch {
	case !(c.Miss > 0 && c.Miss <= largest):
		return errors.New("cost of a miss: must be more than nothing")
	case !(c.Look > 0 && c.Look < c.Prepare && c.Prepare < c.Act && c.Act < c.Miss):
		return errors.New("costs: a look must cost something, and each of look, prepare, act, miss more than the one before")
	default:
		return nil
	}
}

// Risk returns a risk from 0 to 100 of the calibrated probability p of a failure. It passes 25, 50 and 75, where
// the colour changes, where p·Miss exceeds the cost of a look, of preparing and of acting, and is straight between
// them, from 0 at 0 to 100 at 1. It is rounded up: what is not impossible is a risk of 1 at least. A p that is no
// number is taken for 0, and so is every p when the costs are wrong by Check.
func (c Costs) Risk(p float64) int {
	if c.Check() != nil || !(p > 0) {
		return 0
	}
	p = math.Min(p, 1)
	lower, quarter := 0.0, 0.0
	for _, cost := range [...]float64{c.Look, c.Prepare, c.Act, c.Miss} {
		upper := cost / c.Miss
		if p <= upper {
			part := (p - lower) / (upper - lower)
			return int(math.Min(25*quarter+math.Ceil(25*part), 25*(quarter+1)))
		}
		lower = upper
		quarter++
	}
	return 100
}

// Color is what a risk is shown as.
type Color uint8

// The colours, in the order of the risk.
const (
	Green  Color = iota // up to 25: nothing is worth doing
	Yellow              // up to 50: look
	Orange              // up to 75: prepare
	Red                 // act
)

// ColorOf returns the colour of a risk from 0 to 100.
func ColorOf(risk int) Color {
	switch {
	case risk <= 25:
		return Green
	case risk <= 50:
		return Yellow
	case risk <= 75:
		return Orange
	default:
		return Red
	}
}

// String returns the colour's name in lower case.
func (c Color) String() string {
	return [...]string{"green", "yellow", "orange", "red"}[min(c, Red)]
}
