package forecasting

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// nile is the annual flow of the Nile at Aswan in 10⁸ m³, 1871 to 1970 (Cobb, The problem of the Nile, Biometrika
// 65, 1978), the running example of Durbin and Koopman, chapter 2.
var nile = [...]float64{
	1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140,
	1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701, 916, 692, 1020, 1050, 969,
	831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845, 864, 862, 698, 845, 744, 796, 1040, 759,
	781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649, 846, 812, 742, 801, 1040, 860, 874, 848, 890,
	744, 749, 838, 1050, 918, 986, 797, 923, 975, 815, 1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
}

// followNile runs the filter as a local level: without a slope, begun at the first value, with the variance of the
// level in units of the noise. It returns the sums of which likelihoods are made.
func followNile(wander, noise float64) (k localTrend, logs, squares float64) {
	k = localTrend{level: nile[0], varLevel: 1, noise: noise}
	for _, y := range nile[1:] {
		k.predict(wander, 0)
		off, variance := k.update(y, math.Inf(1))
		logs += math.Log(variance)
		squares += off * off
	}
	return k, logs, squares
}

// The log-likelihoods of the Nile's flow are those in Durbin and Koopman's table 2.1, with their two decimals, along their
// way to the maximum at q = 0.0973: the diffuse log-likelihood with the noise concentrated out (their section 2.10.2), without
// its constants.
func TestReferenceNileConcentrated(t *testing.T) {
	n := float64(len(nile))
	for _, row := range []struct{ q, logLikelihood float64 }{{1, -495.68}, {0.0360, -492.53}, {0.0973, -492.07}} {
		_, logs, squares := followNile(row.q, 1)
		noise := squares / (n - 1)
		got := -(n-1)/2*math.Log(noise) - logs/2
		require.InDelta(t, row.logLikelihood, got, 0.006, "q = %v", row.q)
		if row.q == 0.0973 {
			require.InEpsilon(t, 15099, noise, 0.001, "their estimate of the variance of the noise")
		}
	}
}

// With their estimates 15099 and 1469.1 the exact diffuse log-likelihood is the -632.5456 that the package KFAS for R
// gives (described by Helske, J. Stat. Softw. 78, 2017); the variance of the level ends at the steady state of their
// section 2.11, in closed form, and the level is the weighted mean of all flows, by the closed form of the weights.
func TestReferenceNile(t *testing.T) {
	const noise, q = 15099.0, 1469.1 / 15099
	k, logs, squares := followNile(q, noise)
	require.InDelta(t, -632.5456, -float64(len(nile)-1)/2*math.Log(2*math.Pi)-(logs+squares)/2, 1e-3)

	steady := (q + math.Sqrt(q*q+4*q)) / 2 // of the predicted level
	require.InEpsilon(t, steady/(steady+1), k.varLevel, 1e-9)

	gain := steady / (steady + 1)
	weighted, total, w := 0.0, 0.0, gain
	for i := len(nile) - 1; i >= 0; i-- {
		weighted, total = weighted+w*nile[i], total+w
		w *= 1 - gain
	}
	require.InDelta(t, weighted/total, k.level, 0.05)
}

// Missing values let the variance of the level grow by that of its steps, and change nothing else (Durbin and
// Koopman, section 2.7).
func TestReferenceMissing(t *testing.T) {
	k, _, _ := followNile(0.0973, 15099)
	before := k
	for range 20 {
		k.predict(0.0973, 0)
	}
	require.InDelta(t, before.level, k.level, 0)
	require.InEpsilon(t, before.varLevel+20*0.0973, k.varLevel, 1e-12)
}

// Without wandering, and from a vague beginning, level and slope are least squares' and their variances the
// textbook's: 12/(n³-n) for the slope and (4n-2)/(n²+n) for the end, in units of the noise.
func TestReferenceTrendIsLeastSquares(t *testing.T) {
	x, y := make([]float64, len(nile)), nile[:]
	k := localTrend{level: nile[0], varLevel: 1, varSlope: 1e9, noise: 1}
	for i, v := range nile {
		x[i] = float64(i)
		if i > 0 {
			k.predict(0, 0)
			k.update(v, math.Inf(1))
		}
	}
	n := float64(len(nile))
	intercept, slope, _ := regress(x, y)
	require.InEpsilon(t, slope, k.slope, 1e-5)
	require.InEpsilon(t, intercept+slope*(n-1), k.level, 1e-6)
	require.InEpsilon(t, 12/(n*n*n-n), k.varSlope, 1e-3)
	require.InEpsilon(t, (4*n-2)/(n*n+n), k.varLevel, 1e-3)
}

// An outlier, however large, moves the level by no more than an error of the bound does.
func TestOutlierIsBounded(t *testing.T) {
	k, _, _ := followNile(0.0973, 15099)
	k.predict(0.0973, 0)
	far, bound := k, k
	off, variance := far.update(1e9, 3)
	bound.update(k.level+3*math.Sqrt(variance), math.Inf(1))
	require.Greater(t, off, 1e6, "what is off is said in full")
	require.InEpsilon(t, bound.level, far.level, 1e-12)
}
