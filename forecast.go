package shivx

import (
	"fmt"
	"strings"
	"time"
)

// SubsystemTarget names one subsystem of one host, such as its memory.
type SubsystemTarget struct {
	// Subsystem is the name given in the configuration, such as "memory".
	Subsystem string `json:"subsystem"`
	// Host is the name of the agent that watches it.
	Host string `json:"host,omitempty"`
}

// String returns "subsystem@host", the form used in workflow ids.
func (t SubsystemTarget) String() string {
	if t.Host == "" {
		return t.Subsystem
	}
	return t.Subsystem + "@" + t.Host
}

// ParseSubsystemTarget reads "subsystem" or "subsystem@host".
func ParseSubsystemTarget(s string) (SubsystemTarget, error) {
	subsystem, host, found := strings.Cut(s, "@")
	if subsystem == "" || (found && host == "") || strings.ContainsAny(host, "@/") || strings.Contains(subsystem, "/") {
		return SubsystemTarget{}, Hint(fmt.Errorf("%q is no subsystem", s), "write SUBSYSTEM or SUBSYSTEM@HOST")
	}
	return SubsystemTarget{Subsystem: subsystem, Host: host}, nil
}

// ForecastModel is the kind of question asked of a series.
type ForecastModel string

// The models.
const (
	// ForecastExhaustion: does it fill up, as memory that leaks, a disk, open files, threads?
	ForecastExhaustion ForecastModel = "exhaustion"
	// ForecastSpike: does a load that comes and goes with the hours reach its capacity, as CPU?
	ForecastSpike ForecastModel = "spike"
	// ForecastDegradation: does a noisy figure of quality get worse, as errors or latency of a network?
	ForecastDegradation ForecastModel = "degradation"
)

// Prediction says of one series whether, and when, it reaches its capacity.
type Prediction struct {
	SubsystemTarget
	// Series is its name with its labels, or the query that gives it.
	Series string `json:"series"`
	// Component to which the series belongs; "": the host itself.
	Component string        `json:"component,omitempty"`
	Model     ForecastModel `json:"model"`
	// At is when it was made, in UTC.
	At time.Time `json:"at"`
	// Missing says why there is no prediction: too little was measured, or nothing of late; "" when there is one.
	Missing string `json:"missing,omitempty"`
	// Value is the present level without its noise, Capacity what must not be reached; both in the unit of the series.
	Value    float64 `json:"value"`
	Capacity float64 `json:"capacity"`
	// Horizon is how far ahead is looked.
	Horizon Duration `json:"horizon"`
	// Probability that the capacity is reached within the horizon, 0 to 1, calibrated by what came true on this host;
	// Raw is what the model said.
	Probability float64 `json:"probability"`
	Raw         float64 `json:"raw_probability"`
	// BreachAt is when it is reached if the series goes on as it does, within Low and High with a probability of 80 %.
	// Each is zero when it is on no way there.
	BreachAt time.Time `json:"breach_at,omitzero"`
	Low      time.Time `json:"low,omitzero"`
	High     time.Time `json:"high,omitzero"`
	// Alert says that somebody should act, Since when it says so.
	Alert bool      `json:"alert"`
	Since time.Time `json:"alert_since,omitzero"`
	// Anomaly is how strange the present is, 0 to 1; from 0.5 on it is an alarm.
	Anomaly float64 `json:"anomaly"`
	// Precursors are what the prediction rests on, the strongest first.
	Precursors []Precursor `json:"precursors,omitempty"`
}

// Precursor is one thing that announces a failure.
type Precursor struct {
	// Series in which it shows.
	Series string `json:"series"`
	// Feature names it, such as "slope_6h" or "anomaly: level".
	Feature string `json:"feature"`
	// Value of the feature, in its own unit.
	Value float64 `json:"value"`
	// Weight is what it adds, in log-odds.
	Weight float64 `json:"weight"`
}

// RiskColor is the colour of a risk.
type RiskColor string

// The colours.
const (
	RiskGreen  RiskColor = "green"  // 0 to 25
	RiskYellow RiskColor = "yellow" // 26 to 50
	RiskOrange RiskColor = "orange" // 51 to 75
	RiskRed    RiskColor = "red"    // 76 to 100
)

// ColorOf returns the colour of a risk from 0 to 100.
func ColorOf(risk int) RiskColor {
	switch {
	case risk <= 25:
		return RiskGreen
	case risk <= 50:
		return RiskYellow
	case risk <= 75:
		return RiskOrange
	default:
		return RiskRed
	}
}

// Risk is one cell of a heatmap: the worst prediction of a subsystem.
type Risk struct {
	SubsystemTarget
	// Risk from 0 to 100. A subsystem of which nothing is known has none: see Missing.
	Risk  int       `json:"risk"`
	Color RiskColor `json:"color,omitempty"`
	// Missing says why nothing is known; "" when something is.
	Missing string `json:"missing,omitempty"`
	// Series that is worst, and what is predicted for it.
	Series      string    `json:"series,omitempty"`
	Probability float64   `json:"probability"`
	Horizon     Duration  `json:"horizon"`
	BreachAt    time.Time `json:"breach_at,omitzero"`
	Low         time.Time `json:"low,omitzero"`
	High        time.Time `json:"high,omitzero"`
	Alert       bool      `json:"alert"`
	// Why is one line for people.
	Why string `json:"why,omitempty"`
	// Reliability is how the predictions of this subsystem came true so far.
	Reliability Reliability `json:"reliability"`
}

// Reliability is how predictions came true. What was acted upon does not count.
type Reliability struct {
	// Outcomes that count, and how many were left out since somebody acted on the prediction.
	Outcomes int `json:"outcomes"`
	LeftOut  int `json:"left_out"`
	// Brier is the mean squared error of the probability, Skill what is better than always saying the mean, ECE the
	// mean distance between what was said and what was seen. Meaningless without outcomes.
	Brier float64 `json:"brier"`
	Skill float64 `json:"skill"`
	ECE   float64 `json:"calibration_error"`
	// Bins group the outcomes by what was said; without any it is left out.
	Bins []ReliabilityBin `json:"bins,omitempty"`
}

// ReliabilityBin is the outcomes of which about the same was said.
type ReliabilityBin struct {
	// Count of outcomes, the mean of what was said, and the share that came true.
	Count int     `json:"count"`
	Said  float64 `json:"said"`
	Seen  float64 `json:"seen"`
}

// Heatmap is the risk of each subsystem of a host.
type Heatmap struct {
	Host string `json:"host"`
	// At is when it was made, in UTC.
	At    time.Time `json:"at"`
	Risks []Risk    `json:"risks"`
}

// FaultForecastInput is what a person or a schedule gives to FaultForecast.
type FaultForecastInput struct {
	// Host whose faults are forecast.
	Host string `json:"host"`
	// Plan starts no mitigation.
	Plan        bool   `json:"plan,omitempty"`
	Reason      string `json:"reason,omitempty"`
	RequestedBy string `json:"requested_by,omitempty"`
}

// FaultForecastResult is what a FaultForecast found and began.
type FaultForecastResult struct {
	Heatmap
	// Predictions of all series, or the hundred worst where there are more.
	Predictions []Prediction `json:"predictions"`
	// Mitigations are the workflow ids of those that were begun, or were under way.
	Mitigations []string `json:"mitigations,omitempty"`
	Message     string   `json:"message"`
}

// ForecastTrack is the past of a series and what is forecast for it, for a picture.
type ForecastTrack struct {
	Prediction Prediction `json:"prediction"`
	// Past is what was measured, one point for each step.
	Past []TrackPoint `json:"past"`
	// Ahead is the forecast: none where nothing is predicted.
	Ahead []TrackBand `json:"ahead,omitempty"`
}

// TrackPoint is one measured value.
type TrackPoint struct {
	At    time.Time `json:"at"`
	Value float64   `json:"value"`
}

// TrackBand is a forecast value; it lies between Low and High with a probability of 80 %.
type TrackBand struct {
	At    time.Time `json:"at"`
	Value float64   `json:"value"`
	Low   float64   `json:"low"`
	High  float64   `json:"high"`
}
