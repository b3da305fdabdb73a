package backtest

import (
	"fmt"
	"math"
	"time"

	"github.com/shivx/shivx/forecasting"
)

// Task is what a forecaster is asked: does the series reach the capacity within the horizon?
type Task struct {
	// Capacity is in the unit of the series.
	Capacity float64
	// Horizon is in steps.
	Horizon int
	// Step is the time that one value stands for.
	Step time.Duration
}

// per is how many steps a duration has, at least one.
func (t Task) per(d time.Duration) int { return max(1, int(d/t.Step)) }

// Outlook is what a forecaster says at a step.
type Outlook struct {
	// Probability that the capacity is reached within the horizon, 0 to 1.
	Probability float64
	Alert       bool
	// In is how many steps from now the capacity is reached, Low and High the bounds of its 80 % interval.
	// In is NaN when the capacity is not forecast to be reached, Low when there is no interval; High may be infinite.
	In, Low, High float64
}

// silent is an outlook without a time.
func silent(alert bool) Outlook {
	o := Outlook{Alert: alert, In: math.NaN(), Low: math.NaN(), High: math.NaN()}
	if alert {
		o.Probability = 1
	}
	return o
}

// Forecaster is under test: it takes a series step by step and is asked at some of them.
type Forecaster interface {
	Take(v float64)
	Look() Outlook
}

// Contender makes forecasters of one kind.
type Contender struct {
	Name string
	New  func(Task) (Forecaster, error)
}

// Contenders are ShivX and what it is compared with, for exhaustion: predict_linear of Prometheus over three
// windows, and a fixed threshold.
func Contenders() []Contender {
	out := []Contender{{"ShivX", newBreach}}
	for _, hours := range []int{1, 6, 24} {
		out = append(out, Contender{fmt.Sprintf("predict_linear[%dh]", hours), func(t Task) (Forecaster, error) {
			return newLinear(t, time.Duration(hours)*time.Hour), nil
		}})
	}
	return append(out, Contender{"fixed 85 %", func(t Task) (Forecaster, error) { return &fixed{limit: fixedShare * t.Capacity}, nil }})
}

// RecurrentContenders are those for levels that are reached again and again: yesterday's same hour, too.
func RecurrentContenders() []Contender {
	return append(Contenders(), Contender{"yesterday's hour", func(t Task) (Forecaster, error) { return newYesterday(t), nil }})
}

// breach is ShivX's own forecast, given a clock that begins in 1970.
type breach struct {
	forecast *forecasting.Breach
	step     time.Duration
	steps    int64
	at       time.Time
}

var _ Forecaster = (*breach)(nil)

func newBreach(t Task) (Forecaster, error) {
	b, err := forecasting.NewBreach(forecasting.Options{
		Capacity: t.Capacity, Horizon: time.Duration(t.Horizon) * t.Step, Step: t.Step,
	})
	if err != nil {
		return nil, fmt.Errorf("forecast: %w", err)
	}
	return &breach{forecast: b, step: t.Step}, nil
}

func (b *breach) Take(v float64) {
	b.at = time.Unix(0, b.steps*int64(b.step))
	b.steps++
	b.forecast.Update(b.at, v)
}

func (b *breach) Look() Outlook {
	f := b.forecast.Forecast()
	o := silent(f.Alert)
	o.Probability = f.Probability
	if f.BreachAt.IsZero() {
		return o
	}
	o.In, o.High = b.away(f.BreachAt), math.Inf(1)
	if !f.Low.IsZero() {
		o.Low = b.away(f.Low)
	}
	if !f.High.IsZero() {
		o.High = b.away(f.High)
	}
	return o
}

// away is how many steps a time is after the newest value.
func (b *breach) away(t time.Time) float64 { return float64(t.Sub(b.at)) / float64(b.step) }
