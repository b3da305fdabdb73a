package config

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// shaped says whether n is of the kind that t needs, and reports it when it is not.
func (d *decoder) shaped(n *node, t reflect.Type, f field) bool {
	want := kindOf(t)
	wanted := want.String()
	switch {
	case t == durationType:
		wanted = "a duration such as 10s"
	case want == kindFloat:
		wanted = "a number"
	}
	switch {
	case d.broken[n]:
		return false
	case n.kind == want, want == kindFloat && n.kind == kindInt:
		return true
	case n.kind == kindNull:
		d.add(n, subject(f, t)+" has no value", "give it "+wanted+", or delete it")
		return false
	}
	message := fmt.Sprintf("%s must be %s, not %s", subject(f, t), wanted, n.kind)
	hint := rewrite(n, want)
	if !f.secret {
		d.add(n, message, hint)
		return false
	}
	if want == kindText && hint != "" {
		hint = "put the value in quotes"
	}
	d.addSecret(n, message, hint)
	return false
}

func kindOf(t reflect.Type) kind {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return kindMap
	case reflect.Slice:
		return kindList
	case reflect.Int:
		return kindInt
	case reflect.Float64:
		return kindFloat
	case reflect.Bool:
		return kindBool
	}
	return kindText
}

// subject names what a problem is about.
func subject(f field, t reflect.Type) string {
	switch {
	case f.key == "":
		return "the file"
	case f.typ != nil && f.typ.Kind() == reflect.Slice && t != f.typ:
		return fmt.Sprintf("an item of %q", f.key)
	}
	return fmt.Sprintf("%q", masked(f.key))
}

// rewrite says how n is written as the wanted kind; "" where that is not obvious.
func rewrite(n *node, want kind) string {
	scalar := n.kind != kindList && n.kind != kindMap
	switch {
	case want == kindList && scalar:
		return "write [" + n.text + "]"
	case want == kindList:
		return "begin each item with \"- \""
	case want == kindText && scalar:
		return fmt.Sprintf("put the value in quotes: %q", n.text)
	case want == kindBool:
		switch strings.ToLower(n.text) {
		case "yes", "on", "y", "1", "true":
			return "write true"
		case "no", "off", "n", "0", "false":
			return "write false"
		}
	case want == kindInt && integer.MatchString(n.text):
		return "write it without quotes: " + n.text
	case want == kindFloat && n.kind == kindText:
		if _, err := strconv.ParseFloat(n.text, 64); err == nil {
			return "write it without quotes: " + n.text
		}
	case want == kindMap:
		return "write KEY: VALUE pairs"
	}
	return ""
}

// duration decodes "1m30s".
func (d *decoder) duration(n *node, v reflect.Value, f field) {
	switch n.kind {
	case kindNull, kindList, kindMap:
		d.shaped(n, durationType, f)
		return
	default: // a scalar: its text tells
	}
	value, err := time.ParseDuration(n.text)
	if err != nil || n.kind != kindText {
		d.add(n, fmt.Sprintf("%s: %q is not a duration", f.key, n.text), durationHint(n.text))
		return
	}
	v.SetInt(int64(value))
	d.sign(n, f, value < 0, value == 0)
}

// looseDuration finds number and unit pairs in what people write for a duration.
var looseDuration = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)\s*([a-zµ]*)`)

// units maps units that people write to those of Go.
var units = map[string]string{
	"": "s", "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
	"m": "m", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
	"h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
	"ms": "ms", "msec": "ms", "millis": "ms", "milliseconds": "ms", "us": "us", "µs": "us", "ns": "ns",
}

// durationHint says how text is written as a duration.
func durationHint(text string) string {
	const form = "durations are written as \"10s\" or \"1m30s\""
	var fixed strings.Builder
	for rest := strings.ToLower(strings.TrimSpace(text)); rest != ""; {
		m := looseDuration.FindStringSubmatch(rest)
		if m == nil {
			return form
		}
		unit, known := units[m[2]]
		if days, err := strconv.Atoi(m[1]); err == nil && (m[2] == "d" || m[2] == "day" || m[2] == "days") {
			m[1], unit, known = strconv.Itoa(days*24), "h", true
		}
		if !known {
			return form
		}
		fixed.WriteString(m[1] + unit)
		rest = strings.TrimLeft(rest[len(m[0]):], " ,")
	}
	if _, err := time.ParseDuration(fixed.String()); err != nil {
		return form
	}
	return fmt.Sprintf("write %q: %s", fixed.String(), form)
}

// sign checks a number or duration against the rules positive and nonneg.
func (d *decoder) sign(n *node, f field, negative, zero bool) {
	switch {
	case negative && (f.positive || f.nonneg):
		d.add(n, fmt.Sprintf("%q must not be negative", f.key), "")
	case zero && f.positive:
		hint := ""
		if f.def != "" {
			hint = "delete it to have the default, " + strings.Trim(f.def, "()")
		}
		d.add(n, fmt.Sprintf("%q must be more than zero", f.key), hint)
	}
}

func (d *decoder) integer(n *node, v reflect.Value, f field) {
	value, ok := bigInt(n.text)
	if d.octal(n) {
		return
	}
	if !ok || !value.IsInt64() || value.Int64() > math.MaxInt32 || value.Int64() < math.MinInt32 {
		d.add(n, fmt.Sprintf("%s is too large a number", n.text), "")
		return
	}
	i := value.Int64()
	v.SetInt(i)
	d.sign(n, f, i < 0, i == 0)
	if f.max > 0 && (i < int64(f.min) || i > int64(f.max)) {
		d.add(n, fmt.Sprintf("%s: %d is not between %d and %d", f.key, i, f.min, f.max), "")
	}
	if f.key == "version" && i != formatVersion {
		d.add(n, fmt.Sprintf("unsupported version %d", i), fmt.Sprintf("this program reads version %d", formatVersion))
	}
}

// number decodes a number that need not be whole.
func (d *decoder) number(n *node, v reflect.Value, f field) {
	if n.kind == kindInt && d.octal(n) {
		return
	}
	value, err := strconv.ParseFloat(n.text, 64)
	if whole, ok := bigInt(n.text); err != nil && n.kind == kindInt && ok { // 0x10, 1_000
		value, _ = new(big.Float).SetInt(whole).Float64()
		err = nil
	}
	if err != nil || math.IsInf(value, 0) || math.IsNaN(value) {
		d.add(n, fmt.Sprintf("%s: %s is not a finite number", f.key, n.text), "")
		return
	}
	v.SetFloat(value)
	d.sign(n, f, value < 0, value == 0)
}

// formatVersion is the version of the format that is read.
const formatVersion = 1

// octal reports a number with a leading zero.
func (d *decoder) octal(n *node) bool {
	if !octal.MatchString(n.text) {
		return false
	}
	digits := cmp.Or(strings.TrimLeft(n.text, "+-0"), "0")
	d.add(n, n.text+" is read as octal by some and as decimal by others",
		fmt.Sprintf("write 0o%s, %s, or %q if it is text", digits, digits, n.text))
	return true
}

func bigInt(text string) (*big.Int, bool) {
	return new(big.Int).SetString(text, 0)
}

// text decodes a text and checks its form.
func (d *decoder) text(n *node, v reflect.Value, f field) {
	v.SetString(n.text)
	if n.text == "" {
		if f.required || f.format != "" || f.enum != nil || f.kind {
			d.add(n, subject(f, v.Type())+" is empty", "")
		}
		return
	}
	if f.enum != nil && !contains(f.enum, n.text) {
		d.add(n, fmt.Sprintf("%s: unknown word %s", f.key, shown(n, f)), suggest(n.text, f.enum, "valid"))
		return
	}
	if d.reference(n, f.key, f) {
		return
	}
	check, ok := formats[f.format]
	if !ok {
		return
	}
	fixed, message, hint := check(n.text, d.dir)
	v.SetString(fixed)
	if message == "" {
		return
	}
	if isReference(n.text) {
		hint = "references such as env:NAME are read only where a secret stands"
	}
	if f.secret || (f.format == "url" || f.format == "origin") && !harmlessURL.MatchString(n.text) {
		d.addSecret(n, f.key+": "+message, hint)
		return
	}
	d.add(n, f.key+": "+message, hint)
}

// reference says whether a secret is kept elsewhere, and checks how that is written.
func (d *decoder) reference(n *node, key string, f field) bool {
	if !f.secret || !isReference(n.text) {
		return false
	}
	if hint := checkReference(n.text); hint != "" {
		d.addSecret(n, masked(key)+": not a valid reference", hint)
	}
	return true
}

// shown is a value for a message.
func shown(n *node, f field) string {
	if f.secret {
		return "the value"
	}
	return strconv.Quote(masked(n.text)) // a comma left out puts what follows into it
}

func contains(words []string, word string) bool {
	return slices.Contains(words, word)
}
