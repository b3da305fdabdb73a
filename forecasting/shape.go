package forecasting

import "math"

// growth writes how far the series has come, and whether it ever came so far before.
func (b *Breach) growth(v *view, f *[featureCount]float64) {
	share := func(steps int64) float64 {
		low := v.level
		for i := int64(0); i < min(steps/block, b.whole()); i++ {
			low = math.Min(low, float64(b.mean[b.blockAt(i)]))
		}
		return (v.level - low) / (v.level - low + v.headroom)
	}
	f[fRise24], f[fRise72], f[fRise288], f[fRiseAll] = share(24), share(72), share(288), share(blocks*block)
	most := 0.0
	for k, at := range [...]feature{fPrecedent24, fPrecedent72, fPrecedent288} {
		w := reaches[k]
		largest := float64(b.precedent.largest[k])
		if w == 6 {
			most = largest
		}
		if b.whole() <= w {
			continue
		}
		g := v.level - float64(b.mean[b.blockAt(w-1)])
		f[at] = (g - largest) / (math.Abs(g-largest) + v.headroom)
	}
	f[fPrecedentMost] = most * v.horizon / 72 / v.headroom
}

// shape writes whether the last rise was made in jumps.
func (b *Breach) shape(v *view, f *[featureCount]float64) {
	n := min(72, b.held()-4)
	if n < 6 {
		return
	}
	var top [3]float64
	for i := range n {
		// Over three steps, so that a jump weighs more than noise that comes back.
		d := (b.back(i) + b.back(i+1) - b.back(i+2) - b.back(i+3)) / 2
		for k := range top {
			if d > top[k] {
				copy(top[k+1:], top[k:len(top)-1])
				top[k] = d
				break
			}
		}
	}
	rise := math.Max(v.level-b.back(n+3), 0) + 4*b.spread.noise + 1e-9*v.headroom
	f[fJump], f[fJumps] = top[0]/rise, (top[0]+top[1]+top[2])/rise
}

// sawtooth writes what the turning points say.
func (b *Breach) sawtooth(v *view, f *[featureCount]float64) {
	s := &b.swings
	f[fResets] = float64(s.resets)
	peaks, troughs := int(min(s.peaked, turns)), 0
	for troughs < turns && s.troughs[troughs].step > 0 {
		troughs++
	}
	if peaks == 0 {
		f[fSinceReset] = 20
		return
	}
	f[fSinceReset] = float64(int32(b.seen)-s.peaks[0].step) / v.horizon
	high := float64(s.peaks[0].value)
	for _, p := range s.peaks[1:peaks] {
		high = math.Max(high, float64(p.value))
	}
	f[fOverPeak] = (v.level - high) / v.headroom
	f[fPeakRate] = turnSlope(s.peaks[:peaks]) * v.horizon / v.headroom
	if troughs == 0 {
		return
	}
	f[fTroughRate] = turnSlope(s.troughs[:troughs]) * v.horizon / v.headroom
	tallest := 0.0
	for i := range min(peaks, troughs-1) {
		tallest = math.Max(tallest, float64(s.peaks[i].value-s.troughs[min(i+1, troughs-1)].value))
	}
	f[fTooth] = (float64(s.troughs[0].value) + tallest - b.capacity) / math.Max(b.capacity-v.base, v.headroom)
	if troughs > 1 {
		every := float64(s.troughs[0].step-s.troughs[troughs-1].step) / float64(troughs-1)
		f[fToothAge] = float64(int32(b.seen)-s.troughs[0].step) / math.Max(1, every)
	}
}

// turnSlope returns the slope per step of a line through turning points.
func turnSlope(t []turn) float64 {
	if len(t) < 2 {
		return 0
	}
	var n, sx, sy, sxx, sxy float64
	for _, p := range t {
		x, y := float64(p.step-t[0].step), float64(p.value)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	d := n*sxx - sx*sx
	if d <= 0 {
		return 0
	}
	return (n*sxy - sx*sy) / d
}

// recurrence writes how often the capacity was reached before, and in what circumstances.
func (b *Breach) recurrence(v *view, f *[featureCount]float64) {
	p := &b.passage
	d := b.capacity - v.level
	hits, tries := p.overall()
	past := rate(hits, tries, 0)
	f[fAbove], f[fPast] = float64(p.above), past
	f[fHeadroom] = d / v.sd
	f[fByHeadroom] = p.byHeadroom(d, v.sd, past)
	f[fByRise] = p.byRise(d, v.sd)
	f[fByHour] = p.byHour(b.hour(int64(b.horizon)/2), past)
	top := func(from, to int64) float64 {
		high := math.Inf(-1)
		for i := max(0, from); i < min(to, b.held()); i++ {
			high = math.Max(high, b.back(i))
		}
		if math.IsInf(high, -1) {
			return -8
		}
		return (high - b.capacity) / v.sd
	}
	day := int64(24*3600*1e9) / b.grid.step
	f[fYesterday], f[fPeakDay], f[fPeakHour] = -8, top(0, recent), top(0, 12)
	if day <= recent {
		f[fYesterday] = top(day-int64(b.horizon), day)
	}
}
