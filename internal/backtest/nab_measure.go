package backtest

import (
	"context"
	"math"

	"github.com/shivx/shivx/forecasting"
)

// alarmScore is the anomaly score from which operators are told.
const alarmScore = 0.5

// AnomalyScore is what NAB says of a detector.
type AnomalyScore struct {
	Detector    string `json:"detector"`
	Score       Figure `json:"score"`
	Threshold   Figure `json:"threshold"`
	Windows     int    `json:"windows"`
	Caught      int    `json:"caught"`
	FalseAlarms int    `json:"false_alarms"`
}

// Anomalies judges the anomaly score of ShivX, at the threshold that is best over all series, as NAB does, and
// at the one that operators get.
func (j Judge) Anomalies(ctx context.Context, series []NABSeries) ([]AnomalyScore, error) {
	scores := make([][]float64, len(series))
	err := j.each(ctx, len(series), func(i int) error {
		detector := forecasting.NewAnomaly()
		for k, v := range series[i].Values {
			scores[i] = append(scores[i], detector.Update(series[i].At[k], v).Score)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	best, err := ScoreNAB(series, scores)
	if err != nil {
		return nil, err
	}
	fixed, err := ScoreNABAt(series, scores, alarmScore)
	if err != nil {
		return nil, err
	}
	return []AnomalyScore{anomalyScore("ShivX, best threshold", best), anomalyScore("ShivX, as alarmed", fixed)}, nil
}

func anomalyScore(name string, r NABResult) AnomalyScore {
	threshold := r.Threshold
	if math.IsInf(threshold, 0) {
		threshold = math.NaN() // best is not to alarm
	}
	return AnomalyScore{name, Figure(r.Score), Figure(threshold), r.Windows, r.Caught, r.FalseAlarms}
}
