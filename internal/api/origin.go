package api

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// hostCheck refuses requests that call a loopback listener by a foreign name. A web page whose
// name its owner lets point to 127.0.0.1 could read the answers otherwise (DNS rebinding).
type hostCheck struct {
	address string
	// public is the host, with its port if any, of the configured public address; "" without one.
	public string
}

// newHostCheck returns nil for a listener others can reach: its names are not known here.
func newHostCheck(listen net.Addr, public string) *hostCheck {
	tcp, ok := listen.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return nil
	}
	c := &hostCheck{address: listen.String()}
	if u, err := url.Parse(public); err == nil {
		c.public = u.Host
	}
	return c
}

// allows says whether a Host header names this machine's loopback. No browser leaves it empty;
// health checks of HTTP/1.0 do.
func (c *hostCheck) allows(host string) bool {
	if c == nil || host == c.address || host == "" || strings.EqualFold(host, c.public) {
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
	b := s.bound.Load()
	if b == nil || b.hosts.allows(r.Host) {
		return true
	}
	problem(w, http.StatusMisdirectedRequest, "this server is not called that",
		"it listens on "+s.Address()+"; call it by an address of the loopback or localhost; for a proxy that keeps the name it is called by, set api.public_url")
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
