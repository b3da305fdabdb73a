package picture

import (
	"image/color"
	"sort"
	"strings"
	"unicode"

	stdfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/shivx/shivx"
)

// The colours, dark on light.
var (
	paper  = color.NRGBA{0xff, 0xff, 0xff, 0xff}
	ink    = color.NRGBA{0x1b, 0x1f, 0x24, 0xff}
	pale   = color.NRGBA{0x5b, 0x63, 0x6e, 0xff}
	rule   = color.NRGBA{0xe3, 0xe6, 0xea, 0xff}
	past   = color.NRGBA{0x1f, 0x4e, 0x8c, 0xff}
	ahead  = color.NRGBA{0x3b, 0x82, 0xc4, 0xff}
	band   = color.NRGBA{0xc9, 0xdd, 0xf1, 0xff}
	limit  = color.NRGBA{0xc6, 0x28, 0x28, 0xff}
	alarm  = color.NRGBA{0xd9, 0x6c, 0x06, 0xff}
	blank  = color.NRGBA{0xe6, 0xe8, 0xeb, 0xff}
	danger = map[shivx.RiskColor]color.NRGBA{
		shivx.RiskGreen: {0x8f, 0xd1, 0x9e, 0xff}, shivx.RiskYellow: {0xf7, 0xdc, 0x6f, 0xff},
		shivx.RiskOrange: {0xf5, 0xa3, 0x5b, 0xff}, shivx.RiskRed: {0xec, 0x6b, 0x62, 0xff},
	}
)

// letters is a style of text whose first line begins at the point where it is put.
func letters(size vg.Length, c color.Color) draw.TextStyle {
	f := font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size)
	return draw.TextStyle{Color: c, Font: f, XAlign: draw.XLeft, YAlign: draw.YTop, Handler: plot.DefaultTextHandler}
}

func heavy(size vg.Length, c color.Color) draw.TextStyle {
	s := letters(size, c)
	s.Font.Weight = stdfont.WeightBold
	return s
}

func fill(c draw.Canvas, r vg.Rectangle, with color.Color) {
	c.FillPolygon(with, []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}})
}

// legible makes one line of a text: what cannot be drawn, or may not stand in XML, is left out.
func legible(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.Join(strings.Fields(s), " ")
}

const ellipsis = "…"

// longest is how many runes of a text are looked at: no line has room for more.
const longest = 400

// fit shortens a text to a width, in its middle: the ends of a series' name tell the most.
func fit(s draw.TextStyle, text string, width vg.Length) string {
	runes := []rune(legible(text))
	if len(runes) <= longest && s.Width(string(runes)) <= width {
		return string(runes)
	}
	short := func(n int) string { return string(runes[:(n+1)/2]) + ellipsis + string(runes[len(runes)-n/2:]) }
	return short(sort.Search(min(len(runes), longest), func(n int) bool { return s.Width(short(n+1)) > width }))
}

// wrap breaks a text into at most so many lines of a width; the last one is shortened to what has room.
func wrap(s draw.TextStyle, text string, width vg.Length, lines int) []string {
	words := strings.Fields(legible(text))
	var out []string
	for len(words) > 0 && len(out) < lines-1 {
		n := 1
		for n < len(words) && s.Width(strings.Join(words[:n+1], " ")) <= width {
			n++
		}
		out = append(out, fit(s, strings.Join(words[:n], " "), width))
		words = words[n:]
	}
	if len(words) > 0 {
		out = append(out, begin(s, words, width))
	}
	return out
}

// begin is as much of the beginning of a text as has room.
func begin(s draw.TextStyle, words []string, width vg.Length) string {
	all := strings.Join(words, " ")
	if len(all) <= longest && s.Width(all) <= width || len(words) == 1 {
		return fit(s, all, width)
	}
	n := sort.Search(min(len(words), longest), func(n int) bool {
		return s.Width(strings.Join(words[:n], " ")+" "+ellipsis) > width
	})
	if n <= 1 {
		return fit(s, all, width)
	}
	return strings.Join(words[:n-1], " ") + " " + ellipsis
}
