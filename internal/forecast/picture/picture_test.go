package picture

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/forecast/unit"
)

var noon = time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC)

const step = 5 * time.Minute

// leak is a memory that grows since some hours, with a gap, and will be full in the evening.
func leak() shivx.ForecastTrack {
	t := shivx.ForecastTrack{Prediction: shivx.Prediction{
		SubsystemTarget: shivx.SubsystemTarget{Subsystem: "memory", Host: "web-1"}, Series: "shivx_host_memory_used_ratio",
		Model: shivx.ForecastExhaustion, At: noon, Value: 0.81, Capacity: 0.95, Horizon: shivx.Duration(6 * time.Hour), Probability: 0.91,
		BreachAt: noon.Add(200 * time.Minute), Low: noon.Add(155 * time.Minute), High: noon.Add(280 * time.Minute),
		Alert: true, Since: noon.Add(-110 * time.Minute),
	}}
	for i := -288; i <= 0; i++ {
		if i > -150 && i < -130 {
			continue
		}
		x := float64(i)
		v := 0.52 + 0.004*math.Sin(x*1.7) + 0.006*math.Sin(x/5) + max(0, x+90)/90*0.29
		t.Past = append(t.Past, shivx.TrackPoint{At: noon.Add(time.Duration(i) * step), Value: v})
	}
	for i := range 73 {
		h := float64(i) / 12
		v := 0.81 + 0.042*h
		t.Ahead = append(t.Ahead, shivx.TrackBand{At: noon.Add(time.Duration(i) * step), Value: v, Low: v - 0.012*h - 0.003, High: v + 0.015*h + 0.003})
	}
	return t
}

func host() shivx.Heatmap {
	h := shivx.Heatmap{Host: "web-1", At: noon}
	for i, risk := range []int{92, 8, 63, 35, 0} {
		h.Risks = append(h.Risks, shivx.Risk{
			SubsystemTarget: shivx.SubsystemTarget{Subsystem: fmt.Sprint("part-", i), Host: "web-1"}, Risk: risk, Color: shivx.ColorOf(risk),
			Probability: float64(risk) / 100, Horizon: shivx.Duration(6 * time.Hour), BreachAt: noon.Add(time.Duration(i) * 7 * time.Hour), Why: "it grows",
		})
	}
	h.Risks[4].Missing, h.Risks[4].Color = "too little was measured: 31 of 48 steps", ""
	return h
}

// texts are those of an SVG, which must be well-formed, with no colour that nothing is drawn in.
func texts(t *testing.T, svg []byte) []string {
	t.Helper()
	var out []string
	d := xml.NewDecoder(bytes.NewReader(svg))
	inside := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		switch e := token.(type) {
		case xml.StartElement:
			inside = e.Name.Local == "text"
		case xml.CharData:
			if inside {
				out = append(out, string(e))
			}
		case xml.EndElement:
			inside = false
		}
	}
}

func decode(t *testing.T, b []byte) image.Image {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	return img
}

// shows says how many pixels have exactly a colour.
func shows(img image.Image, c color.Color) (n int) {
	want := color.RGBAModel.Convert(c)
	all := img.(*image.RGBA)
	for i := 0; i < len(all.Pix); i += 4 {
		if (color.RGBA{all.Pix[i], all.Pix[i+1], all.Pix[i+2], all.Pix[i+3]}) == want {
			n++
		}
	}
	return n
}

func TestPictureOfASeries(t *testing.T) {
	b, err := Track(PNG, leak())
	require.NoError(t, err)
	img := decode(t, b)
	require.Equal(t, image.Pt(2*trackWidth, 2*trackHeight), img.Bounds().Size())
	for what, c := range map[string]color.Color{"past": past, "band": band, "forecast": ahead, "capacity": limit, "alert": alarm, "text": ink, "grid": rule} {
		require.Greater(t, shows(img, c), 100, what)
	}
	require.Greater(t, shows(img, band), 5000, "the band is an area")

	svg, err := Track(SVG, leak())
	require.NoError(t, err)
	all := texts(t, svg)
	for _, want := range []string{
		"memory@web-1", "shivx_host_memory_used_ratio",
		"Now 81 %; 95 % is reached within 6 h with a probability of 91 %, probably at 17:20 UTC",
		"measured", "capacity 95 %", "now, 14:00", "alert since 12:10", "reached from 16:35 to 18:40 (80 %)",
		"15:00", "23 Nov UTC", "03:00", "24 Nov UTC", "60 %", "100 %",
	} {
		require.Contains(t, all, want)
	}
	require.NotContains(t, all, "120 %", "there is no more memory than all")
}

func TestPictureOfAHost(t *testing.T) {
	b, err := Heatmap(PNG, host())
	require.NoError(t, err)
	img := decode(t, b)
	for c, ground := range danger {
		require.Greater(t, shows(img, ground), 4*cellWidth*cellHeight/2, c)
	}
	svg, err := Heatmap(SVG, host())
	require.NoError(t, err)
	all := texts(t, svg)
	for _, want := range []string{"Risk of failure, web-1", "24 Nov 2026 14:00 UTC", "part-0", "92", "92 % in 6 h", "14:00 UTC", "25 Nov 04:00 UTC",
		"–", "too little was measured: 31 of 48", "steps", "76–100", "nothing known"} {
		require.Contains(t, all, want)
	}
	require.NotContains(t, all, "0", "what is not known has no figure")
}

func TestTheSameBytesEachTime(t *testing.T) {
	for _, f := range []Format{PNG, SVG} {
		track, err := Track(f, leak())
		require.NoError(t, err)
		heat, err := Heatmap(f, host())
		require.NoError(t, err)
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				again, err := Track(f, leak())
				if err != nil || !bytes.Equal(track, again) {
					t.Errorf("another %s of the same series: %v", f, err)
				}
				if again, err = Heatmap(f, host()); err != nil || !bytes.Equal(heat, again) {
					t.Errorf("another %s of the same host: %v", f, err)
				}
			})
		}
		all.Wait()
	}
}

// Whatever is measured and however it is named, there is a picture.
func TestWhateverIsMeasured(t *testing.T) {
	points := func(values ...float64) (out []shivx.TrackPoint) {
		for i, v := range values {
			out = append(out, shivx.TrackPoint{At: noon.Add(time.Duration(i-len(values)) * step), Value: v})
		}
		return out
	}
	long := strings.Repeat("a_very_long_name_", 400)
	for name, change := range map[string]func(*shivx.ForecastTrack){
		"nothing":          func(t *shivx.ForecastTrack) { *t = shivx.ForecastTrack{} },
		"nothing measured": func(t *shivx.ForecastTrack) { t.Past, t.Ahead = nil, nil },
		"one point":        func(t *shivx.ForecastTrack) { t.Past, t.Ahead = points(0.5), t.Ahead[:1] },
		"at one time":      func(t *shivx.ForecastTrack) { t.Past = []shivx.TrackPoint{{At: noon, Value: 1}, {At: noon, Value: 2}} },
		"flat at 0":        func(t *shivx.ForecastTrack) { t.Past, t.Prediction.Capacity, t.Ahead = points(0, 0, 0), 0, nil },
		"not finite":       func(t *shivx.ForecastTrack) { t.Past = points(math.NaN(), math.Inf(1), 0.5) },
		"only not finite": func(t *shivx.ForecastTrack) {
			t.Past, t.Prediction.Capacity, t.Prediction.Value = points(math.NaN()), math.NaN(), math.Inf(-1)
		},
		"huge":          func(t *shivx.ForecastTrack) { t.Past, t.Prediction.Capacity = points(1e29, -1e29, 3e29), 1e30 },
		"beyond huge":   func(t *shivx.ForecastTrack) { t.Past, t.Prediction.Capacity = points(1e300, -1e300), 1e308 },
		"tiny":          func(t *shivx.ForecastTrack) { t.Past, t.Prediction.Capacity, t.Ahead = points(1e-300, 0), 2e-300, nil },
		"negative":      func(t *shivx.ForecastTrack) { t.Past, t.Prediction.Capacity, t.Ahead = points(-5, -3, -2), -1, nil },
		"years":         func(t *shivx.ForecastTrack) { t.Past[0].At = noon.AddDate(-30, 0, 0) },
		"back in time":  func(t *shivx.ForecastTrack) { t.Past[3].At = noon.AddDate(0, 0, 3) },
		"a wild band":   func(t *shivx.ForecastTrack) { t.Ahead[5].High, t.Ahead[6].Low = 1e29, -1e29 },
		"a long name":   func(t *shivx.ForecastTrack) { t.Prediction.Series, t.Prediction.Host = long, long },
		"a foreign one": func(t *shivx.ForecastTrack) { t.Prediction.Series = "x\x00\x1b[31m<b>&\xff\u202e{a=\"ü\n漢\"}" },
		"missing":       func(t *shivx.ForecastTrack) { t.Prediction.Missing, t.Ahead = "nothing of late", nil },
	} {
		track := leak()
		change(&track)
		svg, err := Track(SVG, track)
		require.NoError(t, err, name)
		require.NotEmpty(t, texts(t, svg), name)
		require.NotContains(t, string(svg), "NaN", name)
		require.NotContains(t, string(svg), "Inf", name)
		if name == "a wild band" || name == "beyond huge" || name == "a foreign one" {
			_, err := Track(PNG, track)
			require.NoError(t, err, name)
		}
	}
	for _, h := range []shivx.Heatmap{{}, {Host: long, Risks: []shivx.Risk{{Why: long, Missing: "\x00"}, {Why: long, Color: "blue"}}}} {
		for _, f := range []Format{PNG, SVG} {
			_, err := Heatmap(f, h)
			require.NoError(t, err)
		}
	}
}

func TestNoTextIsWiderThanItsRoom(t *testing.T) {
	s := letters(10, ink)
	for _, text := range []string{"", "short", strings.Repeat("W", 1000), "ein längerer Text mit Ümläuten und mehr"} {
		require.LessOrEqual(t, s.Width(fit(s, text, 100)), s.Width(ellipsis)+100)
		lines := wrap(s, text, 100, 3)
		require.LessOrEqual(t, len(lines), 3)
		for _, line := range lines {
			require.LessOrEqual(t, s.Width(line), s.Width(ellipsis)+100)
		}
	}
	require.Equal(t, "short", fit(s, "short", 100))
	require.Equal(t, "shivx_hos…/backup\"}", fit(s, `shivx_host_filesystem_used_ratio{mountpoint="/var/backup"}`, s.Width("shivx_hos…/backup\"}")))
	require.Equal(t, []string{"one two", "three"}, wrap(s, "one two three", s.Width("one two t"), 2))
	require.Equal(t, []string{"one two", "three …"}, wrap(s, "one two three four five", s.Width("three …..."), 2))
}

func TestTicksAreRoundAndFew(t *testing.T) {
	for _, u := range []scale{{unit.Of("x_ratio")}, {unit.Of("x_bytes")}, {unit.Of("x")}} {
		for _, to := range []float64{1e-6, 0.3, 1, 7, 950, 3e9, 1e29} {
			ticks := u.Ticks(0, to)
			require.GreaterOrEqual(t, len(ticks), 2, to)
			require.LessOrEqual(t, len(ticks), 7, to)
		}
	}
	var labels []string
	for _, tick := range (scale{unit.Of("x_bytes")}).Ticks(0, 3<<30) {
		labels = append(labels, tick.Label)
	}
	require.Equal(t, []string{"0 B", "512 MiB", "1 GiB", "1.5 GiB", "2 GiB", "2.5 GiB", "3 GiB"}, labels)
	for _, long := range []time.Duration{time.Minute, time.Hour, 30 * time.Hour, 5 * 24 * time.Hour, 400 * 24 * time.Hour} {
		ticks := clock{timeLabels}.Ticks(seconds(noon.Add(-long)), seconds(noon))
		require.LessOrEqual(t, len(ticks), timeLabels+1, long)
		require.NotEmpty(t, ticks)
	}
}

func TestFormats(t *testing.T) {
	f, err := ParseFormat("svg")
	require.NoError(t, err)
	require.Equal(t, "image/svg+xml", f.MediaType())
	require.Equal(t, "image/png", PNG.MediaType())
	_, err = ParseFormat("gif")
	require.ErrorContains(t, err, `"gif" is no format of pictures`)
	require.Equal(t, "write png or svg", shivx.HintOf(err))
	_, err = Heatmap("gif", host())
	require.Error(t, err)
}
