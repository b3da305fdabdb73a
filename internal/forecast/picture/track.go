package picture

import (
	"fmt"
	"image/color"
	"math"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/forecast/unit"
)

// The size of the picture of a series, in points.
const (
	trackWidth, trackHeight = 720, 405
	margin                  = 16
	// topRoom is that of the title, bottomRoom that of the legend.
	topRoom, bottomRoom = 76, 50
	// timeLabels have room below the picture.
	timeLabels = 12
)

// extent is the part of the plane that is shown: seconds since 1970, and the unit of the series.
type extent struct{ from, to, low, high float64 }

// Track draws the past of a series, its forecast with the band in which it lies with a probability of 80 %, its
// capacity, and since when somebody should act.
func Track(f Format, t shivx.ForecastTrack) ([]byte, error) {
	t.Past, t.Ahead = finitePast(t.Past), finiteAhead(t.Ahead)
	t.Ahead = joined(t.Past, t.Ahead)
	p := t.Prediction
	u := unit.Of(p.Series)
	e := extentOf(t)
	lines, err := plotters(t, e)
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", p.Series, err)
	}
	return render(f, trackWidth, trackHeight, func(c draw.Canvas) {
		title(c, p, u)
		body := plot.New()
		body.BackgroundColor = nil
		axes(body, u)
		body.Add(lines...)
		body.X.Min, body.X.Max, body.Y.Min, body.Y.Max = e.from, e.to, e.low, e.high
		body.Draw(draw.Crop(c, margin, -margin, bottomRoom, -topRoom))
		legend(c, entries(t, u, e))
	})
}

// title says in words what the picture shows.
func title(c draw.Canvas, p shivx.Prediction, u unit.Unit) {
	room := c.Max.X - c.Min.X - 2*margin
	left, y := c.Min.X+margin, c.Max.Y-margin
	name := heavy(15, ink)
	c.FillText(name, vg.Point{X: left, Y: y}, fit(name, p.String(), room))
	series := letters(10.5, pale)
	c.FillText(series, vg.Point{X: left, Y: y - 20}, fit(series, p.Series, room))
	words := letters(11.5, ink)
	c.FillText(words, vg.Point{X: left, Y: y - 36}, fit(words, says(p, u), room))
}

// says is the prediction in one line.
func says(p shivx.Prediction, u unit.Unit) string {
	if p.Missing != "" {
		return "No forecast: " + p.Missing
	}
	s := fmt.Sprintf("Now %s; %s is reached within %s with a probability of %s",
		u.Text(p.Value, 2), u.Text(p.Capacity, 2), span(p.Horizon.Std()), percent(p.Probability))
	if !p.BreachAt.IsZero() {
		s += ", probably at " + at(p.BreachAt, p.At) + " UTC"
	}
	return s
}

// percent writes a probability; one that is not quite 0 or 1 is not written as if it were.
func percent(p float64) string {
	switch {
	case p > 0 && p < 0.005:
		return "less than 1 %"
	case p > 0.995 && p < 1:
		return "more than 99 %"
	}
	return fmt.Sprintf("%.0f %%", 100*p)
}

func finitePast(all []shivx.TrackPoint) []shivx.TrackPoint {
	var out []shivx.TrackPoint
	for _, p := range all {
		if unit.Known(p.Value) && !p.At.IsZero() {
			out = append(out, p)
		}
	}
	return out
}

func finiteAhead(all []shivx.TrackBand) []shivx.TrackBand {
	var out []shivx.TrackBand
	for _, b := range all {
		if unit.Known(b.Value) && unit.Known(b.Low) && unit.Known(b.High) && !b.At.IsZero() {
			out = append(out, b)
		}
	}
	return out
}

// joined lets the forecast begin where the past ends.
func joined(past []shivx.TrackPoint, ahead []shivx.TrackBand) []shivx.TrackBand {
	if len(past) == 0 || len(ahead) == 0 {
		return ahead
	}
	if last := past[len(past)-1]; ahead[0].At.After(last.At) {
		return append([]shivx.TrackBand{{At: last.At, Value: last.Value, Low: last.Value, High: last.Value}}, ahead...)
	}
	return ahead
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

// extentOf chooses what is shown: all of the past and the forecast, up to a little above the capacity. The axis
// begins at 0 unless the series stays far above it.
func extentOf(t shivx.ForecastTrack) extent {
	now := seconds(t.Prediction.At)
	e := extent{from: now - time.Hour.Seconds(), to: now, low: math.Inf(1), high: math.Inf(-1)}
	if len(t.Past) > 0 {
		e.from, e.to = seconds(t.Past[0].At), max(now, seconds(t.Past[len(t.Past)-1].At))
	}
	if n := len(t.Ahead); n > 0 {
		e.to = max(e.to, seconds(t.Ahead[n-1].At))
	}
	if !(e.to-e.from >= 60) {
		e.from = e.to - 60
	}
	for _, p := range t.Past {
		e.low, e.high = min(e.low, p.Value), max(e.high, p.Value)
	}
	top, capacity := e.high, t.Prediction.Capacity
	if unit.Known(capacity) {
		e.low, e.high = min(e.low, capacity), max(e.high, capacity)
	}
	if e.low > e.high {
		e.low, e.high = 0, 1
	}
	// A forecast is shown beyond the capacity, but does not press the past flat.
	room := max(e.high-e.low, math.Abs(e.high)*1e-6, 1e-30)
	for _, b := range t.Ahead {
		e.low, e.high = max(min(e.low, b.Low), e.low-room/2), min(max(e.high, b.High), e.high+room/4)
	}
	if e.low >= 0 && e.low < 0.4*e.high {
		e.low = 0
	} else {
		e.low -= 0.08 * room
	}
	e.high += 0.08 * max(room, e.high-e.low)
	// A share that never exceeded the whole does not in the picture.
	if whole := 1.0; unit.Of(t.Prediction.Series).Share() && top <= whole && capacity <= whole {
		e.high = min(e.high, whole)
	}
	return e
}

// axes gives a plot its axes, in UTC and in the unit of the series.
func axes(p *plot.Plot, u unit.Unit) {
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Padding = pale, 0
		a.Tick.Color, a.Tick.Length = pale, 4
		label := letters(10.5, ink)
		label.XAlign, label.YAlign = a.Tick.Label.XAlign, a.Tick.Label.YAlign
		a.Tick.Label = label
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = clock{timeLabels}, scale{u}
	grid := plotter.NewGrid()
	grid.Horizontal = draw.LineStyle{Color: rule, Width: 0.7}
	grid.Vertical = grid.Horizontal
	p.Add(grid)
}

var (
	pastLine    = draw.LineStyle{Color: past, Width: 1.6}
	aheadLine   = draw.LineStyle{Color: ahead, Width: 1.6, Dashes: []vg.Length{5, 3}}
	limitLine   = draw.LineStyle{Color: limit, Width: 1.4}
	nowLine     = draw.LineStyle{Color: pale, Width: 1, Dashes: []vg.Length{2, 2}}
	alarmLine   = draw.LineStyle{Color: alarm, Width: 1.4, Dashes: []vg.Length{6, 2, 1.5, 2}}
	breachLine  = draw.LineStyle{Color: limit, Width: 4.5}
	breachGlyph = draw.GlyphStyle{Color: limit, Radius: 4.5, Shape: draw.CircleGlyph{}}
)

// plotters are what is drawn, the hindmost first.
func plotters(t shivx.ForecastTrack, e extent) ([]plot.Plotter, error) {
	d := drawing{extent: e}
	p := t.Prediction
	if len(t.Ahead) > 1 {
		var edge, middle plotter.XYs
		for _, b := range t.Ahead {
			edge = append(edge, d.inside(b.At, b.High))
			middle = append(middle, plotter.XY{X: seconds(b.At), Y: b.Value})
		}
		for i := range t.Ahead {
			b := t.Ahead[len(t.Ahead)-1-i]
			edge = append(edge, d.inside(b.At, b.Low))
		}
		d.area(edge, band)
		d.line(middle, aheadLine)
	}
	for _, part := range runs(t.Past) {
		d.line(part, pastLine)
	}
	if unit.Known(p.Capacity) {
		d.line(plotter.XYs{{X: e.from, Y: p.Capacity}, {X: e.to, Y: p.Capacity}}, limitLine)
		d.breach(p)
	}
	d.upright(p.At, nowLine)
	if p.Alert {
		d.upright(p.Since, alarmLine)
	}
	return d.all, d.err
}

// drawing gathers what is drawn.
type drawing struct {
	extent
	all []plot.Plotter
	err error
}

// inside is a point of an area, which is not clipped: at the border when it lies beyond.
func (d *drawing) inside(at time.Time, v float64) plotter.XY {
	return plotter.XY{X: seconds(at), Y: min(max(v, d.low), d.high)}
}

func (d *drawing) line(points plotter.XYs, s draw.LineStyle) {
	l, err := plotter.NewLine(points)
	if err != nil {
		d.err = err
		return
	}
	l.LineStyle = s
	d.all = append(d.all, l)
}

func (d *drawing) area(points plotter.XYs, c color.Color) {
	a, err := plotter.NewPolygon(points)
	if err != nil {
		d.err = err
		return
	}
	a.Color, a.Width = c, 0
	d.all = append(d.all, a)
}

func (d *drawing) upright(at time.Time, s draw.LineStyle) {
	if x := seconds(at); !at.IsZero() && x >= d.from && x <= d.to {
		d.line(plotter.XYs{{X: x, Y: d.low}, {X: x, Y: d.high}}, s)
	}
}

// breach marks on the capacity from when to when it is reached, and when it is most likely.
func (d *drawing) breach(p shivx.Prediction) {
	if p.BreachAt.IsZero() || seconds(p.BreachAt) > d.to || seconds(p.BreachAt) < d.from {
		return
	}
	if !p.Low.IsZero() && !p.High.IsZero() {
		from, to := max(seconds(p.Low), d.from), min(seconds(p.High), d.to)
		d.line(plotter.XYs{{X: from, Y: p.Capacity}, {X: to, Y: p.Capacity}}, breachLine)
	}
	s, err := plotter.NewScatter(plotter.XYs{{X: seconds(p.BreachAt), Y: p.Capacity}})
	if err != nil {
		d.err = err
		return
	}
	s.GlyphStyle = breachGlyph
	d.all = append(d.all, s)
}

// runs parts the past where nothing was measured for several steps.
func runs(points []shivx.TrackPoint) []plotter.XYs {
	var out []plotter.XYs
	step := usual(points)
	for i, p := range points {
		if i == 0 || p.At.Sub(points[i-1].At) > 5*step/2 {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], plotter.XY{X: seconds(p.At), Y: p.Value})
	}
	return out
}
