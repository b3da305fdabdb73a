// Package picture draws what is forecast, for people: the past of a series with its forecast, and the risks of a
// host as a grid. Pictures are PNG or SVG, made by gonum.org/v1/plot, and depend on nothing but what is drawn:
// the same input gives the same bytes. Times are in UTC.
package picture

import (
	"bytes"
	"fmt"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/shivx/shivx"
)

// Format is a kind of picture.
type Format string

// The formats.
const (
	PNG Format = "png"
	SVG Format = "svg"
)

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case PNG, SVG:
		return f, nil
	}
	return "", shivx.Hint(fmt.Errorf("%q is no format of pictures", s), "write png or svg")
}

// MediaType is its name in HTTP.
func (f Format) MediaType() string {
	if f == SVG {
		return "image/svg+xml"
	}
	return "image/png"
}

// dotsPerInch of a PNG: its points are two pixels wide, which is sharp on the screens of today.
const dotsPerInch = 2 * 72

// render draws on a canvas of a size, and returns the picture.
func render(f Format, width, height vg.Length, paint func(draw.Canvas)) ([]byte, error) {
	var b bytes.Buffer
	switch f {
	case PNG:
		c := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dotsPerInch), vgimg.UseBackgroundColor(paper))}
		paint(draw.New(c))
		if _, err := c.WriteTo(&b); err != nil {
			return nil, fmt.Errorf("write the picture: %w", err)
		}
		return b.Bytes(), nil
	case SVG:
		c := vgsvg.New(width, height)
		d := draw.New(c)
		fill(d, d.Rectangle, paper)
		paint(d)
		if _, err := c.WriteTo(&b); err != nil {
			return nil, fmt.Errorf("write the picture: %w", err)
		}
		return []byte(anywhere.Replace(b.String())), nil
	}
	_, err := ParseFormat(string(f))
	return nil, err
}

// anywhere names fonts of the same widths for readers that have not the one that was measured.
var anywhere = strings.NewReplacer("font-family:Liberation Sans;", "font-family:'Liberation Sans',Arimo,Arial,Helvetica,sans-serif;")
