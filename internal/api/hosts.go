package api

import (
	"net"
	"net/url"
	"os"
	"strings"
)

// hostLabels are the labels by which an alert names its host, the surest first.
var hostLabels = []string{"host", "nodename", "instance"}

// isHere says whether an alert can be about this host: its first host label names it, or it has
// none. One Alertmanager may post to the agents of all hosts.
func (s *Server) isHere(labels map[string]string) bool {
	for _, label := range hostLabels {
		if named := hostOf(labels[label]); named != "" {
			return s.isThisHost(named)
		}
	}
	return true
}

// hostOf returns the host in a label: a name, an address, either of them with a port, or a URL.
func hostOf(label string) string {
	if u, err := url.Parse(label); err == nil && u.Host != "" {
		return u.Hostname()
	}
	if host, _, err := net.SplitHostPort(label); err == nil {
		return host
	}
	return strings.Trim(label, "[]")
}

// isThisHost compares with the agent's host, the machine's name and the machine's addresses.
func (s *Server) isThisHost(named string) bool {
	if ip := net.ParseIP(named); ip != nil {
		return isOwnAddress(ip)
	}
	if named == "localhost" || sameHost(named, s.cfg.Host) {
		return true
	}
	machine, err := os.Hostname()
	return err == nil && sameHost(named, machine)
}

// sameHost compares names; a short one equals a full one that begins with it.
func sameHost(a, b string) bool {
	a, b = strings.ToLower(strings.TrimSuffix(a, ".")), strings.ToLower(strings.TrimSuffix(b, "."))
	shortA, domainA, _ := strings.Cut(a, ".")
	shortB, domainB, _ := strings.Cut(b, ".")
	return a == b || shortA == shortB && (domainA == "" || domainB == "")
}

func isOwnAddress(ip net.IP) bool {
	if ip.IsLoopback() {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}
