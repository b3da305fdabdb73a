package forecasting

import "math"

// What only the model of recurrence looks at. Levels are less the capacity and in units of the spread.
const (
	fCalm         feature = featuresOfGrowth + iota // octaves of horizons since the capacity was reached
	fCalmRest                                       // less those that the calm takes as a rule
	fCalmSpread                                     // how different calms are, in octaves
	fPastCalm                                       // how often the capacity was reached after such a calm
	fRateHalf                                       // how often it was reached within a horizon, half a day of late
	fRateDays                                       // three days
	fRateLong                                       // ten days
	fDays                                           // share of days on which it was reached at this time, the last ones count more
	fDaysAll                                        // each the same
	fDaysAround                                     // half a horizon before and after included
	fPastDays                                       // how often it was reached on so many of seven days and then again
	fWeeks                                          // steps at the capacity at this time a week and two weeks ago
	fAround                                         // share of steps at the capacity at about this time of the day
	fAroundMore                                     // closer to this time to further from it, in log-odds
	fCycle                                          // share of periods with it at this place; the best of 2 to 12 hours
	fShare                                          // share of all steps that are kept
	fOddsHour                                       // log-odds of three days and of the hour
	fOddsLevel                                      // and of the headroom
	fOddsCalm                                       // and of the calm
	fOddsNow                                        // log-odds of half a day and of the hour
	fOddsDays                                       // of three days, the headroom and the days
	fHours                                          // mean of the blocks' maxima of five days around this hour
	fHoursSpread                                    // their standard deviation
	fHoursCertain                                   // the one over the other
	fHoursMore                                      // maxima of the last three blocks, to that mean
	fHour                                           // the same of this hour alone
	fHourTop                                        //
	fHourSpread                                     //
	fSinceDay                                       // level less that of yesterday
	fLikeDay                                        // yesterday's next horizon moved to today's level
	fLikeDayNow                                     // moved to the newest value
	fMean72                                         // mean of so many steps
	fMean288                                        //
	fMean5                                          // median of five days
	fShift                                          // mean of a day less that of five days
	fExcess                                         // highest of five days over the way from the base to the capacity
	fRank                                           // share of the last day that is not lower than the newest value
	fNear25                                         // share of the last day within 25 % of the way to the capacity
	fNear50                                         //
	fMoves12                                        // standard deviation of so many steps
	fMoves36                                        //
	fLeap                                           // largest rise over three steps of the last 36, to the headroom
	fNewest                                         // newest value
	fChange12                                       // and its change over so many steps
	features_                                       // how many
)

// OnlyRecurrence says whether a feature is for the model of recurrence alone. It is 0 as long as the
// capacity was never reached.
func OnlyRecurrence(i int) bool { return i >= int(fCalm) && i <= int(fChange12) }

// day returns the steps of a day, at least one.
func (b *Breach) day() int64 { return max(1, int64(24*3600*1e9)/b.grid.step) }

// againFeatures writes what is known of the times at which the capacity was reached before.
func (b *Breach) againFeatures(v *view, f *[featureCount]float64) {
	if hits, _ := b.passage.overall(); hits == 0 {
		return
	}
	b.calms(v, f)
	b.days(f)
	b.odds(v, f)
	b.hours(v, f)
	b.likeYesterday(v, f)
	b.lately(v, f)
	b.levels(v, f)
}

func (b *Breach) calms(v *view, f *[featureCount]float64) {
	a := &b.again
	f[fCalm] = math.Log2(float64(a.calm(b.seen-1, lookBack)+1) / v.horizon)
	f[fCalmRest], f[fCalmSpread] = f[fCalm]-float64(a.typical), math.Sqrt(float64(a.uncertainty))
	g := gapSlot(a.calm(b.seen-1, lookBack), int64(b.horizon))
	f[fRateHalf], f[fRateDays], f[fRateLong] = float64(a.rates[0]), float64(a.rates[1]), float64(a.rates[2])
	f[fPastCalm] = rate(float64(a.gapHits[g]), float64(a.gapTries[g]), f[fRateLong])
}

func (b *Breach) days(f *[featureCount]float64) {
	a, n, h, day := &b.again, b.seen, int64(b.horizon), b.day()
	f[fDays] = a.periods(n, h, day, 14, 0.8, 0)
	f[fDaysAll] = a.periods(n, h, day, 14, 1, 0)
	f[fDaysAround] = a.periods(n, h, day, 14, 0.8, h/2)
	d := a.days(n-1, day, h, lookBack)
	f[fPastDays] = rate(float64(a.dayHits[d]), float64(a.dayTries[d]), f[fRateLong])
	past := float64(a.count(n-min(n, week*day, lookBack), n)) / float64(min(n, week*day, lookBack))
	f[fCycle] = -1
	for _, hours := range [...]int64{2, 3, 4, 6, 8, 12} {
		period := day * hours / 24
		if whole := float64(min(8, min(n, lookBack)/max(1, period))); period > 0 && whole >= 3 {
			f[fCycle] = math.Max(f[fCycle], (a.periods(n, h, period, 8, 1, 0)*whole+past)/(whole+1))
		}
	}
	f[fWeeks] = -1
	for k := int64(1); k <= 2 && week*k*day+h <= min(n, lookBack); k++ {
		from := n - week*k*day
		f[fWeeks] = math.Max(0, f[fWeeks]) + float64(a.count(from-h, min(n, from+2*h)))
	}
	f[fAround] = a.around(n, h, day, 24)
	f[fAroundMore] = odds(a.around(n, h, day, 3)) - odds(a.around(n, h, day, 72))
	f[fShare] = float64(a.count(n-min(n, lookBack), n)) / float64(min(n, lookBack))
}

// periods returns the share of the last periods, at most so many, in which the capacity was reached at the place
// of the next horizon; one period weighs keep times as much as the one after it. It is -1 for none.
func (a *again) periods(n, horizon, period int64, most int, keep float64, wide int64) float64 {
	var sum, all float64
	w := 1.0
	for k := int64(1); k <= int64(most) && k*period+wide <= min(n, lookBack); k++ {
		from := n - k*period
		if a.count(from-wide, min(n, from+horizon+wide)) > 0 {
			sum += w
		}
		all, w = all+w, w*keep
	}
	if all == 0 {
		return -1
	}
	return sum / all
}

// around returns the share of steps at the capacity at this time of past days, so many steps before and after.
func (a *again) around(n, horizon, day, wide int64) float64 {
	var sum, all float64
	w := 1.0
	for k := int64(1); k <= 14 && k*day+wide <= min(n, lookBack); k++ {
		from, to := n-k*day-wide, min(n, n-k*day+horizon+wide)
		sum, all, w = sum+w*float64(a.count(from, to)), all+w*float64(to-from), w*0.9
	}
	if all == 0 {
		return 0
	}
	return sum / all
}

// odds returns the log-odds of a rate, drawn in a little from nothing.
func odds(p float64) float64 {
	p = math.Max(0.0005, math.Min(0.9995, p+0.002))
	return math.Log(p / (1 - p))
}

// odds adds up what circumstances say, as if they were independent of each other (naive Bayes).
func (b *Breach) odds(v *view, f *[featureCount]float64) {
	hits, tries := b.passage.overall()
	past := rate(hits, tries, 0.01)
	d := b.capacity - v.level
	hour := odds(b.passage.byHour(b.hour(int64(b.horizon)/2), past)) - odds(past)
	level := odds(b.passage.byHeadroom(d, v.sd, past)) - odds(past)
	calm := odds(f[fPastCalm]) - odds(f[fRateLong])
	days := odds(f[fPastDays]) - odds(f[fRateLong])
	f[fOddsHour] = odds(f[fRateDays]) + hour
	f[fOddsLevel] = f[fOddsHour] + level
	f[fOddsCalm] = f[fOddsLevel] + calm
	f[fOddsNow] = odds(f[fRateHalf]) + hour
	f[fOddsDays] = odds(f[fRateDays]) + level + days
}
