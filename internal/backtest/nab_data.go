package backtest

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shivx/shivx"
)

// NABSeries is one series of the Numenta Anomaly Benchmark.
type NABSeries struct {
	// Name is its file below the folder of the data; what is before the slash is its category.
	Name    string
	At      []time.Time
	Values  []float64
	Windows []NABRange
}

// Category is the kind of data of the series, such as realTweets.
func (s *NABSeries) Category() string {
	category, _, _ := strings.Cut(s.Name, "/")
	return category
}

// The layouts of times in NAB's series and in its windows.
const (
	nabTime       = "2006-01-02 15:04:05"
	nabWindowTime = "2006-01-02 15:04:05.000000"
)

// LoadNAB reads the series that windows.json in the folder names, by name. A series that is named there and has
// no file is an error: a score over half of the data is no score.
func LoadNAB(dir string) ([]NABSeries, error) {
	file := filepath.Join(dir, "windows.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, shivx.Hint(fmt.Errorf("read the windows of NAB: %w", err), "name the folder that holds windows.json and the series")
	}
	var windows map[string][][2]string
	if err := json.Unmarshal(raw, &windows); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	series := make([]NABSeries, 0, len(windows))
	for name, w := range windows {
		s, err := loadNABSeries(dir, name)
		if err != nil {
			return nil, err
		}
		if err := s.label(w); err != nil {
			return nil, fmt.Errorf("windows of %s in %s: %w", name, file, err)
		}
		series = append(series, s)
	}
	slices.SortFunc(series, func(a, b NABSeries) int { return strings.Compare(a.Name, b.Name) })
	return series, nil
}

func loadNABSeries(dir, name string) (NABSeries, error) {
	s := NABSeries{Name: name}
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return s, fmt.Errorf("read a series of NAB: %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = 2
	rows, err := r.ReadAll()
	if err != nil {
		return s, fmt.Errorf("read %s: %w", name, err)
	}
	for i, row := range rows[min(1, len(rows)):] {
		at, err1 := time.Parse(nabTime, row[0])
		v, err2 := strconv.ParseFloat(row[1], 64)
		if err := errors.Join(err1, err2); err != nil {
			return s, fmt.Errorf("read %s, row %d: %w", name, i+2, err)
		}
		s.At, s.Values = append(s.At, at), append(s.Values, v)
	}
	return s, nil
}

// label sets the windows from the times of their first and last rows.
func (s *NABSeries) label(windows [][2]string) error {
	for _, w := range windows {
		first, err1 := time.Parse(nabWindowTime, w[0])
		last, err2 := time.Parse(nabWindowTime, w[1])
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		r := NABRange{First: -1, Last: -1}
		// The series is searched from its start: its clock may go back (daylight saving).
		for i, at := range s.At {
			if r.First < 0 && at.Equal(first) {
				r.First = i
			}
			if r.First >= 0 && at.Equal(last) {
				r.Last = i
				break
			}
		}
		if r.Last < 0 {
			return fmt.Errorf("no rows at %s and %s", w[0], w[1])
		}
		s.Windows = append(s.Windows, r)
	}
	return nil
}
