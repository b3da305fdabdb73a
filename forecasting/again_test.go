package forecasting

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newHourly(t testing.TB) *Breach {
	t.Helper()
	b, err := NewBreach(Options{Capacity: 1, Horizon: time.Hour, Step: five})
	require.NoError(t, err)
	return b
}

// daily is at the capacity from 7:30 to 7:45, on and on.
func daily(i int) float64 {
	if k := i % 288; k >= 90 && k < 93 {
		return 1.1
	}
	return 0.4 + wiggle(i)
}

func TestWhatComesEveryDay(t *testing.T) {
	b := newHourly(t)
	var before, elsewhere, alerts, wrong float64
	for i := range 12 * 288 {
		b.Update(start.Add(time.Duration(i)*five), daily(i))
		f := b.Forecast()
		if i < 5*288 {
			continue
		}
		switch k := i % 288; {
		case k >= 80 && k < 90:
			before += f.Probability
			if f.Alert {
				alerts++
			}
		case k >= 110 || k < 70:
			elsewhere += f.Probability
			if f.Alert {
				wrong++
			}
		}
	}
	require.Greater(t, before/(7*10), 0.4)
	require.Less(t, elsewhere/(7*248), 0.03)
	require.Greater(t, alerts, 0.9*7*10)
	require.Less(t, wrong, 0.02*7*248)
}

// What is kept of two weeks agrees with all values, after they were overwritten many times, too.
func TestWhenTheCapacityWasReached(t *testing.T) {
	b := newHourly(t)
	var at []bool
	for i := range 3 * kept {
		v := 0.5
		if i*i%1013 < 9 || i/700%7 == 3 {
			v = 1
		}
		at = append(at, v >= 1)
		b.close(v)
		if i%331 != 0 {
			continue
		}
		n := b.seen
		for _, length := range []int64{1, 12, 63, 64, 65, 700, min(n, lookBack)} {
			from := max(0, n-length)
			want := 0
			for _, x := range at[from:n] {
				if x {
					want++
				}
			}
			require.Equal(t, want, b.again.count(from, n), "%d steps at step %d", length, n)
		}
		calm := int64(0)
		for calm < min(n, lookBack) && !at[n-1-calm] {
			calm++
		}
		require.Equal(t, calm, b.again.calm(n-1, lookBack), "step %d", n)
	}
}

func TestCountsDays(t *testing.T) {
	b := newHourly(t)
	feed(b, 10*288+85, daily)
	c := *b
	c.closeOpen()
	require.Equal(t, week, c.again.days(c.seen-1, 288, 12, lookBack))
	require.InDelta(t, 1, c.again.periods(c.seen, 12, 288, 14, 1, 0), 0)
	require.Zero(t, c.again.days(c.seen-50, 288, 12, lookBack-50))
	require.InDelta(t, -1, c.again.periods(c.seen, 12, lookBack, 14, 1, 1), 0, "not that long ago")
}

func TestOnlyRecurrence(t *testing.T) {
	b := newHourly(t)
	feed(b, 600, wiggle)
	names := FeatureNames()
	before := b.Features(nil)
	feed(b, 900, daily)
	after := b.Features(nil)
	moved := 0
	for i := range names {
		require.NotEmpty(t, names[i])
		if !OnlyRecurrence(i) {
			continue
		}
		require.Zero(t, before[i], "%s of a series that was never at its capacity", names[i])
		if after[i] != 0 {
			moved++
		}
	}
	require.Greater(t, moved, 30)
	for _, m := range []*Model{&models.Exhaustion, &models.Leak, &models.Time, &models.Doubt} {
		for _, tree := range m.Trees {
			for k, f := range tree.Feature {
				require.False(t, OnlyRecurrence(int(f)) && tree.At[k] < largest, names[f])
			}
		}
	}
}

// Days that are shorter than a step or a horizon, and longer than what is kept.
func TestDaysOfAnyLength(t *testing.T) {
	for _, step := range []time.Duration{time.Second, time.Minute, time.Hour, 5 * time.Hour, 40 * time.Hour} {
		b, err := NewBreach(Options{Capacity: 1, Horizon: 12 * step, Step: step})
		require.NoError(t, err)
		for i := range 1500 {
			v := 0.5 + wiggle(i)
			if i%100 < 3 {
				v = 1
			}
			b.Update(start.Add(time.Duration(i)*step), v)
			if i%37 == 0 {
				requireSane(t, b.Forecast())
			}
		}
	}
}
