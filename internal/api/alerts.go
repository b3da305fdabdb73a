package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// maxAlerts is the largest webhook body read, in bytes.
const maxAlerts = 4 << 20

// webhook is what Alertmanager sends, version 4, as far as it is used here.
type webhook struct {
	Version string  `json:"version"`
	Alerts  []alert `json:"alerts"`
}

type alert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	Fingerprint string            `json:"fingerprint"`
}

// alertsAnswer says what became of each alert.
type alertsAnswer struct {
	Accepted []string `json:"accepted"`
	// Unmatched alerts belong to no component of this host.
	Unmatched []string `json:"unmatched,omitempty"`
}

// alerts takes Alertmanager's webhook. An alert that cannot be recorded is answered with an
// error, so that Alertmanager sends it again.
func (s *Server) alerts(w http.ResponseWriter, r *http.Request) {
	var hook webhook
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAlerts)).Decode(&hook); err != nil {
		problem(w, http.StatusBadRequest, "not an Alertmanager webhook", err.Error())
		return
	}
	if hook.Version != "4" {
		problem(w, http.StatusBadRequest, "unknown webhook version", fmt.Sprintf("version %q; Alertmanager sends \"4\"", hook.Version))
		return
	}
	out := alertsAnswer{Accepted: []string{}}
	for _, a := range hook.Alerts {
		c, ok := s.component(a.Labels)
		if !ok {
			out.Unmatched = append(out.Unmatched, a.Labels["alertname"])
			continue
		}
		if err := s.report(r.Context(), s.finding(a, c)); err != nil {
			s.log.Error("an alert was not recorded", "component", c.Name, "error", err)
			problem(w, http.StatusServiceUnavailable, "the alert could not be recorded", "send it again")
			return
		}
		out.Accepted = append(out.Accepted, c.Name)
	}
	answer(w, http.StatusOK, out)
}

// component finds the component an alert is about.
func (s *Server) component(labels map[string]string) (config.Component, bool) {
	for _, c := range s.cfg.Components {
		if len(c.Alerts) == 0 && labels["component"] == c.Name {
			return c, true
		}
		for _, want := range c.Alerts {
			if matches(labels, want) {
				return c, true
			}
		}
	}
	return config.Component{}, false
}

func matches(labels, want map[string]string) bool {
	for k, v := range want {
		if labels[k] != v {
			return false
		}
	}
	return len(want) > 0
}

// reminderAfter is how long after its beginning an alert that still fires counts as seen anew.
// It is less than the shortest time after which Alertmanager repeats itself by default.
const reminderAfter = 4 * time.Minute

// finding turns an alert into a finding. Its id holds the minute in which it came: copies from
// several Alertmanagers count once, a repetition while it still fires is a reminder. What an
// alert saw, it saw when it began: one that comes late is not a new fault.
func (s *Server) finding(a alert, c config.Component) shivx.Finding {
	now := s.now()
	observed := now
	if age := now.Sub(a.StartsAt); age > 0 && age < reminderAfter && a.Status != "resolved" {
		observed = a.StartsAt
	}
	state := "firing"
	if a.Status == "resolved" {
		state = "resolved"
	}
	reason := a.Annotations["summary"]
	if reason == "" {
		reason = a.Annotations["description"]
	}
	if reason == "" {
		reason = "no summary"
	}
	return shivx.Finding{
		ID:     fmt.Sprintf("alert/%s/%s/%d/%s/%d", c.Name, a.Fingerprint, a.StartsAt.Unix(), state, now.Unix()/60),
		Target: c.Target(s.cfg.Host), Source: shivx.SourceAlert, Signal: a.Labels["alertname"],
		Reason:   fmt.Sprintf("alert %s %s: %s", a.Labels["alertname"], state, reason),
		Severity: severity(a.Labels["severity"]), ObservedAt: observed, Resolved: a.Status == "resolved",
	}
}

func severity(label string) shivx.Severity {
	switch label {
	case "critical", "page":
		return shivx.SeverityCritical
	case "warning":
		return shivx.SeverityWarning
	case "info", "none":
		return shivx.SeverityInfo
	default:
		return shivx.SeverityError
	}
}
