package forecasting

import (
	"math"
	"time"
)

// How alarms follow each other. They were chosen on 35 series of the Numenta Anomaly Benchmark, where each of
// them stands in the middle of a plateau; internal/backtest/nab_anomaly_test.go has the figures.
const (
	// anomalyAlarm is the surprise, summed over the features, at which a score is 0.5.
	anomalyAlarm = 40
	// anomalyMargin is by how much a value must pass a peak to count as larger, in parts of the range of the
	// feature: a record by a hair is none.
	anomalyMargin = 0.03
	// anomalyWarmUp is how many points are only learnt from.
	anomalyWarmUp = 144
	// anomalyRest is for how many points after an alarm it takes a stronger surprise to alarm again;
	// anomalyAgain is how much stronger at first.
	anomalyRest  = 60
	anomalyAgain = 1.5
	// Each alarm makes the following ones weaker by anomalyHabit of the first: what alarms all the time tells
	// nothing. Of that, 1/anomalyForgive is forgiven with each point.
	anomalyHabit   = 0.05
	anomalyForgive = 4000
)

// AnomalyScore is how strange a point is, given the points before it.
type AnomalyScore struct {
	// Score is from 0 to 1; from 0.5 on it is an alarm. An anomaly gives one alarm as a rule, not one for each of its
	// points: while it lasts, only what is much stranger still scores again.
	Score float64
	// WarmUp is true while too few points are known to say anything; Score is 0 then.
	WarmUp bool
	// Reasons is what the score rests on, the strongest first; the rest has a Share of 0.
	Reasons [3]AnomalyReason
}

// AnomalyReason is one way in which a point is strange.
type AnomalyReason struct {
	Kind AnomalyKind
	// Feature is the strongest feature of the kind, and High says whether it is unusually high, else low.
	Feature string
	High    bool
	// Share is the part of the surprise that is of this kind, from 0 to 1.
	Share float64
}

// Anomaly scores each point of a series by how strange it is, learning as it goes. The zero value is not ready
// for use; see NewAnomaly.
//
// Simple features of the series (anomaly_features.go) each have a memory of their largest peaks and lowest
// troughs. The surprise of a feature is the logarithm of how rare its value is by rank among those
// (anomaly_extremes.go), which makes features and series of any scale comparable. Surprises are summed, as
// Fisher's method sums the logarithms of p-values: independent or not, features that agree weigh more
// than one that is extreme. An alarm is followed by a time of rest, and frequent alarms by habituation.
//
// An Anomaly needs 4 KiB at most and is not safe for concurrent use.
type Anomaly struct {
	features anomalyFeatures
	extremes [2 * anomalyFeatureCount]anomalyExtremes

	// alarm is the surprise of the last alarm, since the points since then, habit the alarms not yet forgiven.
	alarm, habit float64
	since        int
}

// NewAnomaly returns a detector for one series of which nothing is known.
func NewAnomaly() *Anomaly {
	a := &Anomaly{since: anomalyRest}
	for i := range a.extremes {
		a.extremes[i].peak = float32(math.Inf(-1))
	}
	return a
}

// Update scores the value v, measured at a time, and learns from it. NaN and infinities are missing values:
// they score 0 and change nothing. Times serve for the hour and the weekday (in UTC) alone, so they may
// be irregular, repeat, or go back.
func (a *Anomaly) Update(at time.Time, v float64) AnomalyScore {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return AnomalyScore{WarmUp: a.features.seen < anomalyWarmUp}
	}
	v = max(-largest, min(largest, v)) // larger ones are not told from each other
	var x [anomalyFeatureCount]float64
	a.features.update(&x, at.Unix(), v)
	var surprises [2 * anomalyFeatureCount]float64
	sum := a.surprise(&x, &surprises)
	a.age()
	if a.features.seen <= anomalyWarmUp {
		return AnomalyScore{WarmUp: true}
	}
	strength := a.rest(sum)
	if strength <= 0 {
		return AnomalyScore{}
	}
	return AnomalyScore{Score: 1 - math.Exp2(-strength/anomalyAlarm), Reasons: anomalyReasons(&surprises)}
}

// surprise sums the surprises of all features, high and low, and remembers their values.
func (a *Anomaly) surprise(x *[anomalyFeatureCount]float64, surprises *[2 * anomalyFeatureCount]float64) float64 {
	points := float64(min(a.features.seen, anomalyMemory))
	sum := 0.0
	for i, v := range x {
		margin := anomalyMargin * (a.extremes[2*i].top[0] + a.extremes[2*i+1].top[0])
		for side := range 2 {
			e := &a.extremes[2*i+side]
			f := float32(v)
			if side == anomalyLow {
				f = -f
			}
			if s := anomalyTable[i].weight * e.surprise(f-margin, points); s > 0 {
				surprises[2*i+side] = s
				sum += s
			}
			e.add(f)
		}
	}
	return sum
}

// age lets one extreme of one feature be forgotten, of each in turn, so that each loses one in the time in
// which one new one is to be expected.
func (a *Anomaly) age() {
	const every = anomalyMemory / anomalyPeaks / len(a.extremes)
	if seen := a.features.seen; seen > anomalyMemory && seen%every == 0 {
		turn := seen / every
		a.extremes[turn%len(a.extremes)].forget(turn / len(a.extremes))
	}
}

// rest takes from a surprise what the alarms before it make of it.
func (a *Anomaly) rest(surprise float64) float64 {
	a.habit -= a.habit / anomalyForgive
	strength := surprise / (1 + anomalyHabit*a.habit)
	resting := a.since < anomalyRest
	if resting {
		strength -= anomalyAgain * a.alarm * (1 - float64(a.since)/anomalyRest)
	}
	a.since = min(a.since+1, anomalyRest)
	if strength >= anomalyAlarm {
		if surprise > a.alarm || !resting {
			a.alarm = surprise
		}
		a.since = 1
		a.habit++
	}
	return strength
}
