package backtest

import (
	"context"
	"fmt"
	"math"
)

// The protocol for breaches: does the metric reach its threshold within the hour, asked at each step of the
// test part after half an hour below it.
const (
	breachHorizon = 12
	breachBelow   = 6
)

// BreachScore is how a forecaster does on metrics that reach a level again and again.
type BreachScore struct {
	Forecaster string `json:"forecaster"`
	Score
}

// Breaches judges contenders on metrics, all decisions taken together.
func (j Judge) Breaches(ctx context.Context, metrics []Metric, contenders []Contender) ([]BreachScore, error) {
	decisions := make([][][]decision, len(metrics))
	err := j.each(ctx, len(metrics), func(i int) error {
		m := &metrics[i]
		for _, c := range contenders {
			f, err := c.New(Task{Capacity: m.Threshold, Horizon: breachHorizon, Step: gridStep})
			if err != nil {
				return fmt.Errorf("%s on %s of %s: %w", c.Name, m.Name, m.Host, err)
			}
			decisions[i] = append(decisions[i], m.follow(f))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]BreachScore, len(contenders))
	for k, c := range contenders {
		var all []decision
		for i := range metrics {
			all = append(all, decisions[i][k]...)
		}
		out[k] = BreachScore{c.Name, score(all)}
	}
	return out, nil
}

// follow runs through both parts and decides in the second. A step whose horizon goes past the end is not judged.
func (m *Metric) follow(f Forecaster) []decision {
	var out []decision
	next := reaches(m.Values, m.Threshold)
	below := 0
	for i, v := range m.Values {
		f.Take(v)
		below++
		if v >= m.Threshold {
			below = 0
		}
		if i < m.Test || i+breachHorizon >= len(m.Values) {
			continue
		}
		o := f.Look() // at every step, as alerts have hysteresis
		if below >= breachBelow {
			out = append(out, decision{float32(o.Probability), o.Alert, next[i]-i <= breachHorizon})
		}
	}
	return out
}

// reaches gives for each step the next step after it that is at the capacity or above; far away when none is.
func reaches(values []float64, capacity float64) []int {
	out := make([]int, len(values))
	next := math.MaxInt / 2
	for i := len(values) - 1; i >= 0; i-- {
		out[i] = next
		if values[i] >= capacity {
			next = i
		}
	}
	return out
}
