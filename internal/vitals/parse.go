package vitals

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// guard runs a reader of gopsutil, which panics where a line is cut short, and names the file.
func guard[T any](path string, read func() (T, error)) (v T, err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%s: cut short or not in the kernel's format", path)
		}
	}()
	v, err = read()
	var withPath *fs.PathError
	var number *strconv.NumError
	switch {
	case err == nil || errors.As(err, &withPath):
	case errors.As(err, &number):
		err = fmt.Errorf("%s: %q is no number", path, excerpt(number.Num))
	default:
		err = fmt.Errorf("%s: %w", path, err)
	}
	return v, err
}

// notThere says whether the kernel has no such thing, rather than that it could not be read.
// Pressure switched off at boot (psi=0) answers "not supported".
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EOPNOTSUPP)
}

// read reads a file with one of the parsers below, whose errors do not name it.
func read[T any](path string, parse func([]byte) (T, error)) (T, error) {
	var none T
	data, err := os.ReadFile(path)
	if err != nil {
		return none, err
	}
	v, err := parse(data)
	if err != nil {
		return none, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// parseCount reads a file of one whole number, at least 0.
func parseCount(data []byte) (uint64, error) {
	text := string(bytes.TrimSpace(data))
	if text == "" {
		return 0, errors.New("empty")
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", excerpt(text))
	}
	return n, nil
}

// unlimited is a limit that is none.
const unlimited = math.MaxUint64

// parseLimit reads a file of one whole number or "max".
func parseLimit(data []byte) (uint64, error) {
	if string(bytes.TrimSpace(data)) == "max" {
		return unlimited, nil
	}
	return parseCount(data)
}

// parseCPUMax reads cpu.max, "QUOTA PERIOD" in µs, and returns the cores that allows; +Inf for "max".
func parseCPUMax(data []byte) (float64, error) {
	fields := strings.Fields(string(data))
	if len(fields) == 0 {
		return 0, errors.New("empty")
	}
	if fields[0] == "max" {
		return math.Inf(1), nil
	}
	period := uint64(100_000) // the kernel's default
	quota, err := strconv.ParseUint(fields[0], 10, 64)
	if err == nil && len(fields) > 1 {
		period, err = strconv.ParseUint(fields[1], 10, 64)
	}
	if err != nil || quota == 0 || period == 0 || len(fields) > 2 {
		return 0, fmt.Errorf("%q is no quota with a period", excerpt(string(data)))
	}
	return float64(quota) / float64(period), nil
}

// parseCPUList counts the processors of a list such as "0-3,8".
func parseCPUList(data []byte) (int, error) {
	text := string(bytes.TrimSpace(data))
	if text == "" {
		return 0, errors.New("empty")
	}
	n := 0
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || last < first {
			return 0, fmt.Errorf("%q is no list of processors", excerpt(text))
		}
		n += int(last-first) + 1
	}
	return n, nil
}

// errNoLine says that a file lacks a key.
var errNoLine = errors.New("has no line")

// keyed returns a parser of the value of one key in a file of "KEY VALUE" lines.
func keyed(key string) func([]byte) (uint64, error) {
	return func(data []byte) (uint64, error) {
		for line := range bytes.Lines(data) {
			if value, ok := bytes.CutPrefix(line, []byte(key+" ")); ok {
				return parseCount(value)
			}
		}
		return 0, fmt.Errorf("%w %q", errNoLine, key)
	}
}

// excerpt shortens what was found in a file to what fits into a message.
func excerpt(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if r := []rune(text); len(r) > 40 {
		text = string(r[:40]) + "…"
	}
	return text
}
