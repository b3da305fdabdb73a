package api

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/enforce"
)

// withLoopback reads a list of the configuration, which was checked, and adds this host.
func withLoopback(list []string) []netip.Prefix {
	out := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, s := range list {
		if p, err := shivx.ParseSource(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// checkPath is that of the forward-auth.
const checkPath = "/api/guardian/check"

// Values of the header X-Shivx-Decision and the body, made once.
var (
	letThrough = []string{"allowed"}
	isIsolated = []string{"isolated"}
	isLockdown = []string{"lockdown"}
	isGarbled  = []string{"unreadable address"}
	isStranger = []string{"proxy not trusted"}
	isNameless = []string{"no client named"}

	bodyRefused = []byte("refused\n")
	typePlain   = []string{"text/plain; charset=utf-8"}
)

// check is the forward-auth of proxies (nginx auth_request, Traefik, Caddy, Envoy, HAProxy): 200 lets a
// request through, 403 refuses it. Whatever the method, and whatever stands behind the path, the answer
// is the same: some proxies ask with those of the request.
//
// It is asked by a proxy, which must be on this host or in guardian.trusted_proxies, and says who its
// client is in X-Forwarded-For or X-Real-IP. It fails closed: without a client that can be read there is
// nobody to let through, and a proxy that is set up wrong is noticed at its first request and not after
// the first attack. Where both headers are there, one may be the client's own work, passed on by a proxy
// that sets the other: nobody passes whom either of them refuses.
func (s *Server) check(w http.ResponseWriter, r *http.Request, _ holder) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !trusts(s.trusted, peer.Addr().Unmap().WithZone("")) {
		s.misled(r, "forward-auth is asked by a proxy that is not trusted; all its requests are refused", "name it in guardian.trusted_proxies")
		turnAway(w, isStranger)
		return
	}
	if nameless(r.Header["X-Forwarded-For"]) && nameless(r.Header["X-Real-Ip"]) {
		s.misled(r, "forward-auth is asked without a client; all its requests are refused",
			"let the proxy set X-Forwarded-For or X-Real-IP to the address it was connected from")
		turnAway(w, isNameless)
		return
	}
	addr, err := enforce.ClientAddr(r, s.trusted)
	if err != nil {
		turnAway(w, isGarbled)
		return
	}
	v := s.parts.Guardian.Check(addr)
	for _, text := range r.Header["X-Real-Ip"] {
		other, err := netip.ParseAddr(text)
		if other = other.Unmap().WithZone(""); err == nil && !v.Refused && other != addr && !trusts(s.trusted, other) {
			v = s.parts.Guardian.Check(other)
		}
	}
	switch {
	case !v.Refused:
		h := w.Header()
		h["Cache-Control"], h["X-Shivx-Decision"] = noStore, letThrough
		w.WriteHeader(http.StatusOK)
	case v.Lockdown:
		turnAway(w, isLockdown)
	default:
		turnAway(w, isIsolated)
	}
}

// nameless says whether the lines of a header name nobody.
func nameless(lines []string) bool {
	for _, line := range lines {
		if strings.Trim(line, ", \t") != "" {
			return false
		}
	}
	return true
}

func trusts(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func turnAway(w http.ResponseWriter, decision []string) {
	h := w.Header()
	h["Cache-Control"], h["X-Shivx-Decision"] = noStore, decision
	h["Content-Type"], h["X-Content-Type-Options"] = typePlain, noSniff
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write(bodyRefused) // the proxy is gone when this fails
}

// misledEvery is how often a proxy that is set up wrong is told of.
const misledEvery = time.Minute

// misled logs that a proxy is set up wrong.
func (s *Server) misled(r *http.Request, what, hint string) {
	now := s.now().UnixNano()
	if last := s.misledAt.Load(); now-last >= int64(misledEvery) && s.misledAt.CompareAndSwap(last, now) {
		s.log.Error(what, "peer", r.RemoteAddr, "hint", hint)
	}
}
