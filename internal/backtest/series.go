package backtest

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Metric is one column of a host's recording, on a 5-minute grid.
type Metric struct {
	Host, Name string
	// Values of the train part, then of the test part, which begins at Test.
	Values []float64
	Test   int
	// Threshold is the 99 % quantile of the train part.
	Threshold float64
}

// Family is the kind of recording, such as smd: what is before the dash of the host.
func (m *Metric) Family() string {
	family, _, _ := strings.Cut(m.Host, "-")
	return family
}

// ReadSeries reads the recordings of a folder, smd-*.csv.gz with a row a minute and asd-*.csv.gz with
// one every 5 minutes. A column that does not move in its train part is left out.
func ReadSeries(dir string) ([]Metric, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.csv.gz"))
	if err != nil {
		return nil, err
	}
	var out []Metric
	for _, f := range files {
		host := strings.TrimSuffix(filepath.Base(f), ".csv.gz")
		per := 1
		if strings.HasPrefix(host, "smd-") {
			per = 5
		}
		m, err := readHost(f, host, per)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		out = append(out, m...)
	}
	return out, nil
}

func readHost(name, host string, per int) ([]Metric, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		return nil, err
	}
	var out []Metric
	for c := 1; c < len(rows[0])-1; c++ {
		m := Metric{Host: host, Name: rows[0][c]}
		for _, part := range []string{"train", "test"} {
			sum, n := 0.0, 0
			for i, r := range rows[1:] {
				if r[0] != part {
					continue
				}
				v, err := strconv.ParseFloat(r[c], 64)
				if err != nil {
					return nil, fmt.Errorf("row %d: %w", i+2, err)
				}
				if sum, n = sum+v, n+1; n == per {
					m.Values = append(m.Values, sum/float64(per))
					sum, n = 0, 0
				}
			}
			if part == "train" {
				m.Test = len(m.Values)
			}
		}
		train := slices.Sorted(slices.Values(m.Values[:m.Test]))
		if train[0] == train[len(train)-1] {
			continue
		}
		m.Threshold = quantile(train, 0.99)
		out = append(out, m)
	}
	return out, nil
}

// quantile returns a quantile of sorted values, between neighbours on a line.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(math.Floor(at))
	if i+1 >= len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
