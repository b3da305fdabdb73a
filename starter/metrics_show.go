package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// title is the name with the labels.
func (s metricSeries) title() string {
	if len(s.Labels) == 0 {
		return s.Name
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		parts = append(parts, k+"="+s.Labels[k])
	}
	return s.Name + " " + strings.Join(parts, " ")
}

// counts says whether the series only counts up.
func (s metricSeries) counts() bool { return strings.HasSuffix(s.Name, "_total") }

// rates makes rates per second out of a count, each over the time from the end of the step before
// to the end of its own. The first point has none, nor has a step that has just begun; one that is
// less than the one before has begun anew at 0.
func rates(points []metricPoint, step time.Duration, to time.Time) []metricPoint {
	end := func(p metricPoint) time.Time {
		if e := p.At.Add(step); e.Before(to) {
			return e
		}
		return to
	}
	var out []metricPoint
	for i := 1; i < len(points); i++ {
		before, p := points[i-1], points[i]
		grown := p.Last - before.Last
		if grown < 0 {
			grown = p.Last
		}
		if long := end(p).Sub(end(before)); long > 0 && long >= step/2 {
			rate := grown / long.Seconds()
			out = append(out, metricPoint{p.At, rate, rate, rate, rate})
		}
	}
	return out
}

// shownPoints are the points of s as they are shown.
func (m metricsAnswer) shownPoints(s metricSeries) []metricPoint {
	if s.counts() {
		return rates(s.Points, m.step(), m.To)
	}
	return s.Points
}

// extent returns the least and the greatest value.
func extent(points []metricPoint) (least, greatest float64) {
	least, greatest = math.Inf(1), math.Inf(-1)
	for _, p := range points {
		least, greatest = min(least, p.Min), max(greatest, p.Max)
	}
	return least, greatest
}

// courseTable shows each series in one line; in a narrow one, without its extent.
func courseTable(m metricsAnswer, narrow bool) table {
	t := table{head: []string{"SERIES", "LATEST", "LEAST", "GREATEST", "LAST " + strings.ToUpper(short(m.To.Sub(m.From)))}, free: []int{0}}
	for _, s := range m.Series {
		points := m.shownPoints(s)
		if len(points) == 0 {
			t.add(text(s.title()), cell{"no rate yet", faint})
			continue
		}
		least, greatest := extent(points)
		row := []cell{text(s.title()), {s.value(points[len(points)-1].Last), bold}, text(s.value(least)), text(s.value(greatest)), {course(points, m), cyan}}
		if narrow {
			row[2], row[3] = cell{}, cell{}
		}
		t.add(row...)
	}
	return t
}

var courseMarks = []rune("▁▂▃▄▅▆▇█")

// course draws the means in one line, a step a column; a step without measurements stays empty.
func course(points []metricPoint, m metricsAnswer) string {
	step := m.step()
	if step <= 0 {
		return ""
	}
	first := m.From.Truncate(step)
	line := []rune(strings.Repeat(" ", int(m.To.Sub(first)/step)+1))
	least, greatest := math.Inf(1), math.Inf(-1)
	for _, p := range points {
		least, greatest = min(least, p.Mean), max(greatest, p.Mean)
	}
	for _, p := range points {
		at := int(p.At.Sub(first) / step)
		if at < 0 || at >= len(line) {
			continue
		}
		mark := 0
		if greatest > least {
			mark = int((p.Mean - least) / (greatest - least) * float64(len(courseMarks)-1))
		}
		line[at] = courseMarks[mark]
	}
	return string(line)
}

// barColumns is the width of the bar of a value.
const barColumns = 24

// printValues prints each series step by step.
func (a *app) printValues(m metricsAnswer) {
	for i, s := range m.Series {
		if i > 0 {
			a.out.line(normal, "")
		}
		what := fmt.Sprintf(", every %s", short(m.step()))
		if s.counts() {
			what = fmt.Sprintf(", per second, over %s each", short(m.step()))
		}
		a.out.line(bold, s.title()+what)
		a.out.table(m.valueTable(s))
	}
}

func (m metricsAnswer) valueTable(s metricSeries) table {
	points, step := m.shownPoints(s), m.step()
	least, greatest := extent(points)
	bottom := min(0, least)
	if strings.HasSuffix(s.Name, "_ratio") {
		greatest = max(greatest, 1)
	}
	t := table{head: []string{"TIME", "MEAN", "LEAST", "GREATEST", ""}}
	if s.counts() {
		t.head = []string{"TIME", "RATE", "", "", ""}
	}
	var before time.Time
	for _, p := range points {
		if !before.IsZero() && p.At.Sub(before) > step {
			t.add(cell{fmt.Sprintf("nothing for %s", short(p.At.Sub(before)-step)), faint})
		}
		before = p.At
		row := []cell{text(moment(p.At)), text(s.value(p.Mean)), text(s.value(p.Min)), text(s.value(p.Max))}
		if s.counts() {
			row[2], row[3] = cell{}, cell{}
		}
		t.add(append(row, cell{barOf(p.Mean, bottom, greatest), cyan})...)
	}
	return t
}

var barEighths = []string{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"}

// barOf draws where a value is between two others.
func barOf(v, bottom, top float64) string {
	if !(top > bottom) {
		return ""
	}
	eighths := int(math.Round((v - bottom) / (top - bottom) * barColumns * 8))
	eighths = min(max(eighths, 0), barColumns*8)
	return strings.Repeat("█", eighths/8) + barEighths[eighths%8]
}

// value writes a value in the unit that the name of its series ends in.
func (s metricSeries) value(v float64) string {
	name, rate := s.Name, ""
	if s.counts() {
		name, rate = strings.TrimSuffix(name, "_total"), "/s"
	}
	switch {
	case strings.HasSuffix(name, "_ratio"):
		return strconv.FormatFloat(v*100, 'f', 1, 64) + " %"
	case strings.HasSuffix(name, "_bytes") && v >= 0 && v < math.MaxInt64:
		return bytesText(int64(v)) + rate
	case strings.HasSuffix(name, "_seconds") && rate == "" && v > 0 && v < 1e9:
		return took(time.Duration(v * float64(time.Second)))
	}
	return number(v) + rate
}

// number writes a number with as many digits as people read.
func number(v float64) string {
	size := math.Abs(v)
	switch {
	case size >= 1e15:
		return strconv.FormatFloat(v, 'g', 4, 64)
	case size >= 1e9:
		return strconv.FormatFloat(v/1e9, 'f', 2, 64) + " G"
	case size >= 1e6:
		return strconv.FormatFloat(v/1e6, 'f', 2, 64) + " M"
	case v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
