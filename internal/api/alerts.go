package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

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

// alerts takes Alertmanager's webhook. When an alert cannot be recorded the others are taken all
// the same, and the answer is an error, so that Alertmanager sends them again; what was recorded
// counts once.
func (s *Server) alerts(w http.ResponseWriter, r *http.Request, _ holder) {
	if s.parts.Report == nil {
		missing(w, "the record of findings")
		return
	}
	var hook webhook
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAlerts)).Decode(&hook); err != nil {
		problem(w, http.StatusBadRequest, "not an Alertmanager webhook", err.Error())
		return
	}
	if hook.Version != "4" {
		problem(w, http.StatusBadRequest, "unknown webhook version", fmt.Sprintf("version %q; Alertmanager sends \"4\"", hook.Version))
		return
	}
	out, failed := alertsAnswer{Accepted: []string{}}, 0
	for _, a := range hook.Alerts {
		c, ok := s.component(a.Labels)
		if !ok {
			out.Unmatched = append(out.Unmatched, clip(a.Labels["alertname"], maxAlertName))
			continue
		}
		if err := s.parts.Report(r.Context(), s.finding(a, c)); err != nil {
			s.log.Error("an alert was not recorded", "component", c.Name, "error", err)
			failed++
			continue
		}
		out.Accepted = append(out.Accepted, c.Name)
	}
	if failed > 0 {
		problem(w, http.StatusServiceUnavailable, fmt.Sprintf("%d of %d alerts could not be recorded", failed, len(hook.Alerts)), "send them again")
		return
	}
	s.answer(w, http.StatusOK, out)
}

// component finds the component an alert is about. Without an entry in the configuration that
// says more, an alert that names another host is for that host's agent.
func (s *Server) component(labels map[string]string) (config.Component, bool) {
	for _, c := range s.cfg.Components {
		if len(c.Alerts) == 0 && labels["component"] == c.Name && s.isHere(labels) {
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

// How many bytes of an alert's texts go into a finding, which goes into the ledger and into
// Temporal's histories; both refuse what is huge.
const (
	maxReason      = 1 << 10
	maxAlertName   = 200
	maxFingerprint = 128
)

// clip cuts text to at most n bytes, not inside a character.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
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
	name := clip(a.Labels["alertname"], maxAlertName)
	reason := a.Annotations["summary"]
	if reason == "" {
		reason = a.Annotations["description"]
	}
	if reason == "" {
		reason = "no summary"
	}
	return shivx.Finding{
		ID:     fmt.Sprintf("alert/%s/%s/%d/%s/%d", c.Name, clip(a.Fingerprint, maxFingerprint), a.StartsAt.Unix(), state, now.Unix()/60),
		Target: c.Target(s.cfg.Host), Source: shivx.SourceAlert, Signal: name,
		Reason:   clip(fmt.Sprintf("alert %s %s: %s", name, state, reason), maxReason),
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
