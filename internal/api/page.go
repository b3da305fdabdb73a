package api

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"math"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/resilience"
)

//go:embed page
var files embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"round": func(x float64) string { return fmt.Sprintf("%.0f", x) },
	"tenth": func(x float64) string { return fmt.Sprintf("%.1f", x) },
	"clock": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"words": levelWords,
}).ParseFS(files, "page/*.html"))

// pagePolicy lets a page load and send nothing but what this server has.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func levelWords(l shivx.Level) string {
	switch l {
	case shivx.LevelNormal:
		return "everything is on"
	case shivx.Level1:
		return "what is not critical is off"
	case shivx.Level2:
		return "advanced features are off"
	case shivx.Level3:
		return "the minimum only"
	case shivx.LevelEmergency:
		return "the core only"
	default:
		return ""
	}
}

// pageView is what the status page shows.
type pageView struct {
	resilience.Status
	Features []shivx.Feature
	// Why says why features are off; "" while all are on.
	Why string
	// Points is the score in whole points, "–" before the first sample, and Confidence its percentage.
	Points, Confidence string
	// Arc is how much of the gauge is filled, 0–100.
	Arc   float64
	Ticks []tick
	// Bars are the terms that cost something; Free counts the others.
	Bars   []resilience.Term
	Free   int
	Uptime string
	Age    string
	User   string
	// CanLeave is true for a session, which has a button to log out.
	CanLeave bool
}

// tick marks the threshold of a level on the gauge.
type tick struct{ X1, Y1, X2, Y2 float64 }

// page shows the host's state to people.
func (s *Server) page(w http.ResponseWriter, _ *http.Request, h holder) {
	if s.parts.Resilience == nil {
		missing(w, "the host's level")
		return
	}
	status := s.parts.Resilience.Status()
	v := pageView{
		Status: status, Features: s.parts.Resilience.Features().List, Ticks: ticks(), User: h.name, CanLeave: h.session,
		Points: "–", Confidence: "–", Uptime: span(time.Duration(status.UptimeSeconds * float64(time.Second))),
	}
	for _, f := range v.Features {
		if !f.Enabled {
			v.Why = f.Reason
			break
		}
	}
	if !status.SampledAt.IsZero() {
		v.Age = span(s.now().Sub(status.SampledAt))
	}
	if score := status.Score; score != nil {
		v.Points, v.Arc = fmt.Sprintf("%.0f", math.Floor(score.Value)), min(100, max(0, score.Value))
		v.Confidence = fmt.Sprintf("%.0f %%", 100*score.Confidence)
		for _, t := range score.Terms {
			if t.Cost >= 0.05 || t.Missing != "" {
				v.Bars = append(v.Bars, t)
			} else {
				v.Free++
			}
		}
	}
	s.render(w, http.StatusOK, "status.html", v)
}

// The gauge is a half circle of this radius around this point, in the units of its view box.
const (
	gaugeX, gaugeY, gaugeRadius = 110.0, 110.0, 90.0
	tickInner, tickOuter        = gaugeRadius - 9, gaugeRadius + 9
)

func ticks() (out []tick) {
	for _, l := range shivx.Levels() {
		if floor := l.Floor(); floor > 0 {
			sin, cos := math.Sincos(math.Pi * (1 - floor/100))
			out = append(out, tick{gaugeX + tickInner*cos, gaugeY - tickInner*sin, gaugeX + tickOuter*cos, gaugeY - tickOuter*sin})
		}
	}
	return out
}

// span is a time in its two greatest units, for people.
func span(d time.Duration) string {
	switch d = max(0, d.Round(time.Second)); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}

// loginView is what a page about the login shows; Code is that of a link that holds.
type loginView struct{ Title, Text, Code string }

func (s *Server) loginPage(w http.ResponseWriter, status int, v loginView) {
	s.render(w, status, "login.html", v)
}

func (s *Server) render(w http.ResponseWriter, status int, name string, v any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, v); err != nil {
		s.log.Error("a page could not be made", "page", name, "error", err)
		problem(w, http.StatusInternalServerError, "the page could not be made", "the agent's log says more")
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "same-origin")
	write(w, status, []string{"text/html; charset=utf-8"}, b.Bytes())
}

// asset serves what the pages load.
func asset(w http.ResponseWriter, r *http.Request, _ holder) {
	name := r.PathValue("file")
	body, err := files.ReadFile("page/assets/" + name)
	if err != nil {
		problem(w, http.StatusNotFound, "there is no such file", "the pages load what there is")
		return
	}
	write(w, http.StatusOK, []string{mime.TypeByExtension(path.Ext(name))}, body)
}
