package forecasting

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRisk(t *testing.T) {
	require.NoError(t, DefaultCosts.Check())
	// Each step of the scale is cut where the expected loss is as large as the cost of the response.
	for p, risk := range map[float64]int{
		0: 0, 1e-12: 1, 0.025: 13, 0.05: 25, 0.0501: 26, 0.2: 50, 0.2001: 51, 0.35: 63, 0.5: 75, 0.5001: 76, 0.75: 88, 0.999999: 100,
		1: 100, 2: 100, -1: 0, math.NaN(): 0, math.Inf(1): 100,
	} {
		require.Equal(t, risk, DefaultCosts.Risk(p), "p = %v", p)
	}
	before := 0
	for i := range 10001 {
		risk := DefaultCosts.Risk(float64(i) / 10000)
		require.GreaterOrEqual(t, risk, before)
		before = risk
	}
}

// The unit of the costs does not matter, and the colour changes at the cost for any.
func TestRiskOfOtherCosts(t *testing.T) {
	euros := Costs{Miss: 30000, Look: 10, Prepare: 700, Act: 7000}
	require.NoError(t, euros.Check())
	for _, c := range []struct {
		cost       float64
		here, then Color
	}{{10, Green, Yellow}, {700, Yellow, Orange}, {7000, Orange, Red}} {
		p := c.cost / 30000
		require.Equal(t, c.here, ColorOf(euros.Risk(p)))
		require.Equal(t, c.then, ColorOf(euros.Risk(p*1.0001)))
	}
}

func TestCostsCheck(t *testing.T) {
	for _, c := range []Costs{
		{}, {Miss: 1}, {Miss: 1, Look: 0.2, Prepare: 0.1, Act: 0.5}, {Miss: 1, Look: 0.1, Prepare: 0.2, Act: 1},
		{Miss: math.Inf(1), Look: 1, Prepare: 2, Act: 3}, {Miss: 1, Look: math.NaN(), Prepare: 0.2, Act: 0.5},
	} {
		require.Error(t, c.Check(), "%+v", c)
		require.Zero(t, c.Risk(0.5))
	}
}

func TestColors(t *testing.T) {
	for risk, name := range map[int]string{0: "green", 25: "green", 26: "yellow", 50: "yellow", 51: "orange", 75: "orange", 76: "red", 100: "red"} {
		require.Equal(t, name, ColorOf(risk).String())
	}
}

func FuzzRisk(f *testing.F) {
	f.Add(0.3, 1.0, 0.05, 0.2, 0.5)
	f.Fuzz(func(t *testing.T, p, miss, look, prepare, act float64) {
		c := Costs{Miss: miss, Look: look, Prepare: prepare, Act: act}
		risk := c.Risk(p)
		require.True(t, risk >= 0 && risk <= 100, "%d", risk)
		if c.Check() == nil && p >= 0 && p <= 1 {
			require.GreaterOrEqual(t, c.Risk(math.Min(1, p*1.01)), risk)
		}
	})
}
