package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/forecast/picture"
)

// Faults tells which failures are foreseen.
type Faults interface {
	Heatmap() shivx.Heatmap
	Predictions() []shivx.Prediction
	// Tracks returns what was measured of each series of a subsystem since some time ago, with its forecast.
	Tracks(ctx context.Context, subsystem string, since time.Duration) ([]shivx.ForecastTrack, error)
}

// foreseeing is a route that needs forecasts.
func (s *Server) foreseeing(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request, h holder) {
		if s.parts.Faults == nil {
			problem(w, http.StatusServiceUnavailable, "nothing is forecast", "is forecast.enabled false in the agent's configuration? else its log says why")
			return
		}
		next(w, r, h)
	}
}

func (s *Server) heatmap(w http.ResponseWriter, _ *http.Request, _ holder) {
	h := s.parts.Faults.Heatmap()
	h.Risks = append([]shivx.Risk{}, h.Risks...) // lists are never null in an answer
	s.answer(w, http.StatusOK, h)
}

// predictionsAnswer is what GET /api/faults/predictions answers.
type predictionsAnswer struct {
	Host        string             `json:"host"`
	Predictions []shivx.Prediction `json:"predictions"`
	// Step is the time that one value stands for, of the subsystem that was asked for.
	Step shivx.Duration `json:"step,omitempty"`
	// Mitigations are what the configuration has for the subsystem that was asked for, in their order.
	Mitigations []mitigationAnswer `json:"mitigations,omitempty"`
}

// mitigationAnswer is one action that the configuration has for a subsystem.
type mitigationAnswer struct {
	Name string `json:"name"`
	// Plugin takes it, or Component is healed.
	Plugin    string `json:"plugin,omitempty"`
	Component string `json:"component,omitempty"`
	Strategy  string `json:"strategy,omitempty"`
	Snapshot  string `json:"snapshot,omitempty"`
	// When is now or quiet.
	When string `json:"when"`
	// Approvals that it needs.
	Approvals int `json:"approvals,omitempty"`
}

// predictions answers with those of all subsystems, or of one and with what would be done.
func (s *Server) predictions(w http.ResponseWriter, r *http.Request, _ holder) {
	out := predictionsAnswer{Host: s.cfg.Host, Predictions: []shivx.Prediction{}}
	asked := r.URL.Query().Get("subsystem")
	if asked != "" {
		one, ok := s.subsystem(w, asked)
		if !ok {
			return
		}
		out.Step = shivx.Duration(one.Step)
		for _, m := range one.Mitigations {
			out.Mitigations = append(out.Mitigations, mitigationOf(m))
		}
	}
	for _, p := range s.parts.Faults.Predictions() {
		if asked == "" || p.Subsystem == asked {
			out.Predictions = append(out.Predictions, p)
		}
	}
	s.answer(w, http.StatusOK, out)
}

func mitigationOf(m config.MitigationRule) mitigationAnswer {
	return mitigationAnswer{
		Name: m.Name, Plugin: m.Plugin, Component: m.Heal, Strategy: m.Strategy, Snapshot: m.Snapshot, When: m.When, Approvals: m.Approval.Required,
	}
}

// subsystem returns a subsystem that is watched, or answers that there is none.
func (s *Server) subsystem(w http.ResponseWriter, name string) (config.Subsystem, bool) {
	one, ok := s.cfg.Forecast.Subsystem(name)
	switch {
	case name == "":
		problem(w, http.StatusBadRequest, "no subsystem is named", "add subsystem=NAME; GET /api/faults/heatmap lists them")
	case !ok:
		problem(w, http.StatusNotFound, "there is no such subsystem", "GET /api/faults/heatmap lists them; forecast.subsystems in the configuration has them")
	}
	return one, ok
}

// The past of a track: how much there is when nothing is said, and at most.
const (
	usualPast   = 24 * time.Hour
	longestPast = 31 * 24 * time.Hour
)

// tracksAnswer is what GET /api/faults/tracks answers.
type tracksAnswer struct {
	Host   string                `json:"host"`
	Tracks []shivx.ForecastTrack `json:"tracks"`
}

func (s *Server) tracks(w http.ResponseWriter, r *http.Request, _ holder) {
	all, ok := s.tracksOf(w, r)
	if !ok {
		return
	}
	for i := range all {
		all[i].Past = append([]shivx.TrackPoint{}, all[i].Past...)
	}
	s.answer(w, http.StatusOK, tracksAnswer{s.cfg.Host, append([]shivx.ForecastTrack{}, all...)})
}

// tracksOf are the tracks that a request asks for; otherwise it is answered.
func (s *Server) tracksOf(w http.ResponseWriter, r *http.Request) ([]shivx.ForecastTrack, bool) {
	q := r.URL.Query()
	one, ok := s.subsystem(w, q.Get("subsystem"))
	if !ok {
		return nil, false
	}
	since := usualPast
	if text := q.Get("since"); text != "" {
		var err error
		if since, err = time.ParseDuration(text); err != nil || since <= 0 || since > longestPast {
			problem(w, http.StatusBadRequest, "since is no time ago", "write 30m or 24h, and at most 744h")
			return nil, false
		}
	}
	all, err := s.parts.Faults.Tracks(r.Context(), one.Name, since)
	if err != nil {
		s.failed(w, "the past cannot be read", err)
		return nil, false
	}
	return all, true
}

// picturePolicy lets an SVG that is opened by itself load and run nothing.
const picturePolicy = "default-src 'none'; style-src 'unsafe-inline'"

// picture draws the risks of the host or, for a subsystem, its worst series or the one that is named.
func (s *Server) picture(w http.ResponseWriter, r *http.Request, _ holder) {
	q := r.URL.Query()
	format := picture.PNG
	if text := q.Get("format"); text != "" {
		var err error
		if format, err = picture.ParseFormat(text); err != nil {
			problem(w, http.StatusBadRequest, "there is no such format", shivx.HintOf(err))
			return
		}
	}
	if body, ok := s.drawn(w, r, format); ok {
		w.Header().Set("Content-Security-Policy", picturePolicy)
		write(w, http.StatusOK, []string{format.MediaType()}, body)
	}
}

func (s *Server) drawn(w http.ResponseWriter, r *http.Request, format picture.Format) (body []byte, ok bool) {
	var err error
	if q := r.URL.Query(); !q.Has("subsystem") {
		body, err = picture.Heatmap(format, s.parts.Faults.Heatmap())
	} else {
		all, ok := s.tracksOf(w, r)
		if !ok {
			return nil, false
		}
		one, ok := s.chosen(all, q.Get("subsystem"), q.Get("series"))
		if !ok {
			problem(w, http.StatusNotFound, "there is no such series", "GET /api/faults/predictions lists the series of a subsystem; there is none before anything was measured")
			return nil, false
		}
		body, err = picture.Track(format, one)
	}
	if err != nil {
		s.failed(w, "the picture could not be made", err)
		return nil, false
	}
	return body, true
}

// chosen is the track of a series or, without a name, of the one that is worst.
func (s *Server) chosen(all []shivx.ForecastTrack, subsystem, series string) (shivx.ForecastTrack, bool) {
	named := series != ""
	if !named {
		for _, r := range s.parts.Faults.Heatmap().Risks {
			if r.Subsystem == subsystem {
				series = r.Series
			}
		}
	}
	i := slices.IndexFunc(all, func(t shivx.ForecastTrack) bool { return t.Prediction.Series == series })
	if i < 0 && !named && len(all) > 0 {
		i = 0 // of none is anything known
	}
	if i < 0 {
		return shivx.ForecastTrack{}, false
	}
	return all[i], true
}
