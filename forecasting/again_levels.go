package forecasting

import "math"

const unknown = -8 // in place of a level that was not seen

// moments sums values up.
type moments struct{ n, sum, squares, top float64 }

func (m *moments) add(x float64) {
	if m.n == 0 || x > m.top {
		m.top = x
	}
	m.n, m.sum, m.squares = m.n+1, m.sum+x, m.squares+x*x
}

func (m *moments) mean() float64 { return m.sum / m.n }

func (m *moments) sd() float64 {
	return math.Sqrt(math.Max(0, m.squares/m.n-m.mean()*m.mean()))
}

// hours writes how high the same hour was on the last five days.
func (b *Breach) hours(v *view, f *[featureCount]float64) {
	f[fHours], f[fHoursSpread], f[fHoursCertain], f[fHoursMore] = unknown, -1, unknown, 0
	f[fHour], f[fHourTop], f[fHourSpread] = unknown, unknown, -1
	high := func(i int64) float64 { return (float64(b.high[b.blockAt(i)]) - b.capacity) / v.sd }
	day := b.day() / block
	var around, at, late moments
	for k := int64(1); k <= 5; k++ {
		for i := max(0, k*day-3); i <= k*day+2 && i < b.whole(); i++ {
			around.add(math.Min(1, high(i)))
		}
		// The next horizon lies across two blocks.
		if i := k*day - 1; i >= 1 && i < b.whole() {
			at.add(math.Max(high(i), high(i-1)))
		}
	}
	for i := range min(3, b.whole()) {
		late.add(math.Min(1, high(i)))
	}
	if around.n > 0 {
		f[fHours], f[fHoursSpread] = around.mean(), around.sd()
		f[fHoursCertain] = around.mean() / (around.sd() + 0.05)
		f[fHoursMore] = late.mean() - around.mean()
	}
	if at.n > 0 {
		f[fHour], f[fHourTop], f[fHourSpread] = at.mean(), at.top, at.sd()
	}
}

// likeYesterday writes where the series gets if it goes on as it did a day ago.
func (b *Breach) likeYesterday(v *view, f *[featureCount]float64) {
	f[fSinceDay], f[fLikeDay], f[fLikeDayNow] = 0, unknown, unknown
	day, h := b.day(), int64(b.horizon)
	if day > b.held() || day < max(h, 6) {
		return
	}
	var more, top float64
	for i := range int64(6) {
		more += (b.back(i) - b.back(day-1-i)) / 6
	}
	top = math.Inf(-1)
	for i := day - h; i < day; i++ {
		top = math.Max(top, b.back(i))
	}
	f[fSinceDay] = more / v.sd
	f[fLikeDay] = (top + more - b.capacity) / v.sd
	f[fLikeDayNow] = (top - b.back(day-1) + b.back(0) - b.capacity) / v.sd
}

// lately writes how the newest value stands to the values of a day.
func (b *Breach) lately(v *view, f *[featureCount]float64) {
	x, held := b.back(0), b.held()
	way := math.Max(b.capacity-v.base, v.headroom)
	var m12, m36, m72, all moments
	var rank, near25, near50, leap float64
	for i := range held {
		y := b.back(i)
		d := y - x // near nothing: no loss of digits
		if all.add(d); i < 72 {
			m72.add(d)
		}
		if i < 36 {
			m36.add(d)
			if i+3 < held {
				leap = math.Max(leap, y-b.back(i+3))
			}
		}
		if i < 12 {
			m12.add(d)
		}
		if y >= x {
			rank++
		}
		if y >= b.capacity-0.25*way {
			near25++
		}
		if y >= b.capacity-0.5*way {
			near50++
		}
	}
	n := float64(held)
	f[fRank], f[fNear25], f[fNear50] = rank/n, near25/n, near50/n
	f[fMoves12], f[fMoves36] = m12.sd()/v.sd, m36.sd()/v.sd
	f[fLeap] = leap / math.Max(b.capacity-x, 0.05*v.sd)
	f[fNewest] = (x - b.capacity) / v.sd
	f[fChange12] = (x - b.back(min(12, held-1))) / v.sd
	f[fMean72], f[fMean288] = f[fNewest]+m72.mean()/v.sd, f[fNewest]+all.mean()/v.sd
}

// levels writes how the last day stands to the last five.
func (b *Breach) levels(v *view, f *[featureCount]float64) {
	f[fMean5] = (v.base - b.capacity) / v.sd
	n := b.whole()
	if n == 0 {
		return
	}
	var day, all moments
	high := math.Inf(-1)
	for i := range n {
		k := b.blockAt(i)
		d := float64(b.mean[k]) - v.base
		if all.add(d); i < 24 {
			day.add(d)
		}
		high = math.Max(high, float64(b.high[k]))
	}
	f[fShift] = (day.mean() - all.mean()) / v.sd
	f[fExcess] = (high - b.capacity) / math.Max(b.capacity-v.base, v.headroom)
}
