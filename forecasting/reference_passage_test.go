package forecasting

import (
	"math"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/integrate/quad"
	"gonum.org/v1/gonum/stat/distuv"
)

// The distribution of the first passage for mean 1 and shape 1 is that printed in the example of the inverse Gaussian
// distribution of Boost.Math (inverse_gaussian_example.cpp), to 1e-12.
func TestReferenceInverseGaussian(t *testing.T) {
	for time, p := range map[float64]float64{
		0.2: 0.063753567519976254, 0.4: 0.2706136704424541, 0.6: 0.44638391340412931, 0.8: 0.57472390962590925,
		1: 0.66810200122317065, 1.2: 0.73724578422952536, 1.6: 0.82953458108474554, 2: 0.88547542598600626,
	} {
		require.InDelta(t, p, reachedWithin(time, 1, 1, 1), 1e-12, "within %v", time)
	}
}

// The distribution is the integral of the density distance/√(2πσ²t³)·exp(-(distance-drift·t)²/(2σ²t)), by Gauss-Legendre
// quadrature, to 1e-9; towards the distance and away from it.
func TestReferenceFirstPassageByQuadrature(t *testing.T) {
	for _, c := range []struct{ time, distance, drift, variance float64 }{
		{1, 1, 1, 1}, {72, 1.3, 0.01, 0.004}, {72, 0.4, -0.002, 0.01}, {12, 2, 0.3, 0.05}, {500, 3, 0, 0.02}, {5, 1, -1, 2},
	} {
		density := func(t float64) float64 {
			return c.distance / math.Sqrt(2*math.Pi*c.variance*t*t*t) *
				math.Exp(-(c.distance-c.drift*t)*(c.distance-c.drift*t)/(2*c.variance*t))
		}
		want := 0.0
		const pieces = 64 // of equal ratio, as the density is steep near 0
		for i := range pieces {
			from := c.time * math.Pow(1e-6, 1-float64(i)/pieces)
			to := c.time * math.Pow(1e-6, 1-float64(i+1)/pieces)
			want += quad.Fixed(density, from, to, 20, quad.Legendre{}, 0)
		}
		require.InDelta(t, want, reachedWithin(c.time, c.distance, c.drift, c.variance), 1e-9, "%+v", c)
	}
}

// With a drift away the distance is ever reached with the probability exp(-2·|drift|·distance/variance) (Cox and Miller 1965).
func TestReferenceDefectivePassage(t *testing.T) {
	require.InEpsilon(t, math.Exp(-2*0.1*3/0.5), reachedWithin(1e6, 3, -0.1, 0.5), 1e-9)
	require.InDelta(t, 1, reachedWithin(10, -1, 0, 1), 0, "it is there")
	require.InDelta(t, 1, reachedWithin(10, 1, 1, 0), 0, "without doubt")
	require.InDelta(t, 0, reachedWithin(10, 1, 0.01, 0), 0)
	require.InDelta(t, 1, reachedWithin(100, 1, 1, 1e-4), 1e-12, "nothing overflows")
}

// The normal tail is that of Abramowitz and Stegun, table 26.2: -log₁₀ Q(x), to its five decimals.
func TestReferenceNormalTail(t *testing.T) {
	for x, want := range map[float64]float64{5: 6.54265, 10: 23.11805, 50: 544.96634, 100: 2173.87154, 500: 54289.90830} {
		require.InDelta(t, want, -logSurvival(x)/math.Ln10, 1e-5, "Q(%v)", x)
	}
	require.InDelta(t, logSurvival(30-1e-9), logSurvival(30+1e-9), 1e-6, "both ways agree")
}

// The points and weights are those that gonum computes for the weight exp(-x²), to 1e-12.
func TestReferenceHermite(t *testing.T) {
	var at, weight [len(hermite)]float64
	quad.Hermite{}.FixedLocations(at[:], weight[:], math.Inf(-1), math.Inf(1))
	for i, h := range hermite {
		require.InDelta(t, math.Sqrt2*at[i], h.at, 1e-12)
		require.InDelta(t, weight[i]/math.Sqrt(math.Pi), h.weight, 1e-12)
	}
}

// A chain has the mean, the variance and the autocorrelation that it should, exactly, and its outer row is a
// binomial distribution (Kopecky and Suen 2010).
func TestReferenceChain(t *testing.T) {
	for _, keep := range []float64{0, 0.5, 0.9, 0.995} {
		const share = 0.7
		c := newChain(share, keep)
		for i, row := range c.to {
			total, mean, square := 0.0, 0.0, 0.0
			for j, p := range row {
				total, mean, square = total+p, mean+p*c.states[j], square+p*c.states[j]*c.states[j]
			}
			require.InDelta(t, 1, total, 1e-12)
			require.InDelta(t, keep*c.states[i], mean, 1e-12)
			require.InDelta(t, share*(1-keep*keep), square-mean*mean, 1e-12)
		}
		binomial := distuv.Binomial{N: chainStates - 1, P: (1 + keep) / 2}
		for j, p := range c.to[chainStates-1] {
			require.InDelta(t, binomial.Prob(float64(j)), p, 1e-12)
		}
	}
}

// Without autocorrelation the probability of a first passage has the closed form 1-Φ(b)ⁿ; a hazard raised to a
// power gives 1-Φ(b)^(n·power).
func TestReferencePassageOfNoise(t *testing.T) {
	p := passageSteps{n: 24, hazard: 1}
	for k := range p.n {
		p.scores[k] = 2
	}
	c := newChain(0, 0)
	require.InDelta(t, 1-math.Pow(distuv.UnitNormal.CDF(2), 24), p.first(c, 0, 0), 1e-12)
	p.hazard = 0.3
	require.InDelta(t, 1-math.Pow(distuv.UnitNormal.CDF(2), 24*0.3), p.first(c, 0, 0), 1e-12)
}

// With it, the probability is what a simulation of the process counts, within 0.015 (three deviations of the
// count, and the states).
func TestReferencePassageBySimulation(t *testing.T) {
	const share, keep, steps, runs = 0.6, 0.95, 24, 20000
	source := rand.New(rand.NewSource(7))
	for _, from := range []float64{-0.5, 0, 0.8} {
		p := passageSteps{n: steps, hazard: 1}
		for k := range p.n {
			p.scores[k] = 2.5 - 0.04*float64(k) // a bound that comes nearer
		}
		hits, early := 0, 0
		for range runs {
			x := from
			for k := range steps {
				x = keep*x + math.Sqrt(share*(1-keep*keep))*source.NormFloat64()
				if x+math.Sqrt(1-share)*source.NormFloat64() > p.scores[k] {
					hits++
					if k < steps/2 {
						early++
					}
					break
				}
			}
		}
		got := p.first(newChain(share, keep), from, 0)
		require.InDelta(t, float64(hits)/runs, got, 0.015, "from %v", from)
		require.InDelta(t, float64(early)/runs, p.by[steps/2-1], 0.015, "from %v", from)
	}
}
