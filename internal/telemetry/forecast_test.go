package telemetry

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// foreseen is a memory that will be full in an hour, beside what must not break the answer.
type foreseen struct{ more int }

func (foreseen) Heatmap() shivx.Heatmap {
	risk := func(name string, r shivx.Risk) shivx.Risk {
		r.Subsystem = name
		return r
	}
	return shivx.Heatmap{Risks: []shivx.Risk{
		risk("memory", shivx.Risk{Risk: 92, Reliability: shivx.Reliability{Outcomes: 12, ECE: 0.05}}),
		risk("disk", shivx.Risk{Missing: "too little was measured"}), risk("memory", shivx.Risk{Risk: 1}), risk("bad\xff", shivx.Risk{}),
	}}
}

func (f foreseen) Predictions() []shivx.Prediction {
	now := time.Unix(1_800_000_000, 0)
	p := func(name, series string) shivx.Prediction {
		return shivx.Prediction{SubsystemTarget: shivx.SubsystemTarget{Subsystem: name}, Series: series, At: now}
	}
	full, quiet, missing := p("memory", "a"), p("memory", `b{c="d"}`), p("disk", "e")
	full.Probability, full.Alert, full.BreachAt = 0.91, true, now.Add(time.Hour)
	missing.Missing = "too little was measured"
	all := []shivx.Prediction{full, quiet, missing, full, p("bad", "\xff")}
	for i := range f.more {
		all = append(all, p("many", fmt.Sprint(i)))
	}
	return all
}

func TestForecasts(t *testing.T) {
	tel := New()
	tel.Set(Sources{Forecast: foreseen{}, Mitigations: func() []Mitigations {
		return []Mitigations{{Subsystem: "memory", Outcome: shivx.OutcomePrevented, Count: 3}, {Subsystem: "memory", Outcome: shivx.OutcomeUseless, Count: 1}}
	}})
	require.NoError(t, testutil.GatherAndCompare(tel.Registry(), strings.NewReader(`
# HELP shivx_forecast_alert 1 while somebody should act on the forecast of a series.
# TYPE shivx_forecast_alert gauge
shivx_forecast_alert{series="a",subsystem="memory"} 1
shivx_forecast_alert{series="b{c=\"d\"}",subsystem="memory"} 0
shivx_forecast_alert{series="�",subsystem="bad"} 0
# HELP shivx_forecast_calibration_error_ratio Mean distance of probabilities from what came true; absent without outcomes.
# TYPE shivx_forecast_calibration_error_ratio gauge
shivx_forecast_calibration_error_ratio{subsystem="memory"} 0.05
# HELP shivx_forecast_probability_ratio Probability that a series reaches its capacity within the horizon.
# TYPE shivx_forecast_probability_ratio gauge
shivx_forecast_probability_ratio{series="a",subsystem="memory"} 0.91
shivx_forecast_probability_ratio{series="b{c=\"d\"}",subsystem="memory"} 0
shivx_forecast_probability_ratio{series="�",subsystem="bad"} 0
# HELP shivx_forecast_risk Risk of a subsystem, 0 to 100; absent while nothing is known.
# TYPE shivx_forecast_risk gauge
shivx_forecast_risk{subsystem="bad�"} 0
shivx_forecast_risk{subsystem="memory"} 92
# HELP shivx_forecast_seconds_to_breach Time until a series reaches its capacity; absent when it is on no way there.
# TYPE shivx_forecast_seconds_to_breach gauge
shivx_forecast_seconds_to_breach{series="a",subsystem="memory"} 3600
# HELP shivx_forecast_series Series that are forecast.
# TYPE shivx_forecast_series gauge
shivx_forecast_series 5
# HELP shivx_mitigations_total Mitigations that the ledger holds.
# TYPE shivx_mitigations_total counter
shivx_mitigations_total{outcome="no-effect",subsystem="memory"} 1
shivx_mitigations_total{outcome="prevented",subsystem="memory"} 3
`), "shivx_forecast_alert", "shivx_forecast_calibration_error_ratio", "shivx_forecast_probability_ratio", "shivx_forecast_risk",
		"shivx_forecast_seconds_to_breach", "shivx_forecast_series", "shivx_mitigations_total"))
	problems, err := testutil.GatherAndLint(tel.Registry())
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestForecastsOfManySeries(t *testing.T) {
	tel := New()
	tel.Set(Sources{Forecast: foreseen{more: 3 * maxForecasts}})
	n, err := testutil.GatherAndCount(tel.Registry(), "shivx_forecast_probability_ratio")
	require.NoError(t, err)
	require.Equal(t, maxForecasts, n)
}
