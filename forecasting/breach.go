package forecasting

import (
	"errors"
	"fmt"
	"math"
	"time"
)

const (
	recent = 288 // steps kept one by one
	block  = 12  // steps in a block
	blocks = 120 // blocks kept: five days of 5-minute steps
	warmUp = 48  // steps before the first forecast
)

// Options say what a Breach, a Drift or a Spike watches.
type Options struct {
	// Capacity is the level that must not be reached, in the unit of the series.
	Capacity float64
	// Horizon is how far ahead is looked: from 6 to 288 steps.
	Horizon time.Duration
	// Step is the time that one value stands for; 0: a 72nd of the horizon.
	Step time.Duration
}

// Check returns what is wrong with the options.
func (o Options) Check() error {
	switch steps := o.steps(); {
	case !(math.Abs(o.Capacity) <= largest):
		return fmt.Errorf("capacity %v: not a number that can be reached", o.Capacity)
	case o.Horizon <= 0:
		return errors.New("horizon: must be longer than nothing")
	case o.Step < 0:
		return errors.New("step: must not be negative")
	case steps < 6 || steps > recent:
		return fmt.Errorf("horizon %v is %d steps of %v; it must be 6 to %d steps", o.Horizon, steps, o.step(), recent)
	default:
		return nil
	}
}

func (o Options) step() time.Duration {
	if o.Step > 0 {
		return o.Step
	}
	return max(1, o.Horizon/72)
}

func (o Options) steps() int64 { return int64(o.Horizon / o.step()) }

// Breach forecasts whether a series reaches its capacity. It takes less than 4 KiB and is not safe
// for use by several goroutines.
type Breach struct {
	capacity float64
	horizon  int32
	grid     grid

	seen int64           // steps that are over
	ring [recent]float32 // their values, the newest at (seen-1)%recent
	mean [blocks]float32 // of whole blocks, the newest at (seen/block-1)%blocks
	low  [blocks]float32
	high [blocks]float32

	bsum, blow, bhigh float32 // of the block that is not whole
	spread            spread
	passage           passage
	precedent         precedent
	swings            swings
	alert             bool
}

// NewBreach returns a forecaster that has seen nothing.
func NewBreach(o Options) (*Breach, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	return &Breach{capacity: o.Capacity, horizon: int32(o.steps()), grid: grid{step: int64(o.step())}}, nil
}

// Update takes a measurement. Measurements come in the order of their times: one that is older than
// the open step changes nothing, and neither does one that is no number.
func (b *Breach) Update(at time.Time, v float64) {
	switch what, gap := b.grid.look(at, v); what {
	case newLife:
		*b = Breach{capacity: b.capacity, horizon: b.horizon, grid: grid{step: b.grid.step}}
		b.grid.put(at, v)
	case nextStep:
		last := b.grid.mean()
		for range gap {
			b.close(last)
			b.grid.index++
		}
		b.grid.put(at, v)
	case sameStep:
		b.grid.add(v)
	case ignored:
	}
}

// close takes a step that is over.
func (b *Breach) close(v float64) {
	x := float32(v)
	b.spread.take(b, x)
	b.passage.take(b, x)
	b.ring[b.seen%recent] = x
	b.seen++
	b.swings.take(b, x)
	if b.seen%block == 1 {
		b.bsum, b.blow, b.bhigh = 0, x, x
	}
	b.bsum, b.blow, b.bhigh = b.bsum+x, min(b.blow, x), max(b.bhigh, x)
	if b.seen%block == 0 {
		i := (b.seen/block - 1) % blocks
		b.mean[i], b.low[i], b.high[i] = b.bsum/block, b.blow, b.bhigh
		b.precedent.take(b)
	}
}

// back returns the value i steps before the newest.
func (b *Breach) back(i int64) float64 { return float64(b.ring[(b.seen-1-i)%recent]) }

// held returns how many steps can be looked back at.
func (b *Breach) held() int64 { return min(b.seen, recent) }

// whole returns how many blocks can be looked back at.
func (b *Breach) whole() int64 { return min(b.seen/block, blocks) }

// blockAt returns the place of the block i before the newest whole one.
func (b *Breach) blockAt(i int64) int64 { return (b.seen/block - 1 - i) % blocks }
