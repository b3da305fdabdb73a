package forecasting

import "math"

// The two sides of a feature.
const (
	anomalyHigh = 0
	anomalyLow  = 1
)

// The features, in the order of anomalyTable.
const (
	featureValue = iota
	featureJump
	featureFlat
	featureMean4
	featureMean16
	featureMean64
	featureOff256
	featureShift256
	featureShift1000
	featureDrift1000
	featureRatio64
	featureRatio256
	featureRough8
	featureRough32
	featureRough128
	featureDay
	featureDay4
	featureDay16
	featureDay64
	featureWeek
	featureWeek4
	featureWeek16
	featureWeek64
	anomalyFeatureCount
)

const (
	// flatFrom and flatTo are from how many repetitions of a value on a flat line is one, and until how many
	// it is stranger with each.
	flatFrom = 8
	flatTo   = 100
	// spreadPoints is over how many points the spread about the long mean goes.
	spreadPoints = 1000
	// dayBins and weekBins cut the day into half hours and the week into hours. Their usual values go over
	// seven days and four weeks.
	dayBins   = 48
	weekBins  = 168
	daysBack  = 7
	weeksBack = 4
	// usualExact is up to what part of a value its distance to the usual one is rounding.
	usualExact = 1e-6
)

// anomalyFeatures computes the features of a series: means that forget at different rates, their differences,
// and what is left of the value when the usual one of the hour is taken away.
type anomalyFeatures struct {
	seen, equal int
	last        float64
	mean        [6]float64 // over 4, 16, 32, 64, 256 and 1,000 points
	logMean     [4]float64 // of the logarithm, over 4, 16, 64 and 256
	rough       [3]float64 // of the absolute change from point to point, over 8, 32 and 128
	spread      float64    // of the absolute distance to the mean over 1,000
	day         [3]float64 // of the distance to the usual value of the half hour, over 4, 16 and 64
	week        [3]float64 // of the same for the hour of the week

	dayUsual  [dayBins]float32
	weekUsual [weekBins]float32
	dayCount  [dayBins]uint8
	weekCount [weekBins]uint8
}

// update takes the value v at a time in seconds and sets x to the features.
func (f *anomalyFeatures) update(x *[anomalyFeatureCount]float64, seconds int64, v float64) {
	if f.seen == 0 {
		f.last = v
	}
	f.seen++
	f.levels(x, v)
	f.changes(x, v)
	f.seasons(x, seconds, v)
	f.last = v
}

// toward moves a mean over a number of points towards v. Until there are as many it is the plain mean.
func (f *anomalyFeatures) toward(mean *float64, v, points float64) {
	*mean += (v - *mean) / min(float64(f.seen), points)
}

func (f *anomalyFeatures) levels(x *[anomalyFeatureCount]float64, v float64) {
	long, longest := f.mean[4], f.mean[5]
	x[featureValue] = v
	x[featureOff256] = v - long
	spread := f.spread
	f.toward(&f.spread, math.Abs(v-longest), spreadPoints)
	for i, points := range [...]float64{4, 16, 32, 64, 256, 1000} {
		f.toward(&f.mean[i], v, points)
	}
	x[featureMean4] = f.mean[0]
	x[featureMean16] = f.mean[1]
	x[featureMean64] = f.mean[3]
	x[featureShift256] = f.mean[1] - long
	x[featureShift1000] = f.mean[3] - longest
	if spread > 0 {
		x[featureDrift1000] = (f.mean[2] - longest) / spread
	}
	log := math.Copysign(math.Log1p(math.Abs(v)), v)
	log64, log256 := f.logMean[2], f.logMean[3]
	for i, points := range [...]float64{4, 16, 64, 256} {
		f.toward(&f.logMean[i], log, points)
	}
	x[featureRatio64] = f.logMean[0] - log64
	x[featureRatio256] = f.logMean[1] - log256
}

func (f *anomalyFeatures) changes(x *[anomalyFeatureCount]float64, v float64) {
	change := v - f.last
	x[featureJump] = change
	for i, points := range [...]float64{8, 32, 128} {
		f.toward(&f.rough[i], math.Abs(change), points)
		x[featureRough8+i] = f.rough[i]
	}
	f.equal++
	if change != 0 {
		f.equal = 0
	}
	x[featureFlat] = float64(min(max(f.equal, flatFrom), flatTo))
}

func (f *anomalyFeatures) seasons(x *[anomalyFeatureCount]float64, seconds int64, v float64) {
	const day = 24 * 60 * 60
	// Times before 1970 count back from it. It began on a Thursday; what matters is that it stays the same.
	inWeek := ((seconds % (7 * day)) + 7*day) % (7 * day)
	i, j := inWeek%day*dayBins/day, inWeek*weekBins/(7*day)
	off := unusual(&f.dayUsual[i], &f.dayCount[i], v, daysBack)
	offWeek := unusual(&f.weekUsual[j], &f.weekCount[j], v, weeksBack)
	x[featureDay], x[featureWeek] = off, offWeek
	for k, points := range [...]float64{4, 16, 64} {
		f.toward(&f.day[k], off, points)
		f.toward(&f.week[k], offWeek, points)
		x[featureDay4+k], x[featureWeek4+k] = f.day[k], f.week[k]
	}
}

// unusual is the distance of v to the usual value, which it then moves towards v as a mean over a number of
// points; 0 where there is no usual value yet.
func unusual(usual *float32, count *uint8, v, points float64) float64 {
	off := v - float64(*usual)
	if *count == 0 || math.Abs(off) <= usualExact*math.Abs(v) {
		off = 0
	}
	if *count < math.MaxUint8 {
		*count++
	}
	*usual += float32((v - float64(*usual)) / min(float64(*count), points))
	return off
}
