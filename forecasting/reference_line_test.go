package forecasting

import (
	"math"
	"math/rand"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// norris is the data set Norris of the NIST Statistical Reference Datasets, pairs of y and x
// (https://www.itl.nist.gov/div898/strd/lls/data/Norris.shtml), a work of the United States government.
var norris = [...][2]float64{
	{0.1, 0.2}, {338.8, 337.4}, {118.1, 118.2}, {888.0, 884.6}, {9.2, 10.1}, {228.1, 226.5}, {668.5, 666.3}, {998.5, 996.3},
	{449.1, 448.6}, {778.9, 777.0}, {559.2, 558.2}, {0.3, 0.4}, {0.1, 0.6}, {778.1, 775.5}, {668.8, 666.9}, {339.3, 338.0},
	{448.9, 447.5}, {10.8, 11.6}, {557.7, 556.0}, {228.3, 228.1}, {998.0, 995.8}, {888.8, 887.6}, {119.6, 120.2}, {0.3, 0.3},
	{0.6, 0.3}, {557.6, 556.8}, {339.3, 339.1}, {888.0, 887.2}, {998.5, 999.0}, {778.9, 779.0}, {10.2, 11.1}, {117.6, 118.3},
	{228.9, 229.2}, {668.4, 669.1}, {449.2, 448.9}, {0.2, 0.5},
}

// The certified values of Norris.
const (
	norrisIntercept = -0.262323073774029
	norrisSlope     = 1.00211681802045
	norrisSlopeSD   = 0.429796848199937e-03
)

// regress is a line through points, by gonum, and the standard error of its slope, by the sums.
func regress(x, y []float64) (intercept, slope, slopeSD float64) {
	intercept, slope = stat.LinearRegression(x, y, nil, false)
	mean, sxx, residual := stat.Mean(x, nil), 0.0, 0.0
	for i := range x {
		sxx += (x[i] - mean) * (x[i] - mean)
		e := y[i] - intercept - slope*x[i]
		residual += e * e
	}
	return intercept, slope, math.Sqrt(residual / float64(len(x)-2) / sxx)
}

// The line of the turning points has NIST's certified slope; its points hold single precision, so 1e-6. What the other
// tests compare with has all of NIST's values to 1e-9.
func TestReferenceNorris(t *testing.T) {
	x, y := make([]float64, len(norris)), make([]float64, len(norris))
	turns := make([]turn, len(norris))
	for i, p := range norris {
		y[i], x[i] = p[0], p[1]
		turns[i] = turn{float32(p[0]), int32(math.Round(10 * p[1]))}
	}
	intercept, slope, sd := regress(x, y)
	require.InEpsilon(t, norrisIntercept, intercept, 1e-9)
	require.InEpsilon(t, norrisSlope, slope, 1e-9)
	require.InEpsilon(t, norrisSlopeSD, sd, 1e-9)
	require.InEpsilon(t, norrisSlope, 10*turnSlope(turns), 1e-6)
}

// series puts values into a Breach and returns them as it holds them.
func series(t *testing.T, n int, value func(i int) float64) (*Breach, []float64, []float64) {
	t.Helper()
	b := newBreach(t, 1)
	feed(b, n+1, value) // the last step stays open
	x, y := make([]float64, n), make([]float64, n)
	for i := range n {
		x[i], y[i] = float64(i), b.back(int64(n-1-i))
	}
	return b, x, y
}

// Slopes and their errors over evenly spaced steps are those that the line of TestReferenceNorris has, to 1e-9 where
// neighbouring residuals are not alike: then no step counts for less than one (Santer et al. 2000, equation 6, with r = 0).
func TestReferenceLines(t *testing.T) {
	// Residuals whose sign changes from step to step are not alike, whatever their size.
	source := rand.New(rand.NewSource(1))
	b, x, y := series(t, 288, func(i int) float64 {
		return 0.2 + 0.001*float64(i) + float64(1-2*(i%2))*(0.01+0.01*source.Float64())
	})
	lengths := []int64{12, 72, 288}
	var lines [3]line
	b.lines(lengths, lines[:])
	for k, n := range lengths {
		from := 288 - int(n)
		intercept, slope, sd := regress(x[from:], y[from:])
		require.InEpsilon(t, slope, lines[k].slope, 1e-9, "%d steps", n)
		require.InEpsilon(t, intercept+slope*287, lines[k].end, 1e-9, "%d steps", n)
		require.InEpsilon(t, slope/sd, lines[k].score, 1e-9, "%d steps", n)
	}
}

// Residuals that follow each other with the autocorrelation r leave n(1-r)/(1+r) independent ones (Santer et al. 2000,
// equation 6): the error of the slope is that of equations 4 and 5 with the residuals' own r at lag 1. It is within
// 2 %, as the fit takes r from Durbin and Watson's statistic, which has the ends of the window a half too little.
func TestReferenceEffectiveSampleSize(t *testing.T) {
	for seed := range int64(20) {
		source, u := rand.New(rand.NewSource(seed)), 0.0
		b, x, y := series(t, 288, func(i int) float64 {
			u = 0.7*u + 0.01*source.NormFloat64()
			return 0.1 + 0.0005*float64(i) + u
		})
		var lines [1]line
		b.lines([]int64{288}, lines[:])
		intercept, slope := stat.LinearRegression(x, y, nil, false)
		e := make([]float64, len(x))
		for i := range x {
			e[i] = y[i] - intercept - slope*x[i]
		}
		square, product := e[0]*e[0], 0.0
		for i := 1; i < len(e); i++ {
			square += e[i] * e[i]
			product += e[i] * e[i-1]
		}
		r := product / square
		n := float64(len(x))
		free := n*(1-r)/(1+r) - 2
		sd := math.Sqrt(square / free / (n * (n*n - 1) / 12))
		require.InEpsilon(t, slope/sd, lines[0].score, 0.02, "seed %d, r = %.2f", seed, r)
	}
}

// Medians, means and spreads are gonum's: the median exactly, the mean to single precision, and the variance, which takes each
// step's distance from the mean before it, to 5 %.
func TestReferenceMoments(t *testing.T) {
	source := rand.New(rand.NewSource(4))
	for n := 1; n < 50; n++ {
		values, reordered := make([]float64, n), make([]float32, n)
		for i := range values {
			reordered[i] = float32(source.Intn(20)) / 4
			values[i] = float64(reordered[i])
		}
		slices.Sort(values)
		require.InDelta(t, stat.Quantile(0.5, stat.Empirical, values, nil), quickMedian(reordered), 0, "%v", values)
	}
	b, _, y := series(t, 280, func(int) float64 { return 0.3 + 0.05*source.NormFloat64() })
	mean, variance := stat.MeanVariance(y, nil)
	require.InDelta(t, mean, b.spread.level, 1e-6)
	require.InEpsilon(t, variance, b.spread.variance, 0.05)
}

// Quantiles and tails of counted residuals are those of the sample itself, by gonum, to a bin; of the
// normal distribution those of Abramowitz and Stegun, table 26.1, to 1 %.
func TestReferenceResiduals(t *testing.T) {
	r := newResiduals()
	for z, p := range map[float64]float64{0: 0.5, 0.5: 0.3085375387, 1: 0.1586552539, 1.5: 0.0668072013, 2: 0.0227501319} {
		require.InEpsilon(t, p, r.beyond(z), 0.01, "Q(%v)", z)
		require.InDelta(t, z, r.score(z), 0.01)
	}
	source := rand.New(rand.NewSource(5))
	sample := make([]float64, slowSteps)
	for i := range sample {
		sample[i] = distuv.Gamma{Alpha: 2, Beta: 1}.Quantile(source.Float64()) - 2
		r.take(sample[i], math.Inf(1))
	}
	slices.Sort(sample)
	for _, p := range []float64{0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99} {
		want := stat.Quantile(p, stat.Empirical, sample, nil)
		require.InDelta(t, want, r.quantile(p), residualWidth, "quantile %v", p)
		require.InEpsilon(t, 1-stat.CDF(want, stat.Empirical, sample, nil), r.beyond(want), 0.2, "tail from %v", want)
	}
	// Beyond what was seen the tail of a Gamma variable is exponential: log-odds per unit of about -1.
	require.InDelta(t, -1, math.Log(r.beyond(10)/r.beyond(8))/2, 0.35)
}

// Autocorrelations of scores are Pearson's, by gonum, within 0.03; those of a process of first order with noise
// give back its two parameters.
func TestReferenceAutocorrelation(t *testing.T) {
	source, r := rand.New(rand.NewSource(6)), newResiduals()
	const share, keep = 0.6, 0.95
	u, series := 0.0, make([]float64, slowSteps)
	for i := range series {
		u = keep*u + math.Sqrt(share*(1-keep*keep))*source.NormFloat64()
		series[i] = u + math.Sqrt(1-share)*source.NormFloat64()
		r.take(series[i], math.Inf(1))
	}
	require.InDelta(t, stat.Correlation(series[1:], series[:len(series)-1], nil), r.near/r.square, 0.03)
	require.InDelta(t, stat.Correlation(series[farLag:], series[:len(series)-farLag], nil), r.far/r.square, 0.03)
	require.InDelta(t, share, r.share, 0.06)
	require.InDelta(t, keep, r.keep, 0.02)
}
