package api

import (
	"net/http"
	"slices"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/integrity"
)

// watching is a route that needs watched files.
func (s *Server) watching(next func(http.ResponseWriter, *http.Request, holder, *integrity.Watch)) handler {
	return s.guarding(func(w http.ResponseWriter, r *http.Request, h holder) {
		watch := s.parts.Guardian.Integrity()
		if watch == nil {
			problem(w, http.StatusNotFound, "no files are watched", "name some in guardian.integrity.paths of the agent's configuration")
			return
		}
		next(w, r, h, watch)
	})
}

// longest is how long an answer may take for which all watched files are read.
const longest = 2 * time.Hour

// patiently lets a handler work for longer than the server lets others, whose answers could not be
// written any more then. A writer without a deadline needs no change.
func patiently(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(longest))
}

func (s *Server) baseline(w http.ResponseWriter, _ *http.Request, _ holder, watch *integrity.Watch) {
	s.answer(w, http.StatusOK, watch.Status())
}

// verifyBaseline reads everything that is watched.
func (s *Server) verifyBaseline(w http.ResponseWriter, r *http.Request, _ holder, watch *integrity.Watch) {
	patiently(w)
	report, err := watch.Verify(r.Context())
	if err != nil {
		s.failed(w, "the files could not be verified", err)
		return
	}
	report.Findings = append([]integrity.Finding{}, report.Findings...)
	s.answer(w, http.StatusOK, report)
}

// consent is the body of what a person answers for.
type consent struct {
	By  string `json:"by"`
	Why string `json:"why"`
}

// rebase takes what is there now for the new baseline.
func (s *Server) rebase(w http.ResponseWriter, r *http.Request, h holder, watch *integrity.Watch) {
	var in consent
	if err := decode(w, r, &in); err != nil {
		problem(w, http.StatusBadRequest, "not a new baseline", err.Error())
		return
	}
	if !askedWithReason(w, h, &in.By, in.Why) {
		return
	}
	patiently(w)
	summary, err := watch.Rebase(r.Context(), in.By, in.Why)
	if err != nil {
		s.failed(w, "there is no new baseline", err)
		return
	}
	s.answer(w, http.StatusOK, summary)
}

// ticketRequest announces changes.
type ticketRequest struct {
	Paths []string `json:"paths"`
	// For is how long, from now on.
	For shivx.Duration `json:"for"`
	By  string         `json:"by"`
	Why string         `json:"why"`
}

func (s *Server) openTicket(w http.ResponseWriter, r *http.Request, h holder, watch *integrity.Watch) {
	var in ticketRequest
	if err := decode(w, r, &in); err != nil {
		problem(w, http.StatusBadRequest, "not a ticket", err.Error())
		return
	}
	if !askedWithReason(w, h, &in.By, in.Why) {
		return
	}
	if in.For <= 0 {
		problem(w, http.StatusBadRequest, "not a ticket", `set "for" to how long, such as "30m"`)
		return
	}
	patiently(w)
	ticket, err := watch.OpenTicket(r.Context(), integrity.Ticket{
		Paths: in.Paths, Until: s.now().Add(in.For.Std()).UTC(), By: in.By, Why: in.Why})
	if err != nil {
		problem(w, http.StatusBadRequest, "the ticket was not opened", explained(err))
		return
	}
	s.answer(w, http.StatusCreated, ticket)
}

// closeTicket takes what changed under a ticket into the baseline.
func (s *Server) closeTicket(w http.ResponseWriter, r *http.Request, h holder, watch *integrity.Watch) {
	by := r.URL.Query().Get("by")
	if !asked(w, h, &by, "") {
		return
	}
	id := r.PathValue("id")
	if !slices.ContainsFunc(watch.Status().Tickets, func(t integrity.Ticket) bool { return t.ID == id }) {
		problem(w, http.StatusNotFound, "there is no such ticket", "GET /api/guardian/baseline lists those that are open")
		return
	}
	patiently(w)
	summary, err := watch.CloseTicket(r.Context(), id, by)
	if err != nil {
		s.failed(w, "the ticket was not closed", err)
		return
	}
	s.answer(w, http.StatusOK, summary)
}
