package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shivx/shivx"
)

// Forecast tells which failures are foreseen.
type Forecast interface {
	Heatmap() shivx.Heatmap
	Predictions() []shivx.Prediction
}

// Mitigations counts the mitigations of a subsystem that ended in one way.
type Mitigations struct {
	Subsystem string
	Outcome   shivx.Outcome
	Count     int
}

var (
	forecastRisk        = desc("forecast_risk", "Risk of a subsystem, 0 to 100; absent while nothing is known.", "subsystem")
	forecastProbability = desc("forecast_probability_ratio", "Probability that a series reaches its capacity within the horizon.", "subsystem", "series")
	forecastBreach      = desc("forecast_seconds_to_breach", "Time until a series reaches its capacity; absent when it is on no way there.", "subsystem", "series")
	forecastAlert       = desc("forecast_alert", "1 while somebody should act on the forecast of a series.", "subsystem", "series")
	forecastOff         = desc("forecast_calibration_error_ratio", "Mean distance of probabilities from what came true; absent without outcomes.", "subsystem")
	forecastSeries      = desc("forecast_series", "Series that are forecast.")
	mitigationsEnded    = desc("mitigations_total", "Mitigations that the ledger holds.", "subsystem", "outcome")
)

func forecastDescs() []*prometheus.Desc {
	return []*prometheus.Desc{
		forecastRisk, forecastProbability, forecastBreach, forecastAlert, forecastOff, forecastSeries, mitigationsEnded,
	}
}

// maxForecasts is of how many series forecasts are shown: a label for each of ten thousand is no help.
// Those with an alert are shown all the same.
const maxForecasts = 1000

func collectForecast(ch chan<- prometheus.Metric, f Forecast) {
	seen := map[[2]string]bool{}
	fresh := func(subsystem, series string) bool {
		key := [2]string{valid(subsystem), valid(series)}
		known := seen[key]
		seen[key] = true
		return !known
	}
	for _, r := range f.Heatmap().Risks {
		if !fresh(r.Subsystem, "") {
			continue
		}
		if r.Missing == "" {
			gauge(ch, forecastRisk, float64(r.Risk), r.Subsystem)
		}
		if r.Reliability.Outcomes > 0 {
			gauge(ch, forecastOff, r.Reliability.ECE, r.Subsystem)
		}
	}
	predictions := f.Predictions()
	gauge(ch, forecastSeries, float64(len(predictions)))
	shown := 0
	for _, p := range predictions {
		if p.Missing != "" || shown >= maxForecasts && !p.Alert || !fresh(p.Subsystem, "series "+p.Series) {
			continue
		}
		shown++
		gauge(ch, forecastProbability, p.Probability, p.Subsystem, p.Series)
		gauge(ch, forecastAlert, one(p.Alert), p.Subsystem, p.Series)
		if !p.BreachAt.IsZero() {
			gauge(ch, forecastBreach, p.BreachAt.Sub(p.At).Seconds(), p.Subsystem, p.Series)
		}
	}
}

func collectMitigations(ch chan<- prometheus.Metric, all []Mitigations) {
	for _, m := range all {
		counter(ch, mitigationsEnded, float64(m.Count), m.Subsystem, string(m.Outcome))
	}
}
