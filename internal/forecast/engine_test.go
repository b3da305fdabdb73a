package forecast

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// TestLeakIsForeseen follows two file systems, one of which fills up: seen before, recorded once, the other left alone.
func TestLeakIsForeseen(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	h := s.engine.Heatmap()
	require.Equal(t, "nothing has been measured yet", h.Risks[0].Missing)
	grows, rests := leak(24*time.Hour, 0.3, 0.03, noise(1)), leak(1000*time.Hour, 0.6, 0, noise(2))
	measure := func(at time.Time) {
		s.memory.add(at, "used_ratio", map[string]string{"mountpoint": "/"}, grows(at))
		s.memory.add(at, "used_ratio", map[string]string{"mountpoint": "/var"}, rests(at))
	}
	require.False(t, s.run(begin.Add(3*time.Hour), measure, nil))
	require.Contains(t, s.engine.Heatmap().Risks[0].Missing, "of 48 steps seen")
	full := begin.Add(24*time.Hour + time.Duration(0.65/0.03*float64(time.Hour)))
	require.True(t, s.run(full, measure, func() bool { return s.engine.Heatmap().Risks[0].Alert }), "it is full and nobody was told")
	require.Greater(t, full.Sub(s.now), 2*time.Hour)

	p := s.prediction("disk")
	require.Equal(t, `used_ratio{mountpoint="/"}`, p.Series)
	require.Equal(t, shivx.SubsystemTarget{Subsystem: "disk", Host: "web-1"}, p.SubsystemTarget)
	require.WithinDuration(t, full, p.BreachAt, 3*time.Hour)
	require.True(t, p.Alert)
	require.Equal(t, s.now, p.Since)
	require.NotEmpty(t, p.Precursors)
	r := s.engine.Heatmap().Risks[0]
	require.Equal(t, shivx.ColorOf(r.Risk), r.Color)
	require.Greater(t, r.Risk, 50)
	require.Contains(t, r.Why, "95 %")
	all := s.engine.Predictions()
	require.Len(t, all, 2)
	require.Less(t, all[1].Probability, 0.05)

	s.run(full, measure, nil)
	records := s.records()
	require.Len(t, records, 1, "an alert that stays open is recorded once")
	require.Equal(t, "disk", records[0].Subsystem)
	require.Equal(t, shivx.SeverityWarning, records[0].Severity)
	require.Contains(t, records[0].Message, `mountpoint="/"`)
}
