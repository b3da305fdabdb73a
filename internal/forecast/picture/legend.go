package picture

import (
	"slices"
	"time"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/forecast/unit"
)

// entry is one sign of a legend with its meaning.
type entry struct {
	text string
	// draw puts the sign into a box.
	draw func(draw.Canvas)
}

// The size of a sign, and the room around an entry.
const (
	signWidth, signHeight = 22, 9
	signGap, entryGap     = 5, 16
	legendLine            = 15
)

// legend writes entries into the lowest lines, as many in each as have room.
func legend(c draw.Canvas, all []entry) {
	style := letters(10.5, ink)
	room := c.Max.X - c.Min.X - 2*margin
	var lines [][]entry
	x := room
	for _, e := range all {
		e.text = fit(style, e.text, room-signWidth-signGap)
		w := signWidth + signGap + style.Width(e.text) + entryGap
		if x+w-entryGap > room {
			lines, x = append(lines, nil), 0
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], e)
		x += w
	}
	for i, line := range lines {
		y := c.Min.Y + bottomRoom - 16 - vg.Length(i)*legendLine
		x := c.Min.X + margin
		for _, e := range line {
			box := vg.Rectangle{Min: vg.Point{X: x, Y: y - signHeight}, Max: vg.Point{X: x + signWidth, Y: y}}
			e.draw(draw.Canvas{Canvas: c.Canvas, Rectangle: box})
			c.FillText(style, vg.Point{X: x + signWidth + signGap, Y: y + 2}, e.text)
			x += signWidth + signGap + style.Width(e.text) + entryGap
		}
	}
}

// entries is the legend of the picture of a series: only what is in it.
func entries(t shivx.ForecastTrack, u unit.Unit, e extent) []entry {
	p := t.Prediction
	all := []entry{{"measured", flat(pastLine)}}
	if len(t.Ahead) > 1 {
		all = append(all, entry{"forecast, with a probability of 80 % in the band", func(c draw.Canvas) {
			fill(c, c.Rectangle, band)
			flat(aheadLine)(c)
		}})
	}
	if unit.Known(p.Capacity) {
		all = append(all, entry{"capacity " + u.Text(p.Capacity, 2), flat(limitLine)})
	}
	all = append(all, entry{"now, " + at(p.At, p.At), standing(nowLine)})
	if p.Alert && !p.Since.IsZero() {
		text := "alert since " + at(p.Since, p.At)
		if seconds(p.Since) < e.from {
			text += ", before this picture"
		}
		all = append(all, entry{text, standing(alarmLine)})
	}
	if b := p.BreachAt; !b.IsZero() && !p.Low.IsZero() && !p.High.IsZero() && seconds(b) >= e.from && seconds(b) <= e.to {
		all = append(all, entry{"reached from " + at(p.Low, p.At) + " to " + at(p.High, p.At) + " (80 %)", func(c draw.Canvas) {
			flat(breachLine)(c)
			c.DrawGlyph(breachGlyph, c.Center())
		}})
	}
	return all
}

// flat draws a line through the middle of a box.
func flat(s draw.LineStyle) func(draw.Canvas) {
	return func(c draw.Canvas) { c.StrokeLine2(s, c.Min.X, c.Center().Y, c.Max.X, c.Center().Y) }
}

// standing draws an upright line through the middle of a box.
func standing(s draw.LineStyle) func(draw.Canvas) {
	return func(c draw.Canvas) { c.StrokeLine2(s, c.Center().X, c.Min.Y-2, c.Center().X, c.Max.Y+2) }
}

// usual is the median time between points.
func usual(points []shivx.TrackPoint) time.Duration {
	var gaps []time.Duration
	for i := 1; i < len(points); i++ {
		gaps = append(gaps, points[i].At.Sub(points[i-1].At))
	}
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}
