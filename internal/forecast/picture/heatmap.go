package picture

import (
	"fmt"
	"time"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/shivx/shivx"
)

// The cells of a heatmap, in points.
const (
	cellWidth, cellHeight = 172, 118
	cellGap, cellMargin   = 8, 10
	cellsPerRow           = 4
	headRoom, footRoom    = 58, 40
	// whyLines have room in a cell.
	whyLines = 4
)

// Heatmap draws the risk of each subsystem in a grid, in the colours of risks, in the order in which they come.
func Heatmap(f Format, h shivx.Heatmap) ([]byte, error) {
	columns := min(max(len(h.Risks), 3), cellsPerRow)
	rows := max((len(h.Risks)+columns-1)/columns, 1)
	width := vg.Length(2*margin + columns*cellWidth + (columns-1)*cellGap)
	height := vg.Length(headRoom + rows*cellHeight + (rows-1)*cellGap + footRoom)
	return render(f, width, height, func(c draw.Canvas) {
		room := c.Max.X - c.Min.X - 2*margin
		left, top := c.Min.X+margin, c.Max.Y-margin
		name, when := heavy(15, ink), letters(10.5, pale)
		c.FillText(name, vg.Point{X: left, Y: top}, fit(name, "Risk of failure, "+h.Host, room))
		c.FillText(when, vg.Point{X: left, Y: top - 20}, h.At.UTC().Format("2 Jan 2006 15:04 UTC"))
		for i, r := range h.Risks {
			x := left + vg.Length(i%columns*(cellWidth+cellGap))
			y := c.Max.Y - headRoom - vg.Length(i/columns*(cellHeight+cellGap))
			box := vg.Rectangle{Min: vg.Point{X: x, Y: y - cellHeight}, Max: vg.Point{X: x + cellWidth, Y: y}}
			cell(draw.Canvas{Canvas: c.Canvas, Rectangle: box}, r, h.At)
		}
		if len(h.Risks) == 0 {
			c.FillText(when, vg.Point{X: left, Y: c.Max.Y - headRoom - 12}, "no subsystem is watched")
		}
		colours(c)
	})
}

// cell draws one subsystem.
func cell(c draw.Canvas, r shivx.Risk, now time.Time) {
	ground, known := danger[r.Color]
	if r.Missing != "" || !known {
		ground = blank
	}
	fill(c, c.Rectangle, ground)
	room := c.Max.X - c.Min.X - 2*cellMargin
	left, top := c.Min.X+cellMargin, c.Max.Y-cellMargin
	name, figure, words := heavy(12, ink), heavy(27, ink), letters(9.5, ink)
	c.FillText(name, vg.Point{X: left, Y: top}, fit(name, r.Subsystem, room))
	if r.Missing != "" {
		c.FillText(figure, vg.Point{X: left, Y: top - 17}, "–")
		write(c, words, left, top-51, wrap(words, r.Missing, room, whyLines))
		return
	}
	c.FillText(figure, vg.Point{X: left, Y: top - 17}, fmt.Sprint(r.Risk))
	beside := left + figure.Width("100") + 10
	write(c, words, beside, top-21, when(r, now))
	write(c, words, left, top-51, wrap(words, r.Why, room, whyLines))
}

// when says how probable the failure is, and when it comes.
func when(r shivx.Risk, now time.Time) []string {
	lines := []string{percent(r.Probability) + " in " + span(r.Horizon.Std())}
	if !r.BreachAt.IsZero() {
		lines = append(lines, at(r.BreachAt, now)+" UTC")
	}
	return lines
}

func write(c draw.Canvas, s draw.TextStyle, x, y vg.Length, lines []string) {
	for i, line := range lines {
		c.FillText(s, vg.Point{X: x, Y: y - vg.Length(i)*s.Font.Size*1.25}, line)
	}
}

// colours explains the colours at the foot.
func colours(c draw.Canvas) {
	style := letters(10.5, ink)
	x, y := c.Min.X+margin, c.Min.Y+24
	for _, step := range []struct {
		color shivx.RiskColor
		text  string
	}{{shivx.RiskGreen, "0–25"}, {shivx.RiskYellow, "26–50"}, {shivx.RiskOrange, "51–75"}, {shivx.RiskRed, "76–100"}, {"", "nothing known"}} {
		ground, known := danger[step.color]
		if !known {
			ground = blank
		}
		fill(c, vg.Rectangle{Min: vg.Point{X: x, Y: y - signHeight}, Max: vg.Point{X: x + signWidth, Y: y}}, ground)
		c.FillText(style, vg.Point{X: x + signWidth + signGap, Y: y + 2}, step.text)
		x += signWidth + signGap + style.Width(step.text) + entryGap
	}
}
