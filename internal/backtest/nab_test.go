package backtest

import (
	"errors"
	"io/fs"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// nabFolder finds the series of NAB above the package, or skips.
func nabFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		nab := filepath.Join(dir, "shared", "data", "nab")
		if _, err := os.Stat(filepath.Join(nab, "windows.json")); err == nil {
			return nab
		} else if !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Skip("no folder shared/data/nab above this package")
		}
		dir = up
	}
}

func loadNAB(t testing.TB) []NABSeries {
	t.Helper()
	series, err := LoadNAB(nabFolder(t))
	require.NoError(t, err)
	return series
}

// nabOf is a series of n rows without times.
func nabOf(n int, windows ...NABRange) NABSeries {
	return NABSeries{Name: "made/up", Values: make([]float64, n), Windows: windows}
}

// alarmed is n scores: 1 at the given rows, 0 elsewhere.
func alarmed(n int, rows ...int) []float64 {
	s := make([]float64, n)
	for _, r := range rows {
		s[r] = 1
	}
	return s
}

func sigma(x float64) float64 { return 2/(1+math.Exp(-x)) - 1 }

// 100 rows, of which 15 are not judged, and a window of 10 rows.
func TestNABOfOneSeries(t *testing.T) {
	window := NABRange{First: 40, Last: 49}
	for _, c := range []struct {
		name   string
		alarms []int
		raw    float64
		caught int
		wrong  int
	}{
		{"no alarm", nil, -1, 0, 0},
		{"first row", []int{40}, 1, 1, 0},
		{"sixth row, which is half of the width before the end", []int{45}, sigma(2.5) / sigma(5), 1, 0},
		{"last row, a tenth of the width before the end", []int{49}, sigma(0.5) / sigma(5), 1, 0},
		{"only the earliest alarm of a window counts", []int{45, 46, 49}, sigma(2.5) / sigma(5), 1, 0},
		{"before the first window", []int{39}, -1 - 0.11, 0, 1},
		{"just behind the window", []int{50}, -1 + 0.11*sigma(-5./9), 0, 1},
		{"a width behind", []int{58}, -1 + 0.11*sigma(-5), 0, 1},
		{"more than three widths behind", []int{78}, -1 - 0.11, 0, 1},
		{"false alarms add up", []int{40, 58, 90, 91}, 1 + 0.11*sigma(-5) - 0.22, 1, 3},
		{"the first rows are not judged", []int{0, 14}, -1, 0, 0},
		{"the first judged row", []int{15}, -1.11, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := ScoreNABAt([]NABSeries{nabOf(100, window)}, [][]float64{alarmed(100, c.alarms...)}, 0.5)
			require.NoError(t, err)
			require.InDelta(t, c.raw, r.Raw, 1e-12)
			require.InDelta(t, 50*(c.raw+1), r.Score, 1e-9)
			require.Equal(t, NABResult{r.Score, 0.5, r.Raw, 1, c.caught, c.wrong}, r)
		})
	}
}

func TestNABDoesNotJudgeMoreThan750RowsLess(t *testing.T) {
	series := []NABSeries{nabOf(20000, NABRange{5000, 5100})}
	for row, wrong := range map[int]int{749: 0, 750: 1} {
		r, err := ScoreNABAt(series, [][]float64{alarmed(20000, row)}, 0.5)
		require.NoError(t, err)
		require.Equal(t, wrong, r.FalseAlarms, row)
	}
}

// One threshold is chosen for all series: at 0.6 one window is caught with no false alarm, at 0.4 both with two.
func TestNABChoosesOneThreshold(t *testing.T) {
	series := []NABSeries{nabOf(100, NABRange{40, 49}), nabOf(100, NABRange{60, 69})}
	a, b := make([]float64, 100), make([]float64, 100)
	a[40], b[60] = 0.6, 0.4
	a[20], a[21] = 0.4, 0.5
	for i := 80; i < 100; i++ {
		b[i] = 0.3
	}
	r, err := ScoreNAB(series, [][]float64{a, b})
	require.NoError(t, err)
	require.InDelta(t, 0.4, r.Threshold, 0)
	require.InDelta(t, 2-0.22, r.Raw, 1e-12)
	require.InDelta(t, 100*(4-0.22)/4, r.Score, 1e-9)
	require.Equal(t, 2, r.Caught)
	require.Equal(t, 2, r.FalseAlarms)
}

func TestNABRefusesScoresOfAnotherLength(t *testing.T) {
	_, err := ScoreNAB([]NABSeries{nabOf(100)}, [][]float64{make([]float64, 99)})
	require.ErrorContains(t, err, "100 rows, but 99 scores")
	_, err = ScoreNABAt([]NABSeries{nabOf(100)}, nil, 0.5)
	require.ErrorContains(t, err, "1 series, but scores for 0")
}

// scoresOf runs a detector over all series.
func scoresOf(series []NABSeries, detector func(s NABSeries) []float64) [][]float64 {
	scores := make([][]float64, len(series))
	for i, s := range series {
		scores[i] = detector(s)
	}
	return scores
}

func TestNABOfKnownDetectors(t *testing.T) {
	series := loadNAB(t)
	require.Len(t, series, 35)
	windows := 0
	for _, s := range series {
		windows += len(s.Windows)
		require.Len(t, s.At, len(s.Values))
	}
	score := func(detector func(s NABSeries) []float64) NABResult {
		r, err := ScoreNAB(series, scoresOf(series, detector))
		require.NoError(t, err)
		require.Equal(t, windows, r.Windows)
		return r
	}
	t.Run("null", func(t *testing.T) {
		r := score(func(s NABSeries) []float64 { return make([]float64, len(s.Values)) })
		require.Zero(t, r.Score)
		require.Zero(t, r.FalseAlarms)
	})
	t.Run("perfect", func(t *testing.T) {
		r := score(func(s NABSeries) []float64 {
			scores := make([]float64, len(s.Values))
			for _, w := range s.Windows {
				scores[w.First] = 1
			}
			return scores
		})
		require.InDelta(t, 100, r.Score, 1e-9)
		require.Equal(t, windows, r.Caught)
	})
	t.Run("random", func(t *testing.T) {
		source := rand.New(rand.NewSource(1))
		r := score(func(s NABSeries) []float64 {
			scores := make([]float64, len(s.Values))
			for i := range scores {
				scores[i] = source.Float64()
			}
			return scores
		})
		t.Logf("random: %.1f (published for all 58 series: 11 to 17)", r.Score)
		require.InDelta(t, 14, r.Score, 10)
	})
	t.Run("windowed Gaussian", func(t *testing.T) {
		r := score(windowedGaussian)
		t.Logf("windowed Gaussian: %.1f (published for all 58 series: 39.6)", r.Score)
		require.InDelta(t, 39.6, r.Score, 12)
	})
}

// windowedGaussian is NAB's detector of that name: the tail of a normal distribution over the last 1,000 values.
func windowedGaussian(s NABSeries) []float64 {
	const size = 1000
	scores := make([]float64, len(s.Values))
	var sum, squares float64
	for i, v := range s.Values {
		n := float64(min(i, size))
		if n > 0 {
			mean := sum / n
			deviation := math.Sqrt(max(0, squares/n-mean*mean))
			if deviation == 0 {
				deviation = 1e-6
			}
			scores[i] = 1 - math.Erfc(math.Abs(v-mean)/deviation/math.Sqrt2)/2
		}
		sum, squares = sum+v, squares+v*v
		if i >= size {
			sum, squares = sum-s.Values[i-size], squares-s.Values[i-size]*s.Values[i-size]
		}
	}
	return scores
}
