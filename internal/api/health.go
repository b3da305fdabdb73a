package api

import (
	"net/http"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/health"
)

// liveAnswer is what GET /api/health/live answers.
type liveAnswer struct {
	Status string `json:"status"`
	Host   string `json:"host"`
}

func (s *Server) live(w http.ResponseWriter, _ *http.Request, _ holder) {
	s.answer(w, http.StatusOK, liveAnswer{"alive", s.cfg.Host})
}

// readyAnswer is what GET /api/health/ready answers.
type readyAnswer struct {
	Ready  bool    `json:"ready"`
	Host   string  `json:"host"`
	Checks []Check `json:"checks"`
}

// ready answers 200 when the agent does its work: it measures, and can record what it does. That
// Temporal is away is told only: levels, features and hooks work without it.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request, _ holder) {
	out := readyAnswer{Ready: true, Host: s.cfg.Host, Checks: s.checks()}
	status := http.StatusOK
	for _, c := range out.Checks {
		if !c.OK && !c.Informs {
			out.Ready, status = false, http.StatusServiceUnavailable
		}
	}
	s.answer(w, status, out)
}

func (s *Server) checks() []Check {
	var out []Check
	if s.parts.Ready != nil {
		out = s.parts.Ready()
	}
	sample := Check{Name: "first_sample", Detail: "nothing was measured yet"}
	monitoring := Check{Name: "monitoring", Detail: "the monitor of the host does not run"}
	if s.parts.Resilience != nil {
		status := s.parts.Resilience.Status()
		if status.Score != nil {
			sample.OK, sample.Detail = true, ""
		}
		if status.MonitoringActive {
			monitoring.OK, monitoring.Detail = true, ""
		}
	}
	return append(out, sample, monitoring)
}

func (s *Server) components(w http.ResponseWriter, _ *http.Request, _ holder) {
	if s.parts.Monitor == nil {
		missing(w, "the state of the components")
		return
	}
	s.answer(w, http.StatusOK, append([]health.ComponentStatus{}, s.parts.Monitor.Status()...))
}

// history serves a route of the metric history.
func (s *Server) history(pattern string) handler {
	ask := s.parts.History[pattern]
	return func(w http.ResponseWriter, r *http.Request, _ holder) {
		if ask == nil {
			missing(w, "the metric history")
			return
		}
		answer, status, err := ask(r)
		if err != nil {
			problem(w, status, err.Error(), shivx.HintOf(err))
			return
		}
		s.answer(w, status, answer)
	}
}
