package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/enforce"
)

// isolatedAnswer answers whether a source is kept out.
type isolatedAnswer struct {
	Source string `json:"source"`
	// Refused: because it is isolated, or because of a lockdown.
	Refused bool `json:"refused"`
	// Isolated: it, or a network around it.
	Isolated bool `json:"isolated"`
	// Allowed: the whole of it is on the allow list; nothing refuses it then.
	Allowed   bool             `json:"allowed"`
	Lockdown  bool             `json:"lockdown"`
	Isolation *shivx.Isolation `json:"isolation,omitempty"`
}

// isolated answers at once whether a source is refused.
func (s *Server) isolated(w http.ResponseWriter, r *http.Request, _ holder) {
	p, source, err := asWritten(r.PathValue("source"))
	if err != nil {
		problem(w, http.StatusBadRequest, "not a source", explained(err))
		return
	}
	// Nobody is on the allow list without an address, and only a lockdown refuses him.
	a := isolatedAnswer{Source: source, Lockdown: s.parts.Guardian.Check(netip.Addr{}).Lockdown}
	a.Allowed = slices.ContainsFunc(s.allow, func(allowed netip.Prefix) bool { return covers(allowed, p) })
	if i, ok := s.held(p); ok && !a.Allowed {
		a.Isolated, a.Isolation = true, &i
	}
	a.Refused = !a.Allowed && (a.Isolated || a.Lockdown)
	s.answer(w, http.StatusOK, a)
}

// asWritten reads an address or network, and the source it is counted as. Other than a source the
// address stands for itself alone, also in IPv6: part of a /64 may be on the allow list.
func asWritten(text string) (p netip.Prefix, source string, err error) {
	p, err = shivx.ParseSource(text)
	if err != nil {
		return p, "", err
	}
	source = shivx.SourceString(p)
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		p = netip.PrefixFrom(a, a.BitLen())
	}
	return p, source, nil
}

// covers says whether all of inner lies in outer.
func covers(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// held returns the narrowest isolation in force of a network, or of one around it.
func (s *Server) held(p netip.Prefix) (shivx.Isolation, bool) {
	for bits := p.Bits(); bits >= 0; bits-- {
		if i, ok := s.parts.Guardian.Isolation(netip.PrefixFrom(p.Addr(), bits).Masked()); ok {
			return i, true
		}
	}
	return shivx.Isolation{}, false
}

// isolationsAnswer lists those in force, the newest first.
type isolationsAnswer struct {
	Total      int               `json:"total"`
	Isolations []shivx.Isolation `json:"isolations"`
	// Next is the "after" of the next page; "" when this is the last one.
	Next string `json:"next,omitempty"`
}

// pageSize is how many isolations one answer has.
const pageSize = 1000

func (s *Server) listIsolations(w http.ResponseWriter, r *http.Request, _ holder) {
	all := s.parts.Guardian.Isolations()
	a := isolationsAnswer{Total: len(all)}
	if after := r.URL.Query().Get("after"); after != "" {
		since, source, err := readCursor(after)
		if err != nil {
			problem(w, http.StatusBadRequest, "not a page", err.Error())
			return
		}
		all = slices.DeleteFunc(all, func(i shivx.Isolation) bool {
			at := i.Since.UnixNano()
			return at > since || at == since && i.Source <= source
		})
	}
	a.Isolations = append([]shivx.Isolation{}, all[:min(len(all), pageSize)]...)
	if len(all) > pageSize {
		last := a.Isolations[pageSize-1]
		a.Next = fmt.Sprintf("%d,%s", last.Since.UnixNano(), last.Source)
	}
	body, err := json.Marshal(a)
	if err != nil {
		s.failed(w, "the isolations could not be encoded", err)
		return
	}
	newDocument(append(body, '\n')).serve(w, r)
}

// readCursor reads where a page ends: it holds also when the isolation there has ended meanwhile.
func readCursor(after string) (since int64, source string, err error) {
	number, source, found := strings.Cut(after, ",")
	since, err = strconv.ParseInt(number, 10, 64)
	if err != nil || !found {
		return 0, "", fmt.Errorf(`%q is not the "next" of an answer`, clip(after, maxKey))
	}
	return since, source, nil
}

// isolate isolates the source of the body.
func (s *Server) isolate(w http.ResponseWriter, r *http.Request, h holder) {
	var in shivx.IsolationRequest
	if err := decode(w, r, &in); err != nil {
		problem(w, http.StatusBadRequest, "not an isolation", err.Error())
		return
	}
	if asked(w, h, &in.By, in.Why) && s.staysIn(w, r, in.Source) {
		i, err := s.parts.Guardian.Isolate(r.Context(), in)
		s.isolationAnswer(w, i, err)
	}
}

// extend changes the term of the source in the path.
func (s *Server) extend(w http.ResponseWriter, r *http.Request, h holder) {
	var in shivx.IsolationRequest
	if err := decode(w, r, &in); err != nil {
		problem(w, http.StatusBadRequest, "not an extension", err.Error())
		return
	}
	in.Source = r.PathValue("source")
	if asked(w, h, &in.By, in.Why) {
		i, err := s.parts.Guardian.Extend(r.Context(), in)
		s.isolationAnswer(w, i, err)
	}
}

// staysIn refuses to isolate whoever asks for it: they could not take it back.
func (s *Server) staysIn(w http.ResponseWriter, r *http.Request, source string) bool {
	p, err := shivx.ParseSource(source)
	if err != nil {
		return true // the guardian says what is wrong with it
	}
	from, err := enforce.ClientAddr(r, s.trusted)
	if err != nil || !p.Contains(from) || s.parts.Guardian.Check(from).Allowed {
		return true
	}
	problem(w, http.StatusConflict, "that would keep you out",
		fmt.Sprintf("you ask from %s; ask from the host itself, or put your address in guardian.allow", from))
	return false
}

// restore lets the source in the path go, or a process, an account or a cgroup.
func (s *Server) restore(w http.ResponseWriter, r *http.Request, h holder) {
	by, why := r.URL.Query().Get("by"), r.URL.Query().Get("why")
	if !asked(w, h, &by, why) {
		return
	}
	source := r.PathValue("source")
	switch kind, _, _ := strings.Cut(source, ":"); kind {
	case "process", "user", "cgroup":
		s.letGo(w, r, source, by, why)
	default:
		i, err := s.parts.Guardian.Restore(r.Context(), source, by, why)
		s.isolationAnswer(w, i, err)
	}
}

func (s *Server) isolationAnswer(w http.ResponseWriter, i shivx.Isolation, err error) {
	switch {
	case err == nil:
		s.answer(w, http.StatusOK, i)
	case errors.Is(err, guardian.ErrNotIsolated):
		problem(w, http.StatusNotFound, "it is not isolated", explained(err))
	case errors.Is(err, guardian.ErrAllowed):
		problem(w, http.StatusConflict, "it is on the allow list", explained(err))
	default:
		problem(w, http.StatusBadRequest, "not carried out", explained(err))
	}
}
