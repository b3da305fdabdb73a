// Package unit writes the values of a series in the unit that its name tells, as the conventions of Prometheus have it.
package unit

import (
	"math"
	"strconv"
	"strings"
)

// Unit is how the values of a series are written.
type Unit struct {
	// Base is that of the prefixes: 1024 for bytes, else 1000.
	Base float64
	// Factor by which values are multiplied: 100 for shares.
	Factor float64
	suffix string
	rate   bool
}

// Of reads the unit of a series from the end of its name. A name such as a/b is the share of a in its limit b. Of a
// query nothing is known, for it may make another unit of what it reads.
func Of(series string) Unit {
	name, _, _ := strings.Cut(strings.TrimSpace(series), "{")
	name, limit, share := strings.Cut(name, "/")
	if strings.ContainsAny(name+limit, " ([+-*/)]") {
		return Unit{Base: 1000, Factor: 1}
	}
	name, rate := strings.CutSuffix(name, "_total")
	u := Unit{Base: 1000, Factor: 1, rate: rate && !share}
	switch {
	case share, strings.HasSuffix(name, "_ratio"):
		u.Factor, u.suffix = 100, " %"
	case strings.HasSuffix(name, "_bytes"):
		u.Base, u.suffix = 1024, "B"
	case strings.HasSuffix(name, "_seconds"):
		u.suffix = "s"
	}
	return u
}

// Share says whether values are shares of a whole.
func (u Unit) Share() bool { return u.Factor == 100 }

// Known says whether a value can be written: not one that is not finite, nor one that no axis has numbers for.
func Known(v float64) bool { return math.Abs(v) <= 1e30 }

// Text writes a value with at most so many digits after the point; "?" when it is not known.
func (u Unit) Text(v float64, digits int) string {
	if v *= u.Factor; !Known(v) {
		return "?"
	}
	prefix, size := "", math.Abs(v)
	if !u.Share() {
		for _, p := range []string{"k", "M", "G", "T", "P", "E"} {
			if size < u.Base {
				break
			}
			v, size, prefix = v/u.Base, size/u.Base, p
		}
	}
	if prefix != "" && u.Base == 1024 {
		prefix = strings.ToUpper(prefix) + "i"
	}
	end := prefix + u.suffix
	if end != "" && !u.Share() {
		end = " " + end
	}
	if u.rate {
		end += "/s"
	}
	return digitsOf(v, digits) + end
}

func digitsOf(v float64, digits int) string {
	if size := math.Abs(v); size >= 1e6 || size != 0 && size < 1e-3 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// Step is the least round number that is no less than x: 1, 2 or 5 times a power of ten, of bytes a power of 2.
func (u Unit) Step(x float64) float64 {
	if u.Base == 1024 {
		return math.Pow(2, math.Ceil(math.Log2(x)))
	}
	ten := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if m*ten >= x*(1-1e-9) {
			return m * ten
		}
	}
	return 10 * ten
}
