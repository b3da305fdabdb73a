// Package backtest judges forecasts on labelled series by fixed protocols.
package backtest

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Leak is a series that may be exhausted.
type Leak struct {
	ID, Kind string
	// Onset is the step at which growth begins, Exhausted the step that reaches the capacity, or -1.
	Onset, Exhausted int
	Values           []float64
}

// End is the step at which it is exhausted or, of one that never is, how many steps it has.
func (l *Leak) End() int {
	if l.Exhausted >= 0 {
		return l.Exhausted
	}
	return len(l.Values)
}

// ReadLeaks reads a folder with index.csv (id, source, kind, onset, exhausted) and one ID.csv.gz each.
func ReadLeaks(dir string) ([]Leak, error) {
	f, err := os.Open(filepath.Join(dir, "index.csv"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	var out []Leak
	for _, r := range rows[1:] {
		l := Leak{ID: r[0], Kind: r[2]}
		if l.Onset, err = strconv.Atoi(r[3]); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		if l.Exhausted, err = strconv.Atoi(r[4]); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		if l.Values, err = readColumn(filepath.Join(dir, r[0]+".csv.gz")); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func readColumn(name string) ([]float64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var out []float64
	s := bufio.NewScanner(z)
	for line := 1; s.Scan(); line++ {
		if line == 1 {
			continue
		}
		_, text, _ := strings.Cut(s.Text(), ",")
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		out = append(out, v)
	}
	return out, s.Err()
}
