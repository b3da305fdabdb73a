package resilience

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/vitals"
)

// TestDocumentedCurves compares the table of docs/RESILIENCE.md with the curves, both ways.
func TestDocumentedCurves(t *testing.T) {
	page, err := os.ReadFile("../../docs/RESILIENCE.md")
	require.NoError(t, err)
	documented := map[vitals.Resource]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\d) \\| ([^|]+→[^|]+) \\|$").FindAllStringSubmatch(string(page), -1) {
		documented[vitals.Resource(m[1])] = m[2] + ": " + m[3]
	}
	actual := map[vitals.Resource]string{}
	for resource, r := range defaultRules() {
		var points []string
		for _, p := range r.points {
			points = append(points, fmt.Sprintf("%d → %d", p.At, p.Score))
		}
		actual[resource] = fmt.Sprintf("%v: %s", r.weight, strings.Join(points, ", "))
	}
	assert.Equal(t, actual, documented)
}

// TestDocumentedSituations gives the examples of docs/RESILIENCE.md to the Scorer.
func TestDocumentedSituations(t *testing.T) {
	page, err := os.ReadFile("../../docs/RESILIENCE.md")
	require.NoError(t, err)
	rows := regexp.MustCompile(`(?m)^\| [^|]+ \| ((?:\w+ [\d.]+(?:, )?)+) \| ([\d.]+) \| (\w+) \|`).FindAllStringSubmatch(string(page), -1)
	require.GreaterOrEqual(t, len(rows), 14)
	for _, row := range rows {
		var readings []vitals.Reading
		for r := range strings.SplitSeq(row[1], ", ") {
			resource, percent, _ := strings.Cut(r, " ")
			readings = append(readings, reading(vitals.Resource(resource), number(percent)))
		}
		s := NewScorer(defaultScore()).Score(sampleOf(0, readings...), nil)
		// The readings of the worked example are rounded to tenths of a percent.
		assert.InDelta(t, number(row[2]), s.Value, 0.4, row[0])
		assert.GreaterOrEqual(t, shivx.Level(row[3]).Rank(), 0, row[0])
	}
}

// TestDocumentedEnds gives each resource alone the readings above which a level is worse.
func TestDocumentedEnds(t *testing.T) {
	page, err := os.ReadFile("../../docs/RESILIENCE.md")
	require.NoError(t, err)
	cell := ` ([\d.]+|–) \|`
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)`(?:, `(\\w+)`)? \\|"+strings.Repeat(cell, 4)+"$").FindAllStringSubmatch(string(page), -1)
	require.Len(t, rows, 9)
	for _, row := range rows {
		for _, resource := range row[1:3] {
			for i, level := range shivx.Levels()[1:] {
				if resource == "" {
					continue
				}
				rank := func(percent float64) int {
					s := NewScorer(defaultScore()).Score(sampleOf(0, reading(vitals.Resource(resource), percent)), nil)
					return shivx.LevelOf(s.Value).Rank()
				}
				if row[3+i] == "–" {
					assert.Less(t, rank(1e6), level.Rank(), "%s never costs %s", resource, level)
					continue
				}
				at := number(row[3+i])
				assert.Less(t, rank(at), level.Rank(), "%s %v", resource, at)
				assert.GreaterOrEqual(t, rank(at+0.1+at/200), level.Rank(), "%s %v", resource, at)
			}
		}
	}
}
