package api

import (
	"fmt"
	"net/http"
	"strings"
)

// open marks a route that asks for no token.
const open role = 0

// route is one route of the interface; docs/openapi.yaml has the same ones.
type route struct {
	method, path string
	role         role
	handle       handler
}

func (s *Server) routes() []route {
	return []route{
		{"GET", "/api/health/live", open, s.live},
		{"GET", "/api/health/ready", roleApp, s.ready},
		{"GET", "/api/components", roleViewer, s.components},
		{"POST", "/api/alerts", roleOperator, s.alerts},

		{"GET", "/api/resilience/status", roleViewer, s.status},
		{"POST", "/api/resilience/override", roleOperator, s.override},
		{"DELETE", "/api/resilience/override", roleOperator, s.endOverride},
		{"GET", "/api/features", roleApp, s.listFeatures},
		{"GET", "/api/features/{name}", roleApp, s.feature},
		{"POST", "/ofrep/v1/evaluate/flags", roleApp, s.evaluateAll},
		{"POST", "/ofrep/v1/evaluate/flags/{key}", roleApp, s.evaluate},

		{"GET", "/api/modules", roleViewer, s.listModules},
		{"POST", "/api/modules", roleApp, s.registerModule},
		{"PUT", "/api/modules/{name}/heartbeat", roleApp, s.heartbeat},
		{"DELETE", "/api/modules/{name}", roleApp, s.removeModule},

		{"GET", "/api/guardian/status", roleViewer, s.guarding(s.guardianStatus)},
		{"GET", checkPath, roleApp, s.guarding(s.check)},
		{"POST", "/api/guardian/events", roleApp, s.guarding(s.report)},
		{"GET", "/api/guardian/isolations", roleViewer, s.guarding(s.listIsolations)},
		{"POST", "/api/guardian/isolations", roleOperator, s.guarding(s.isolate)},
		{"GET", "/api/guardian/isolations/{source...}", roleApp, s.guarding(s.isolated)},
		{"PUT", "/api/guardian/isolations/{source...}", roleOperator, s.guarding(s.extend)},
		{"DELETE", "/api/guardian/isolations/{source...}", roleOperator, s.guarding(s.restore)},
		{"PUT", "/api/guardian/mode", roleOperator, s.guarding(s.setMode)},
		{"POST", "/api/guardian/mode/confirm", roleOperator, s.guarding(s.confirm)},
		{"GET", "/api/guardian/baseline", roleViewer, s.watching(s.baseline)},
		{"POST", "/api/guardian/baseline", roleOperator, s.watching(s.rebase)},
		{"POST", "/api/guardian/baseline/verify", roleOperator, s.watching(s.verifyBaseline)},
		{"POST", "/api/guardian/baseline/tickets", roleOperator, s.watching(s.openTicket)},
		{"DELETE", "/api/guardian/baseline/tickets/{id}", roleOperator, s.watching(s.closeTicket)},
		{"GET", "/v1/decisions", roleApp, s.guarding(s.bouncerDecisions)},
		{"GET", "/v1/decisions/stream", roleApp, s.guarding(s.bouncerStream)},
		{"POST", "/v1/usage-metrics", roleApp, s.guarding(s.bouncerMetrics)},

		{"GET", "/api/faults/heatmap", roleViewer, s.foreseeing(s.heatmap)},
		{"GET", "/api/faults/predictions", roleViewer, s.foreseeing(s.predictions)},
		{"GET", "/api/faults/tracks", roleViewer, s.foreseeing(s.tracks)},
		{"GET", "/api/faults/picture", roleViewer, s.foreseeing(s.picture)},

		{"GET", "/metrics", roleViewer, plain(s.parts.Metrics)},
		{"GET", "/api/metrics/names", roleViewer, s.history("GET /api/metrics/names")},
		{"GET", "/api/metrics/query", roleViewer, s.history("GET /api/metrics/query")},

		{"POST", "/api/login-links", roleOperator, s.newLoginLink},
		{"GET", "/login", open, unnamed(s.askLogin)},
		{"POST", "/login", open, unnamed(s.login)},
		{"POST", "/logout", roleApp, s.logout},
		{"GET", "/{$}", roleViewer, s.page},
		{"GET", "/assets/{file}", roleViewer, asset},
	}
}

// Handler returns all routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		if r.role == open {
			mux.HandleFunc(r.method+" "+r.path, s.unguarded(r.handle))
			continue
		}
		mux.HandleFunc(r.method+" "+r.path, s.guarded(r.role, r.handle))
	}
	mux.HandleFunc("/", s.guarded(roleApp, func(w http.ResponseWriter, r *http.Request, _ holder) { elsewhere(mux, w, r) }))
	check := s.guarded(roleApp, s.guarding(s.check))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == checkPath || strings.HasPrefix(path, checkPath+"/"):
			check(w, r) // with any method and any rest of the path, which the mux would clean by a redirect
		case strings.HasPrefix(path, "/v1/"):
			mux.ServeHTTP(bouncerWriter{w}, r)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func (s *Server) unguarded(next handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.called(w, r) {
			next(w, r, holder{})
		}
	}
}

// plain is a route that does not care who asks.
func plain(h http.Handler) handler { return unnamed(h.ServeHTTP) }

func unnamed(h http.HandlerFunc) handler {
	return func(w http.ResponseWriter, r *http.Request, _ holder) { h(w, r) }
}

// elsewhere answers a request no route takes: another method may have one.
func elsewhere(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		other := *r
		other.Method = method
		if _, pattern := mux.Handler(&other); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		problem(w, http.StatusNotFound, "there is no such route", "docs/openapi.yaml lists them")
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	problem(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s is not for this route", r.Method), "it takes "+strings.Join(allowed, ", "))
}

// missing answers for a part of the agent that is not there.
func missing(w http.ResponseWriter, what string) {
	problem(w, http.StatusServiceUnavailable, what+" is not available", "the agent's log says why")
}
