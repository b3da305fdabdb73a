package api

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/enforce"
)

// The routes that bouncers of CrowdSec ask, so that existing ones (firewall, nginx, Traefik, HAProxy,
// cloud) enforce the isolations of this host. Shape: the bouncer part of CrowdSec's local API, v1.

// bouncerWriter marks the answers to bouncers: their client library ends the program when an error has
// no "message".
type bouncerWriter struct{ http.ResponseWriter }

// Unwrap is for http.ResponseController.
func (w bouncerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// decisions are changes since a bouncer asked last; null where there are none, as bouncers expect.
type decisions struct {
	New []decision `json:"new"`
	// Deleted is done first by all bouncers.
	Deleted []decision `json:"deleted"`
}

// bouncerStream answers with what has changed since this bouncer asked last.
//
// What a bouncer misses it never hears of again, so an answer must arrive. One that could not be written
// makes the bouncer unknown, so that it is told everything. One that was written may be lost all the
// same; that it has arrived is certain only when the next request comes over the same connection, which
// a client uses again once it has read the answer. Else the changes are told once more, which bouncers
// do not mind.
func (s *Server) bouncerStream(w http.ResponseWriter, r *http.Request, h holder) {
	if r.Method == http.MethodHead {
		write(w, http.StatusOK, typeJSON, nil) // nothing is told, so nothing counts as told
		return
	}
	f, err := filterOf(r.URL.Query())
	if err != nil {
		problem(w, http.StatusBadRequest, "not a question for decisions", explained(err))
		return
	}
	now, startup := s.now(), r.URL.Query().Get("startup") == "true"
	name, stream := s.bouncerName(r, h), s.parts.Guardian.Stream()
	again := s.bouncers.again(name, r.RemoteAddr, now)
	if again {
		stream.Repeat(name)
	}
	put, dropped, lockdown := stream.Since(name, startup, now)
	begin, end := s.bouncers.lockdown(name, startup, lockdown, again, now)
	d := s.changes(put, dropped, now)
	d.lock(s.lockdownBans(), begin, end && !startup)
	d.New = append(d.New, s.stillHeld(d, lockdown, now)...)
	if err := deliver(w, r, f.apply(d)); err != nil {
		stream.Forget(name)
		s.bouncers.forget(name)
		s.log.Debug("a bouncer did not get its answer; it is told everything next time", "bouncer", name, "error", err)
	}
}

// bouncerName tells bouncers apart: by their token, their program and their address, for a token may
// be shared.
func (s *Server) bouncerName(r *http.Request, h holder) string {
	name := h.name + " " + clip(r.UserAgent(), maxKey)
	if a, err := enforce.ClientAddr(r, s.trusted); err == nil {
		name += " " + a.String()
	}
	return name
}

// changes are the decisions of changed isolations.
func (s *Server) changes(put []shivx.Isolation, dropped []netip.Prefix, now time.Time) (d decisions) {
	for _, p := range dropped {
		d.Deleted = append(d.Deleted, ended(p))
		for _, part := range enforce.Subtract(p, s.allow) {
			if part != p {
				d.Deleted = append(d.Deleted, ended(part))
			}
		}
	}
	for _, i := range put {
		d.New = append(d.New, s.bans(i, now)...)
	}
	return d
}

// lock begins, renews or ends a lockdown.
func (d *decisions) lock(everybody []decision, begin, end bool) {
	if end {
		for _, one := range everybody {
			d.Deleted = append(d.Deleted, ended(one.at))
		}
	}
	if begin {
		d.New = append(d.New, everybody...)
	}
}

// stillHeld are the decisions that are to stay although one of the same value ends: parts of networks
// without whoever is allowed can be the same.
func (s *Server) stillHeld(d decisions, lockdown bool, now time.Time) (out []decision) {
	if len(d.Deleted) == 0 {
		return nil
	}
	known := map[netip.Prefix]bool{}
	for _, one := range d.New {
		known[one.at] = true
	}
	locked := map[netip.Prefix]decision{}
	if lockdown {
		for _, one := range s.lockdownBans() {
			locked[one.at] = one
		}
	}
	for _, gone := range d.Deleted {
		if known[gone.at] {
			continue
		}
		one, held := locked[gone.at]
		if !held {
			one, held = s.ban(gone.at, now)
		}
		if held {
			known[gone.at] = true
			out = append(out, one)
		}
	}
	return out
}

// deliver answers and says whether that could be written.
func deliver(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	body = append(body, '\n')
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["X-Content-Type-Options"] = typeJSON, noStore, noSniff
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, err = w.Write(body)
	return cmp.Or(err, http.NewResponseController(w).Flush(), r.Context().Err())
}

// bouncerDecisions answers who of an address or network is banned; without one, with all bans. The
// answer is null where there are none, as bouncers expect.
func (s *Server) bouncerDecisions(w http.ResponseWriter, r *http.Request, _ holder) {
	f, err := filterOf(r.URL.Query())
	if err != nil {
		problem(w, http.StatusBadRequest, "not a question for decisions", explained(err))
		return
	}
	now := s.now()
	var all []decision
	if f.about.IsValid() && f.around {
		for bits := f.about.Bits(); bits >= 0; bits-- {
			if i, ok := s.parts.Guardian.Isolation(netip.PrefixFrom(f.about.Addr(), bits).Masked()); ok {
				all = append(all, s.bans(i, now)...)
			}
		}
	} else {
		for _, i := range s.parts.Guardian.Isolations() {
			all = append(all, s.bans(i, now)...)
		}
	}
	if s.parts.Guardian.Check(netip.Addr{}).Lockdown {
		all = append(all, s.lockdownBans()...)
	}
	s.answer(w, http.StatusOK, f.list(all))
}

// maxUsage is the largest report of a bouncer about itself, in bytes.
const maxUsage = 1 << 20

// bouncerMetrics takes what newer bouncers tell of their own use, and keeps nothing of it: without an
// answer of success they complain for ever.
func (s *Server) bouncerMetrics(w http.ResponseWriter, r *http.Request, _ holder) {
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxUsage))
	w.WriteHeader(http.StatusCreated)
}
