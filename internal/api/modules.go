package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/modules"
	"github.com/shivx/shivx/internal/resilience"
)

// registration is the body of POST /api/modules.
type registration struct {
	Name     string         `json:"name"`
	Critical bool           `json:"critical"`
	Lease    shivx.Duration `json:"lease"`
}

// beat is the body of a heartbeat; without one the program is well.
type beat struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// modulesAnswer is what GET /api/modules answers.
type modulesAnswer struct {
	Modules []resilience.Module `json:"modules"`
}

func (s *Server) listModules(w http.ResponseWriter, _ *http.Request, _ holder) {
	if s.parts.Modules == nil {
		missing(w, "the list of modules")
		return
	}
	s.answer(w, http.StatusOK, modulesAnswer{append([]resilience.Module{}, s.parts.Modules.List()...)})
}

// granted refuses whoever may not keep a module. The answer does not depend on whether it exists.
func granted(w http.ResponseWriter, h holder, module string) bool {
	if h.keeps(module) {
		return true
	}
	detail := h.name + " may keep no module"
	if len(h.modules) > 0 {
		detail = h.name + " may keep " + strings.Join(h.modules, ", ")
	}
	problem(w, http.StatusForbidden, "the token is not for this module", detail+"; api.tokens[].modules in the agent's configuration grants more")
	return false
}

func (s *Server) registerModule(w http.ResponseWriter, r *http.Request, h holder) {
	if s.parts.Modules == nil {
		missing(w, "the list of modules")
		return
	}
	var in registration
	if err := decode(w, r, &in); err != nil {
		problem(w, http.StatusBadRequest, "not a registration", err.Error())
		return
	}
	if !granted(w, h, in.Name) {
		return
	}
	if err := s.parts.Modules.Register(r.Context(), in.Name, in.Critical, in.Lease.Std()); err != nil {
		s.moduleFailed(w, "the module was not registered", err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) heartbeat(w http.ResponseWriter, r *http.Request, h holder) {
	if s.parts.Modules == nil {
		missing(w, "the list of modules")
		return
	}
	if !granted(w, h, r.PathValue("name")) {
		return
	}
	failing, err := readBeat(w, r)
	if err != nil {
		problem(w, http.StatusBadRequest, "not a heartbeat", err.Error())
		return
	}
	if err := s.parts.Modules.Heartbeat(r.Context(), r.PathValue("name"), failing); err != nil {
		s.moduleFailed(w, "the heartbeat was not taken", err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// readBeat returns why the program does not do well; "" when it does.
func readBeat(w http.ResponseWriter, r *http.Request) (failing string, err error) {
	var b beat
	if err := decode(w, r, &b); errors.Is(err, io.EOF) { // no body at all
		return "", nil
	} else if err != nil {
		return "", err
	}
	message := clip(strings.ToValidUTF8(b.Message, "�"), maxReason)
	switch {
	case b.Status == "ok":
		return "", nil
	case b.Status != "failing":
		return "", fmt.Errorf("status is %q; write \"ok\" or \"failing\"", clip(b.Status, maxKey))
	case strings.TrimSpace(message) == "":
		return "the program says that it fails, and not why", nil
	}
	return message, nil
}

func (s *Server) removeModule(w http.ResponseWriter, r *http.Request, h holder) {
	if s.parts.Modules == nil {
		missing(w, "the list of modules")
		return
	}
	name := r.PathValue("name")
	if !granted(w, h, name) {
		return
	}
	if err := s.parts.Modules.Remove(r.Context(), name); err != nil {
		s.moduleFailed(w, "the module was not removed", err)
		return
	}
	s.log.Info("a module was removed", "module", name, "by", h.name)
	w.WriteHeader(http.StatusNoContent)
}

// moduleFailed tells the errors apart that the sender can do something about.
func (s *Server) moduleFailed(w http.ResponseWriter, title string, err error) {
	status := 0
	switch {
	case errors.Is(err, modules.ErrUnknown):
		status = http.StatusNotFound
	case errors.Is(err, modules.ErrInvalid):
		status = http.StatusBadRequest
	case errors.Is(err, modules.ErrConfigured), errors.Is(err, modules.ErrFull):
		status = http.StatusConflict
	default:
		s.failed(w, title, err)
		return
	}
	problem(w, status, title, explained(err))
}
