package api

import (
	"fmt"
	"net/http"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/resilience"
)

// status answers with the host's level and all that goes into it.
func (s *Server) status(w http.ResponseWriter, _ *http.Request, _ holder) {
	if s.parts.Resilience == nil {
		missing(w, "the host's level")
		return
	}
	status := s.parts.Resilience.Status()
	// Lists are never null in an answer.
	status.DegradedFeatures = append([]shivx.Feature{}, status.DegradedFeatures...)
	status.Modules = append([]resilience.Module{}, status.Modules...)
	s.answer(w, http.StatusOK, status)
}

// override holds the host at a level, or ends that.
func (s *Server) override(w http.ResponseWriter, r *http.Request, h holder) {
	var o shivx.OverrideRequest
	if err := decode(w, r, &o); err != nil {
		problem(w, http.StatusBadRequest, "not an override", err.Error())
		return
	}
	s.carryOut(w, r, h, o)
}

// endOverride ends the override in force.
func (s *Server) endOverride(w http.ResponseWriter, r *http.Request, h holder) {
	q := r.URL.Query()
	s.carryOut(w, r, h, shivx.OverrideRequest{By: q.Get("by"), Why: q.Get("why"), End: true})
}

// The longest texts of an override, in bytes.
const (
	maxKey = 128
	maxBy  = 128
	maxWhy = 1000
)

func (s *Server) carryOut(w http.ResponseWriter, r *http.Request, h holder, o shivx.OverrideRequest) {
	if s.parts.Resilience == nil {
		missing(w, "the host's level")
		return
	}
	if !asked(w, h, &o.By, o.Why) {
		return
	}
	key := r.Header.Get("Idempotency-Key")
	if len(key) > maxKey {
		problem(w, http.StatusBadRequest, "the Idempotency-Key is too long", fmt.Sprintf("it may have %d bytes", maxKey))
		return
	}
	if l, err := shivx.ParseLevel(string(o.Level)); err == nil {
		o.Level = l
	}
	if err := o.Check(); err != nil {
		problem(w, http.StatusBadRequest, "not an override", explained(err))
		return
	}
	if !o.NotAfter.IsZero() && s.now().After(o.NotAfter) {
		problem(w, http.StatusConflict, "the request came too late", `it was not to be carried out after its "not_after"; ask again`)
		return
	}
	if key == "" {
		key = newSecret()
	}
	change, err := s.parts.Resilience.Override(r.Context(), "api/"+h.name+"/"+key, o)
	switch {
	case err != nil && o.End && s.parts.Resilience.Status().Override == nil:
		problem(w, http.StatusConflict, "there is no override to end", explained(err))
	case err != nil:
		s.failed(w, "the override was not carried out", err)
	default:
		s.answer(w, http.StatusOK, change)
	}
}

// failed logs an error of a part and answers with it.
func (s *Server) failed(w http.ResponseWriter, title string, err error) {
	s.log.Error(title, "error", err, "hint", shivx.HintOf(err))
	problem(w, http.StatusServiceUnavailable, title, explained(err))
}

// explained is an error with its hint.
func explained(err error) string {
	if hint := shivx.HintOf(err); hint != "" {
		return err.Error() + "; " + hint
	}
	return err.Error()
}
