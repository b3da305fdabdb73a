package backtest

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
)

// Figure is a measure; NaN when there is nothing to measure, which JSON has as null.
type Figure float64

// MarshalJSON writes a number with four decimals, or null.
func (f Figure) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(math.Round(float64(f)*1e4) / 1e4)
}

// Score is how decisions of a forecaster compare with what came.
type Score struct {
	Decisions int `json:"decisions"`
	Positives int `json:"positives"`
	// Precision, Recall and F1 are of the alerts.
	Precision Figure `json:"precision"`
	Recall    Figure `json:"recall"`
	F1        Figure `json:"f1"`
	// AUPRC is the average precision over all thresholds on the probability.
	AUPRC Figure `json:"auprc"`
	// BrierSkill is 1 - Brier score / that of always forecasting the base rate.
	BrierSkill Figure `json:"brier_skill"`
	// CalibrationError is the mean |probability - frequency| over 15 bins of equal width, by decisions.
	CalibrationError Figure `json:"calibration_error"`
}

// decision is one judged outlook.
type decision struct {
	probability float32
	alert, came bool
}

// ScoreOf judges probabilities of what came or did not.
func ScoreOf(probabilities []float64, came []bool) Score {
	all := make([]decision, len(came))
	for i := range came {
		all[i] = decision{probability: float32(probabilities[i]), came: came[i]}
	}
	return score(all)
}

// score judges decisions, which it sorts.
func score(all []decision) Score {
	s := Score{Decisions: len(all)}
	alerts, hits := 0, 0
	for _, d := range all {
		if d.came {
			s.Positives++
		}
		if d.alert {
			alerts++
			if d.came {
				hits++
			}
		}
	}
	s.Precision, s.Recall = share(hits, alerts), share(hits, s.Positives)
	s.F1 = share(2*hits, alerts+s.Positives)
	s.AUPRC = averagePrecision(all, s.Positives)
	s.BrierSkill = brierSkill(all, s.Positives)
	s.CalibrationError = calibrationError(all)
	return s
}

func share(part, whole int) Figure { return Figure(float64(part) / float64(whole)) }

// averagePrecision is the sum of precisions at falling thresholds, weighed by the recall that each adds.
func averagePrecision(all []decision, positives int) Figure {
	if positives == 0 {
		return Figure(math.NaN())
	}
	slices.SortFunc(all, func(a, b decision) int { return cmp.Compare(b.probability, a.probability) })
	area, hits, before := 0.0, 0, 0
	for i, d := range all {
		if d.came {
			hits++
		}
		if i+1 < len(all) && all[i+1].probability == d.probability {
			continue // no threshold lies between equals
		}
		area += float64(hits-before) / float64(positives) * float64(hits) / float64(i+1)
		before = hits
	}
	return Figure(area)
}

func brierSkill(all []decision, positives int) Figure {
	sum := 0.0
	for _, d := range all {
		off := float64(d.probability)
		if d.came {
			off--
		}
		sum += off * off
	}
	n := float64(len(all))
	base := float64(positives) / n
	if base == 0 || base == 1 {
		return Figure(math.NaN())
	}
	return Figure(1 - sum/n/(base*(1-base)))
}

// calibrationError is the expected calibration error of Naeini et al. (2015).
func calibrationError(all []decision) Figure {
	const bins = 15
	var off [bins]float64 // sum of probabilities less those that came
	for _, d := range all {
		k := min(bins-1, int(float64(d.probability)*bins))
		off[k] += float64(d.probability)
		if d.came {
			off[k]--
		}
	}
	sum := 0.0
	for _, o := range off {
		sum += math.Abs(o)
	}
	return Figure(sum / float64(len(all)))
}

// median of values, which it sorts; NaN when there are none.
func median(values []float64) Figure {
	if len(values) == 0 {
		return Figure(math.NaN())
	}
	slices.Sort(values)
	return Figure(quantile(values, 0.5))
}
