package resilience

import (
	"math"
	"slices"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/vitals"
)

// rule says how one resource counts.
type rule struct {
	// weight in the confidence; the mounts of disk and inodes share theirs.
	weight float64
	// points of the curve, in the order of their readings; none: it cannot be scored.
	points []config.Point
	// readings of it in the sample at hand.
	readings int
}

// defaultRules are the curves and weights of docs/RESILIENCE.md, which has the reasons.
func defaultRules() map[vitals.Resource]*rule {
	disk := func() []config.Point {
		return []config.Point{{At: 80, Score: 100}, {At: 90, Score: 85}, {At: 95, Score: 60}, {At: 98, Score: 25}, {At: 99, Score: 10}, {At: 100, Score: 0}}
	}
	table := func() []config.Point {
		return []config.Point{{At: 70, Score: 100}, {At: 90, Score: 60}, {At: 98, Score: 20}, {At: 100, Score: 0}}
	}
	return map[vitals.Resource]*rule{
		vitals.CPU:            {weight: 2, points: []config.Point{{At: 70, Score: 100}, {At: 90, Score: 85}, {At: 100, Score: 70}}},
		vitals.Load:           {weight: 1, points: []config.Point{{At: 100, Score: 100}, {At: 200, Score: 85}, {At: 400, Score: 65}, {At: 800, Score: 45}, {At: 1600, Score: 25}}},
		vitals.Memory:         {weight: 2, points: []config.Point{{At: 80, Score: 100}, {At: 90, Score: 75}, {At: 95, Score: 50}, {At: 98, Score: 20}, {At: 100, Score: 0}}},
		vitals.Disk:           {weight: 2, points: disk()},
		vitals.Inodes:         {weight: 1, points: disk()},
		vitals.Threads:        {weight: 1, points: table()},
		vitals.OpenFiles:      {weight: 1, points: table()},
		vitals.Network:        {weight: 1, points: []config.Point{{At: 1, Score: 100}, {At: 5, Score: 80}, {At: 20, Score: 60}, {At: 100, Score: 50}}},
		vitals.PressureCPU:    {weight: 1, points: []config.Point{{At: 20, Score: 100}, {At: 60, Score: 85}, {At: 100, Score: 65}}},
		vitals.PressureMemory: {weight: 1, points: []config.Point{{At: 5, Score: 100}, {At: 20, Score: 60}, {At: 50, Score: 20}, {At: 80, Score: 0}}},
		vitals.PressureIO:     {weight: 1, points: []config.Point{{At: 40, Score: 100}, {At: 80, Score: 75}, {At: 100, Score: 55}}},
	}
}

// newRules puts the configured curves in the place of the default ones.
func newRules(curves []config.Curve) map[vitals.Resource]*rule {
	rules := defaultRules()
	for _, c := range curves {
		if r := rules[vitals.Resource(c.Resource)]; r != nil && len(c.Points) > 0 {
			r.points = c.Points
		}
	}
	return rules
}

// subscore reads the curve through points at percent, a finite number: straight lines between the
// points, level beyond the ends. The result is 0–100 in tenths.
func subscore(points []config.Point, percent float64) float64 {
	i, exact := slices.BinarySearchFunc(points, percent, func(p config.Point, at float64) int {
		switch {
		case float64(p.At) < at:
			return -1
		case float64(p.At) > at:
			return 1
		}
		return 0
	})
	switch {
	case i == len(points):
		return float64(points[i-1].Score)
	case exact || i == 0:
		return float64(points[i].Score)
	}
	a, b := points[i-1], points[i]
	share := (percent - float64(a.At)) / float64(b.At-a.At)
	return tenths(float64(a.Score) + share*float64(b.Score-a.Score))
}

// tenths rounds to one decimal: a score is decided by the very number that is shown.
func tenths(v float64) float64 { return math.Round(v*10) / 10 }
