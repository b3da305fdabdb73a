package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/abuse"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/guardian/ingest"
	"github.com/shivx/shivx/internal/guardian/integrity"
)

// Guardian keeps attackers out of the host.
type Guardian interface {
	Status() guardian.Status
	// Check says whether an address is refused.
	Check(netip.Addr) enforce.Verdict
	Isolations() []shivx.Isolation
	Isolation(netip.Prefix) (shivx.Isolation, bool)
	Isolate(context.Context, shivx.IsolationRequest) (shivx.Isolation, error)
	Extend(context.Context, shivx.IsolationRequest) (shivx.Isolation, error)
	Restore(ctx context.Context, source, by, why string) (shivx.Isolation, error)
	// LetGo ends what was done to a process or cgroup.
	LetGo(ctx context.Context, source, by, why string) error
	SetMode(context.Context, shivx.ModeRequest) (shivx.ModeChange, error)
	Confirm(ctx context.Context, by string) (shivx.ModeChange, error)
	// Report takes events of applications.
	Report([]guardian.Reported)
	// Stream is what bouncers enforce.
	Stream() *enforce.Stream
	// Integrity is nil when no files are watched.
	Integrity() *integrity.Watch
}

var _ Guardian = (*guardian.Guardian)(nil)

// guarding is a route that needs the guardian.
func (s *Server) guarding(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request, h holder) {
		if s.parts.Guardian == nil {
			missing(w, "the guardian")
			return
		}
		next(w, r, h)
	}
}

func (s *Server) guardianStatus(w http.ResponseWriter, _ *http.Request, _ holder) {
	status := s.parts.Guardian.Status()
	// Lists are never null in an answer.
	status.Logs = append([]ingest.LogStatus{}, status.Logs...)
	status.Enforcers = append([]enforce.EnforcerStatus{}, status.Enforcers...)
	status.Isolations = append([]shivx.Isolation{}, status.Isolations...)
	s.answer(w, http.StatusOK, status)
}

// asked completes and checks who asks and why; when that is not as it should be it answers, and returns
// false.
func asked(w http.ResponseWriter, h holder, by *string, why string) bool {
	if *by = strings.TrimSpace(*by); *by == "" {
		*by = h.name
	}
	switch {
	case *by != h.name && h.role < roleAdmin:
		problemOf(w, problemDocument{Type: shivx.ProblemOtherName, Title: "asked for in the name of another", Status: http.StatusForbidden,
			Detail: `only an administrator may do that; leave "by" out`})
		return false
	case len(*by) > maxBy || len(why) > maxWhy:
		problem(w, http.StatusBadRequest, "\"by\" or \"why\" is too long", "one line is enough")
		return false
	}
	return true
}

// askedWithReason is asked for what is not done without a reason.
func askedWithReason(w http.ResponseWriter, h holder, by *string, why string) bool {
	if !asked(w, h, by, why) {
		return false
	}
	if strings.TrimSpace(why) == "" {
		problem(w, http.StatusBadRequest, "it needs a reason", `set "why" to one line`)
		return false
	}
	return true
}

// setMode changes the defense mode.
func (s *Server) setMode(w http.ResponseWriter, r *http.Request, h holder) {
	in := shivx.ModeRequest{ConfirmWithin: shivx.Duration(s.cfg.Guardian.Defense.ConfirmWithin)}
	if err := decode(w, r, &in); err != nil {
		problem(w, http.StatusBadRequest, "not a defense mode", err.Error())
		return
	}
	if !askedWithReason(w, h, &in.By, in.Why) {
		return
	}
	if m, err := shivx.ParseDefenseMode(string(in.Mode)); err == nil {
		in.Mode = m
	}
	c, err := s.parts.Guardian.SetMode(r.Context(), in)
	if err != nil {
		problem(w, http.StatusBadRequest, "the mode was not changed", explained(err))
		return
	}
	s.answer(w, http.StatusOK, c)
}

// confirm keeps a lockdown that would end by itself.
func (s *Server) confirm(w http.ResponseWriter, r *http.Request, h holder) {
	by := r.URL.Query().Get("by")
	if !asked(w, h, &by, "") {
		return
	}
	c, err := s.parts.Guardian.Confirm(r.Context(), by)
	switch {
	case errors.Is(err, guardian.ErrNoLockdown):
		problem(w, http.StatusConflict, "there is nothing to confirm", explained(err))
	case err != nil:
		s.failed(w, "the lockdown was not confirmed", err)
	default:
		s.answer(w, http.StatusOK, c)
	}
}

// letGo ends what was done to a process, an account or a cgroup.
func (s *Server) letGo(w http.ResponseWriter, r *http.Request, source, by, why string) {
	err := s.parts.Guardian.LetGo(r.Context(), source, by, why)
	switch {
	case errors.Is(err, abuse.ErrNotContained), errors.Is(err, guardian.ErrNotIsolated):
		problem(w, http.StatusNotFound, "it is neither frozen nor limited", explained(err))
	case err != nil:
		s.failed(w, "it was not let go", err)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}
