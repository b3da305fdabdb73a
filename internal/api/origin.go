package api

import (
	"net"
	"net/http"
	"strings"
)

// hostCheck refuses requests that call a loopback listener by a foreign name. A web page whose
// name its owner lets point to 127.0.0.1 could read the answers otherwise (DNS rebinding).
type hostCheck struct{ address string }

// newHostCheck returns nil for a listener others can reach: its names are not known here.
func newHostCheck(listen net.Addr) *hostCheck {
	tcp, ok := listen.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return nil
	}
	return &hostCheck{listen.String()}
}

// allows says whether a Host header names this machine's loopback. No browser leaves it empty;
// health checks of HTTP/1.0 do.
func (c *hostCheck) allows(host string) bool {
	if c == nil || host == c.address || host == "" {
		return true
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	ip := net.ParseIP(name)
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}

// called refuses a request that calls the server by a name that is not its own.
func (s *Server) called(w http.ResponseWriter, r *http.Request) bool {
	if s.hosts.allows(r.Host) {
		return true
	}
	problem(w, http.StatusMisdirectedRequest, "this server is not called that",
		"it listens on "+s.Address()+"; call it by an address of the loopback or localhost, also through a proxy")
	return false
}

// sameOrigin refuses what a page of another origin sends with the cookie of a session.
func (s *Server) sameOrigin(w http.ResponseWriter, r *http.Request) bool {
	if err := s.origins.Check(r); err != nil {
		problem(w, http.StatusForbidden, "sent by a page of another origin", err.Error())
		return false
	}
	return true
}
