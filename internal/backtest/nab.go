package backtest

import (
	"fmt"
	"math"
	"slices"
)

// The standard profile of the Numenta Anomaly Benchmark: what a caught window, a false alarm and a missed
// window weigh. A true negative weighs 1 in the profile and enters no sum.
const (
	nabCaught     = 1.0
	nabFalseAlarm = 0.11
	nabMissed     = 1.0
)

// The first rows of a series are not judged: 15 % of them, at most 15 % of 5,000.
const (
	nabProbation    = 0.15
	nabProbationMax = 750
)

// nabFar is how many widths behind a window an alarm has nothing to do with it any more.
const nabFar = 3

// NABRange is an anomaly as NAB labels it: the rows First to Last, both included.
type NABRange struct {
	First, Last int
}

// NABResult is how a detector does on a set of series, by the rules of Lavin and Ahmad, "Evaluating Real-time
// Anomaly Detection Algorithms – the Numenta Anomaly Benchmark" (2015), and of NAB's sweeper.py.
type NABResult struct {
	// Score is 0 for a detector that never alarms and 100 for one that alarms once, at the start of each window.
	Score float64
	// Threshold is the anomaly score from which a row is an alarm.
	Threshold float64
	// Raw is the score before it is normalised.
	Raw float64
	// Windows, Caught and FalseAlarms count windows, windows with an alarm, and alarmed rows outside of windows.
	Windows, Caught, FalseAlarms int
}

// nabRow is one judged row: what it is worth if it is alarmed, and the window it lies in, or -1.
type nabRow struct {
	score, worth float64
	window       int
}

// ScoreNAB judges anomaly scores, one list for each series and one score for each of its rows. The threshold is
// the one that is best over all of the series, as NAB chooses it.
func ScoreNAB(series []NABSeries, scores [][]float64) (NABResult, error) {
	rows, windows, err := nabRows(series, scores)
	if err != nil {
		return NABResult{}, err
	}
	slices.SortFunc(rows, func(a, b nabRow) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	sweep := newNABSweep(windows)
	best := sweep.result(math.Inf(1))
	for i, r := range rows {
		sweep.alarm(r)
		if i+1 < len(rows) && rows[i+1].score == r.score {
			continue
		}
		if now := sweep.result(r.score); now.Raw > best.Raw {
			best = now
		}
	}
	return best, nil
}

// ScoreNABAt judges anomaly scores at a threshold that was chosen elsewhere.
func ScoreNABAt(series []NABSeries, scores [][]float64, threshold float64) (NABResult, error) {
	rows, windows, err := nabRows(series, scores)
	if err != nil {
		return NABResult{}, err
	}
	sweep := newNABSweep(windows)
	for _, r := range rows {
		if r.score >= threshold {
			sweep.alarm(r)
		}
	}
	return sweep.result(threshold), nil
}

// nabRows lists the judged rows of all series, and how many windows there are.
func nabRows(series []NABSeries, scores [][]float64) ([]nabRow, int, error) {
	if len(series) != len(scores) {
		return nil, 0, fmt.Errorf("score anomalies: %d series, but scores for %d", len(series), len(scores))
	}
	var rows []nabRow
	windows := 0
	for i, s := range series {
		if len(scores[i]) != len(s.Values) {
			return nil, 0, fmt.Errorf("score anomalies of %s: %d rows, but %d scores", s.Name, len(s.Values), len(scores[i]))
		}
		rows = s.judged(rows, scores[i], windows)
		windows += len(s.Windows)
	}
	return rows, windows, nil
}

// judged appends the judged rows of one series whose windows are counted from first.
func (s *NABSeries) judged(rows []nabRow, scores []float64, first int) []nabRow {
	probation := min(int(nabProbation*float64(len(scores))), nabProbationMax)
	next := 0
	for i, score := range scores {
		for next < len(s.Windows) && i > s.Windows[next].Last {
			next++
		}
		if i < probation {
			continue
		}
		r := nabRow{score: score, window: -1}
		switch {
		case next < len(s.Windows) && i >= s.Windows[next].First:
			r.window = first + next
			r.worth = nabCaught * s.Windows[next].early(i)
		case next == 0:
			r.worth = -nabFalseAlarm
		default:
			r.worth = nabFalseAlarm * s.Windows[next-1].late(i)
		}
		rows = append(rows, r)
	}
	return rows
}

// early is what an alarm at a row of the window is worth: 1 at its first row, towards 0 at its last.
func (w NABRange) early(row int) float64 {
	width := float64(w.Last - w.First + 1)
	return nabSigmoid(-float64(w.Last-row+1)/width) / nabSigmoid(-1)
}

// late is what an alarm at a row behind the window is worth: next to nothing just behind it, -1 far from it.
func (w NABRange) late(row int) float64 {
	if w.Last == w.First {
		return -1
	}
	return nabSigmoid(float64(row-w.Last) / float64(w.Last-w.First))
}

// nabSigmoid is NAB's scaled sigmoid of a place relative to a window, whose last row is 0 and whose first is -1.
func nabSigmoid(place float64) float64 {
	if place > nabFar {
		return -1
	}
	return 2/(1+math.Exp(5*place)) - 1
}

// nabSweep sums up what alarms are worth.
type nabSweep struct {
	// best is, by window, what the best of its alarms is worth.
	best        []float64
	sum         float64
	caught      int
	falseAlarms int
}

func newNABSweep(windows int) *nabSweep {
	s := &nabSweep{best: make([]float64, windows), sum: -nabMissed * float64(windows)}
	for i := range s.best {
		s.best[i] = -nabMissed
	}
	return s
}

func (s *nabSweep) alarm(r nabRow) {
	if r.window < 0 {
		s.falseAlarms++
		s.sum += r.worth
		return
	}
	if s.best[r.window] == -nabMissed {
		s.caught++
	}
	if r.worth > s.best[r.window] {
		s.sum += r.worth - s.best[r.window]
		s.best[r.window] = r.worth
	}
}

func (s *nabSweep) result(threshold float64) NABResult {
	n := float64(len(s.best))
	r := NABResult{Threshold: threshold, Raw: s.sum, Windows: len(s.best), Caught: s.caught, FalseAlarms: s.falseAlarms}
	if n > 0 {
		r.Score = 100 * (s.sum + nabMissed*n) / (nabCaught*n + nabMissed*n)
	}
	return r
}
