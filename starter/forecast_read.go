package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// rowByRow reads a series from a file, or from standard input when it is "-", and calls each with its rows, which prints.
// The heading is not printed with JSON.
func (a *app) rowByRow(ctx context.Context, path string, stdin io.Reader, heading string, each func(*bufio.Writer, measurement) error) (err error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return hint(usagef("there is no file %s", path), `name a CSV file, or "-" for standard input`)
		} else if err != nil {
			return withCode(exitUsage, fmt.Errorf("open the series: %w", err))
		}
		defer f.Close()
		in = f
	}
	in, stop := interruptible(ctx, in)
	defer stop()
	out := bufio.NewWriter(a.out.w)
	defer func() {
		if flushed := out.Flush(); err == nil {
			err = flushed
		}
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
			err = nil // whoever reads has seen enough
		}
	}()
	if !a.json() {
		if _, err := out.WriteString(heading); err != nil {
			return err
		}
	}
	return eachMeasurement(flushing{in, out}, func(m measurement) error { return each(out, m) })
}

// measurement is a row of a series, with its fields as they were written.
type measurement struct {
	at    time.Time
	value float64
	// stamp and text are the time and the value as they were written.
	stamp, text string
}

// eachMeasurement reads rows "timestamp,value" and calls f with each.
func eachMeasurement(in io.Reader, f func(measurement) error) error {
	r := csv.NewReader(in)
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	r.TrimLeadingSpace = true
	for first := true; ; first = false {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if bad, ok := errors.AsType[*csv.ParseError](err); ok {
			return hint(usagef("line %d is no CSV: %w", bad.Line, bad.Err), "write it as timestamp,value; a field with a quote in it is quoted whole")
		} else if err != nil {
			return fmt.Errorf("read the series: %w", err)
		}
		if first {
			row[0] = strings.TrimPrefix(row[0], "\ufeff")
		}
		m, err := parseMeasurement(row)
		if err != nil {
			if first && isHeading(row) {
				continue
			}
			line, _ := r.FieldPos(0)
			return withCode(exitUsage, fmt.Errorf("line %d: %w", line, err))
		}
		if err := f(m); err != nil {
			return err
		}
	}
}

// isHeading is whether a first row names columns: none of its fields has a digit to begin with.
func isHeading(row []string) bool {
	for _, f := range row {
		if f != "" && strings.ContainsAny(f[:1], "0123456789-+.") {
			return false
		}
	}
	return true
}

func parseMeasurement(row []string) (measurement, error) {
	var m measurement
	if len(row) != 2 {
		return m, hint(fmt.Errorf("it has %s, not 2", count(len(row), "field")), "give the columns timestamp and value alone, such as by: cut -d, -f1,2")
	}
	m.stamp, m.text = strings.TrimSpace(row[0]), strings.TrimSpace(row[1])
	var err error
	if m.at, err = parseStamp(m.stamp); err != nil {
		return m, err
	}
	if m.text == "" {
		m.value = math.NaN()
		return m, nil
	}
	if m.value, err = strconv.ParseFloat(m.text, 64); err != nil {
		return m, hint(fmt.Errorf("%q is no number", m.text), "write a number such as 0.93 with a point, or nothing for a missing value")
	}
	return m, nil
}

// parseStamp reads a time in one of the ways in which exporters write it.
func parseStamp(s string) (time.Time, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(n) < 1e15 {
		const milliseconds = 1e11 // in seconds, that is the year 5138
		if math.Abs(n) >= milliseconds {
			return time.UnixMilli(int64(n)).UTC(), nil
		}
		return time.Unix(int64(math.Floor(n)), 0).UTC(), nil
	}
	for _, layout := range []string{time.DateTime, time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return at, nil
		}
	}
	return time.Time{}, hint(fmt.Errorf("%q is no time", s), "write 2006-01-02T15:04:05Z, 2006-01-02 15:04:05, or seconds since 1970")
}
