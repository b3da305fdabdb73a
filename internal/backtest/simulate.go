package backtest

import (
	"math"
	"math/rand/v2"
)

// shape adds to a background from its onset; n is how many steps after it.
type shape struct {
	kind  string
	leaks bool
	share float64 // how often it is drawn
	make  func(r *rand.Rand, room float64) func(n float64) float64
}

func uniform(r *rand.Rand, a, b float64) float64 { return a + (b-a)*r.Float64() }

func logUniform(r *rand.Rand, a, b float64) float64 { return a * math.Exp(r.Float64()*math.Log(b/a)) }

// life draws how many steps a leak takes to fill the room: about a quarter of a day, a day, three days, or any.
func life(r *rand.Rand) float64 {
	if r.IntN(2) == 0 {
		return logUniform(r, 24, 1300)
	}
	return [...]float64{72, 288, 864}[r.IntN(3)] * uniform(r, 0.75, 1.3)
}

// height draws which share of the room a healthy rise takes: mostly a usual one, sometimes any up to a limit.
func height(r *rand.Rand, limit float64) float64 {
	if r.IntN(3) > 0 {
		return uniform(r, 0.3, 0.65)
	}
	return uniform(r, 0.15, limit)
}

func shapes() []shape {
	return []shape{
		{"linear", true, 1, func(r *rand.Rand, room float64) func(float64) float64 {
			s := room / life(r)
			return func(n float64) float64 { return s * n }
		}},
		{"steps", true, 1, func(r *rand.Rand, room float64) func(float64) float64 {
			l := life(r)
			every := l / uniform(r, 7, 20)
			return func(n float64) float64 { return room * math.Floor(n/every) * every / l }
		}},
		{"sawfloor", true, 1, func(r *rand.Rand, room float64) func(float64) float64 {
			l, tooth := life(r), uniform(r, 0.04, 0.3)
			every := l / uniform(r, 4, 16)
			return func(n float64) float64 {
				return room * ((1-tooth)*n/l + tooth*math.Mod(n, every)/every)
			}
		}},
		{"accelerating", true, 0.3, func(r *rand.Rand, room float64) func(float64) float64 {
			l, p := life(r)*1.5, uniform(r, 1.3, 4)
			return func(n float64) float64 { return room * math.Pow(n/l, p) }
		}},
		{"exponential", true, 0.3, func(r *rand.Rand, room float64) func(float64) float64 {
			l, k := life(r)*1.5, uniform(r, 1, 5)
			return func(n float64) float64 { return room * math.Expm1(k*n/l) / math.Expm1(k) }
		}},
		{"slowing leak", true, 0.2, func(r *rand.Rand, room float64) func(float64) float64 {
			l, p := life(r), uniform(r, 0.5, 0.9)
			return func(n float64) float64 { return room * math.Pow(n/l, p) }
		}},
		{"two speeds", true, 0.3, func(r *rand.Rand, room float64) func(float64) float64 {
			l, at, k := life(r), uniform(r, 0.2, 0.7), uniform(r, 2, 10)
			s := room / l / (at/k + 1 - at) // slow until at, then k times as fast
			return func(n float64) float64 { return s * (math.Min(n, at*l)/k + math.Max(0, n-at*l)) }
		}},
		{"by day", true, 0.3, func(r *rand.Rand, room float64) func(float64) float64 {
			s, phase, depth := room/life(r), uniform(r, 0, 2*math.Pi), uniform(r, 0.3, 1)
			return func(n float64) float64 {
				w := 2 * math.Pi / 288
				return s * (n - depth/w*(math.Sin(w*n+phase)-math.Sin(phase)))
			}
		}},
		{"none", false, 1.2, func(*rand.Rand, float64) func(float64) float64 {
			return func(float64) float64 { return 0 }
		}},
		{"step", false, 1, func(r *rand.Rand, room float64) func(float64) float64 {
			h := room * height(r, 0.92)
			return func(float64) float64 { return h }
		}},
		{"warmup", false, 1, func(r *rand.Rand, room float64) func(float64) float64 {
			h, tau := room*height(r, 0.92), logUniform(r, 8, 350)
			return func(n float64) float64 { return -h * math.Expm1(-n/tau) }
		}},
		{"sawtooth", false, 1, func(r *rand.Rand, room float64) func(float64) float64 {
			h, every, floor := room*height(r, 0.92), logUniform(r, 16, 200), uniform(r, 0, 0.5)
			if r.IntN(2) == 0 {
				floor = 0
			}
			return func(n float64) float64 {
				x := math.Mod(n, every) / every
				if n >= every {
					x = floor + (1-floor)*x
				}
				return h * x
			}
		}},
		{"few steps", false, 0.3, func(r *rand.Rand, room float64) func(float64) float64 {
			h, k, every := room*height(r, 0.85), 1+float64(r.IntN(4)), logUniform(r, 6, 150)
			return func(n float64) float64 { return h * math.Min(k, 1+math.Floor(n/every)) / k }
		}},
		{"ramp that ends", false, 0.3, func(r *rand.Rand, room float64) func(float64) float64 {
			h, l := room*height(r, 0.8), logUniform(r, 8, 500)
			return func(n float64) float64 { return h * math.Min(1, n/l) }
		}},
		{"hump", false, 0.3, func(r *rand.Rand, room float64) func(float64) float64 {
			h, l := room*height(r, 0.9), logUniform(r, 10, 300)
			return func(n float64) float64 { return h * math.Max(0, 1-math.Abs(n-l)/l) }
		}},
		{"daily", false, 0.3, func(r *rand.Rand, room float64) func(float64) float64 {
			h := room * height(r, 0.9)
			return func(n float64) float64 { return h * (1 - math.Cos(2*math.Pi*n/288)) / 2 }
		}},
	}
}

// Simulate makes series of known kinds on backgrounds. Every one has a capacity of 1. At a pace of 1 a leak takes
// 24 to 1,300 steps; what happens takes so many times as long as the pace says.
func Simulate(r *rand.Rand, backgrounds [][]float64, count int, pace float64) []Leak {
	all := shapes()
	total := 0.0
	for _, s := range all {
		total += s.share
	}
	var out []Leak
	for len(out) < count {
		pick, i := r.Float64()*total, 0
		for pick -= all[0].share; pick > 0; pick -= all[i].share {
			i++
		}
		if l, ok := grow(r, backgrounds[r.IntN(len(backgrounds))], all[i], pace); ok {
			out = append(out, l)
		}
	}
	return out
}

func grow(r *rand.Rand, background []float64, s shape, pace float64) (Leak, bool) {
	length := len(background)
	onset := 60 + r.IntN(740)
	scale, up := logUniform(r, 0.4, 1.8), uniform(r, 0.15, 0.6)
	shift := r.IntN(length / 3)
	v := make([]float64, length-shift)
	middle := 0.0
	for _, x := range background {
		middle += x / float64(length)
	}
	base := 0.0
	for i := range v {
		v[i] = math.Max(0, (background[i+shift]-middle)*scale+up)
		if i < onset {
			base += v[i] / float64(onset)
		}
	}
	if onset >= len(v)-80 || base > 0.8 {
		return Leak{}, false
	}
	l := Leak{Kind: s.kind, Onset: onset, Exhausted: -1, Values: v}
	high := 0.0
	for _, x := range v {
		high = math.Max(high, x)
	}
	room := 1 - base
	if !s.leaks && r.IntN(2) == 0 {
		room = 1 - math.Max(base, high-uniform(r, 0, 0.5)*(high-base))
	}
	f := s.make(r, room)
	for i := onset; i < len(v); i++ {
		v[i] += f(float64(i-onset) / pace)
		if v[i] >= 1 && l.Exhausted < 0 {
			l.Exhausted = i
			l.Values = v[:i+1]
			break
		}
	}
	for i := range v[:onset] {
		if v[i] >= 1 {
			return Leak{}, false
		}
	}
	return l, (l.Exhausted > 0) == s.leaks
}

// SyntheticBackground makes n steps of a healthy series without a model of its own: a mixture of noise,
// a slow walk that is drawn back, a daily wave, falls and spikes.
func SyntheticBackground(r *rand.Rand, n int) []float64 {
	level, noise := uniform(r, 0.08, 0.6), logUniform(r, 0.0003, 0.06)
	pull, walk := logUniform(r, 0.002, 0.3), logUniform(r, 0.0002, 0.02)
	day, phase := 0.0, uniform(r, 0, 2*math.Pi)
	if r.IntN(2) == 0 {
		day = logUniform(r, 0.005, 0.12)
	}
	dips, spikes := 0.0, 0.0
	if r.IntN(3) == 0 {
		dips = logUniform(r, 0.002, 0.03)
	}
	if r.IntN(3) == 0 {
		spikes = logUniform(r, 0.002, 0.03)
	}
	v := make([]float64, n)
	x, event, decay := 0.0, 0.0, 0.9
	for i := range v {
		x += walk*r.NormFloat64() - pull*x
		event *= decay
		if r.Float64() < dips {
			event, decay = -uniform(r, 0.05, 0.3), uniform(r, 0.5, 0.95)
		}
		if r.Float64() < spikes {
			event, decay = uniform(r, 0.05, 0.3), uniform(r, 0.3, 0.95)
		}
		v[i] = math.Max(0, level+x+event+noise*r.NormFloat64()+day*math.Sin(2*math.Pi*float64(i)/288+phase))
	}
	return v
}
