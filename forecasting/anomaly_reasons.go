package forecasting

// AnomalyKind is a way in which a point is strange.
type AnomalyKind uint8

// The kinds of reasons.
const (
	// AnomalyLevel is a value, or a mean of some, that is far from where it was.
	AnomalyLevel AnomalyKind = iota
	// AnomalySpike is a jump from one point to the next.
	AnomalySpike
	// AnomalyTrend is a slow move away from the long mean.
	AnomalyTrend
	// AnomalyVariance is a series that is rougher, or smoother, than it was.
	AnomalyVariance
	// AnomalyFlat is one value repeated.
	AnomalyFlat
	// AnomalySeason is a value that is unusual for the hour of the day or of the week.
	AnomalySeason
	anomalyKinds
)

// String is the kind in words.
func (k AnomalyKind) String() string {
	switch k {
	case AnomalyLevel:
		return "level"
	case AnomalySpike:
		return "spike"
	case AnomalyTrend:
		return "trend"
	case AnomalyVariance:
		return "variance"
	case AnomalyFlat:
		return "flat line"
	case AnomalySeason:
		return "season"
	default:
		return "unknown"
	}
}

// anomalyTable says of each feature what it is. A flat line shows in one feature alone, as the others say that all
// is as it was; so its surprise weighs as much as that of several.
var anomalyTable = [anomalyFeatureCount]struct {
	kind   AnomalyKind
	weight float64
	name   string
}{
	featureValue:     {AnomalyLevel, 1, "value"},
	featureJump:      {AnomalySpike, 1, "change from the point before"},
	featureFlat:      {AnomalyFlat, 4, "points without a change"},
	featureMean4:     {AnomalyLevel, 1, "mean of 4 points"},
	featureMean16:    {AnomalyLevel, 1, "mean of 16 points"},
	featureMean64:    {AnomalyLevel, 1, "mean of 64 points"},
	featureOff256:    {AnomalyLevel, 1, "value less the mean of 256 points"},
	featureShift256:  {AnomalyLevel, 1, "mean of 16 points less that of 256"},
	featureShift1000: {AnomalyTrend, 1, "mean of 64 points less that of 1000"},
	featureDrift1000: {AnomalyTrend, 1, "mean of 32 points less that of 1000, in spreads"},
	featureRatio64:   {AnomalyLevel, 1, "ratio of the mean of 4 points to that of 64"},
	featureRatio256:  {AnomalyLevel, 1, "ratio of the mean of 16 points to that of 256"},
	featureRough8:    {AnomalyVariance, 1, "mean change over 8 points"},
	featureRough32:   {AnomalyVariance, 1, "mean change over 32 points"},
	featureRough128:  {AnomalyVariance, 1, "mean change over 128 points"},
	featureDay:       {AnomalySeason, 1, "value for the half hour of the day"},
	featureDay4:      {AnomalySeason, 1, "4 points for their half hours of the day"},
	featureDay16:     {AnomalySeason, 1, "16 points for their half hours of the day"},
	featureDay64:     {AnomalySeason, 1, "64 points for their half hours of the day"},
	featureWeek:      {AnomalySeason, 1, "value for the hour of the week"},
	featureWeek4:     {AnomalySeason, 1, "4 points for their hours of the week"},
	featureWeek16:    {AnomalySeason, 1, "16 points for their hours of the week"},
	featureWeek64:    {AnomalySeason, 1, "64 points for their hours of the week"},
}

// anomalyReasons lists the kinds with the most surprising features.
func anomalyReasons(surprises *[2 * anomalyFeatureCount]float64) [3]AnomalyReason {
	var kinds [anomalyKinds]AnomalyReason
	for i, s := range surprises {
		f := &anomalyTable[i/2]
		if k := &kinds[f.kind]; s > k.Share {
			*k = AnomalyReason{Kind: f.kind, Feature: f.name, High: i%2 == anomalyHigh, Share: s}
		}
	}
	sum := 0.0
	for _, k := range kinds {
		sum += k.Share
	}
	var reasons [3]AnomalyReason
	for _, k := range kinds {
		k.Share /= sum
		for i := range reasons {
			if k.Share > reasons[i].Share {
				reasons[i], k = k, reasons[i]
			}
		}
	}
	return reasons
}
