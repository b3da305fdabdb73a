package forecasting

// FeatureNames returns the names of the features, in the order of Features.
func FeatureNames() []string { return featureNames[:] }

var featureNames = [featureCount]string{
	fHorizon: "horizon", fWay: "way", fRate12: "rate-12", fRate36: "rate-36", fRate72: "rate-72", fRate144: "rate-144",
	fRate288: "rate-288", fScore36: "certainty-36", fScore72: "certainty-72", fScore144: "certainty-144",
	fScore288: "certainty-288", fFloorRate: "floor-72", fFloorLong: "floor-288", fCeilRate: "ceiling-72",
	fCeilLong: "ceiling-288", fRise24: "rise-24", fRise72: "rise-72", fRise288: "rise-288", fRiseAll: "rise-all",
	fPrecedent24: "unprecedented-24", fPrecedent72: "unprecedented-72", fPrecedent288: "unprecedented-288",
	fPrecedentMost: "largest-growth", fSlowing36: "bend-36", fSlowing72: "bend-72", fSlowing144: "bend-144",
	fJump: "jump", fJumps: "jumps", fNoise: "noise", fSpread: "spread", fResets: "resets", fOverPeak: "over-peak",
	fPeakRate: "peaks", fTroughRate: "troughs", fTooth: "tooth", fToothAge: "tooth-age", fSinceReset: "since-peak",
	fAbove: "above", fPast: "past", fHeadroom: "headroom", fByHeadroom: "past-headroom", fByRise: "past-rise",
	fByHour: "past-hour", fYesterday: "yesterday", fPeakDay: "top-day", fPeakHour: "top-hour", fReach36: "reach-36", fReach72: "reach-72", fReach144: "reach-144", fReach288: "reach-288", fReachBest: "reach",
	fSure36: "sure-36", fSure72: "sure-72", fSure144: "sure-144", fSure288: "sure-288", fSureBest: "sure",
	fStraight: "straight",
	fOnsetWay: "onset-way", fOnsetWayLong: "onset-way-long", fOnsetAge: "onset-age", fOnsetAgeLong: "onset-age-long",
	fOnsetReach: "onset-reach", fOnsetReachLong: "onset-reach-long", fOnsetSure: "onset-sure", fOnsetSureLong: "onset-sure-long",
	fOnsetFit: "onset-fit", fOnsetFitLong: "onset-fit-long", fQuarter: "first-quarter", fQuarterLong: "first-quarter-long",
	fHalf: "first-half", fHalfLong: "first-half-long", fLate: "three-quarters", fLateLong: "three-quarters-long",
	fFall: "fall", fFallLong: "fall-long", fStair: "stair", fStairLong: "stair-long", fStairs: "stairs", fStairsLong: "stairs-long",
	fIdle: "idle", fIdleLong: "idle-long", fEdgeWay: "edge-way", fEdgeReach: "edge-reach", fEdgeSure: "edge-sure",
	fRecord: "record", fRecordWay: "record-way", fExceeded: "exceeded", fTomorrow: "tomorrow",
	fRate576: "rate-576", fRate1152: "rate-1152", fScore576: "certainty-576", fScore1152: "certainty-1152",
	fTread: "tread", fDrops: "drops", fTails: "tails", fRougher: "rougher",
	fCalm: "calm", fCalmRest: "calm-rest", fCalmSpread: "calm-spread", fPastCalm: "past-calm", fRateHalf: "rate-half-day",
	fRateDays: "rate-3-days", fRateLong: "rate-10-days", fDays: "days", fDaysAll: "days-all", fDaysAround: "days-around",
	fPastDays: "past-days", fWeeks: "weeks", fAround: "around", fAroundMore: "around-more", fCycle: "cycle", fShare: "share",
	fOddsHour: "odds-hour", fOddsLevel: "odds-level", fOddsCalm: "odds-calm", fOddsNow: "odds-now", fOddsDays: "odds-days",
	fHours: "hours", fHoursSpread: "hours-spread", fHoursCertain: "hours-certain", fHoursMore: "hours-more",
	fHour: "hour", fHourTop: "hour-top", fHourSpread: "hour-spread", fSinceDay: "since-day", fLikeDay: "like-day",
	fLikeDayNow: "like-day-now", fMean72: "mean-72", fMean288: "mean-288", fMean5: "median-5-days", fShift: "shift",
	fExcess: "excess", fRank: "rank", fNear25: "near-25", fNear50: "near-50", fMoves12: "moves-12", fMoves36: "moves-36",
	fLeap: "leap", fNewest: "newest", fChange12: "change-12",
}

// Features appends what a model looks at, in the order of FeatureNames, all of it finite. It serves
// those who fit a model; at least one measurement must have been taken.
func (b *Breach) Features(dst []float64) []float64 {
	var f [featureCount]float64
	c := *b
	c.closeOpen()
	c.features(&f)
	return append(dst, f[:]...)
}

// closeOpen takes the open step as if it were over.
func (b *Breach) closeOpen() {
	b.close(b.grid.mean())
	b.grid.index++
}
