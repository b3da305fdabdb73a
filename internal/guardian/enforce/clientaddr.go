package enforce

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/shivx/shivx"
)

// ClientAddr returns the address of the client behind the trusted proxies of a request.
//
// A peer that is not trusted is the client, whatever it says in its headers. Behind a trusted peer
// X-Forwarded-For is read from the right, all its lines in order, and the first address that is not
// trusted is the client; what stands left of it was written by the client and is not looked at. When
// all are trusted the leftmost is the client. Without X-Forwarded-For a single X-Real-IP is believed.
//
// It fails closed: an entry that is no address, before the client is found, is an error, and the
// request is to be refused: letting it pass would let whoever can garble the header in.
func ClientAddr(r *http.Request, trusted []netip.Prefix) (netip.Addr, error) {
	peer, err := parseHop(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, shivx.Hint(fmt.Errorf("the peer's address: %w", err),
			"let the proxy connect over TCP, so that its address can be trusted or not")
	}
	if !contains(trusted, peer) {
		return peer, nil
	}
	chain := r.Header.Values("X-Forwarded-For")
	client, found, err := lastUntrusted(chain, trusted)
	if err != nil {
		return netip.Addr{}, badChain("X-Forwarded-For", err)
	}
	if found {
		return client, nil
	}
	real := r.Header.Values("X-Real-Ip")
	switch len(real) {
	case 0:
		return peer, nil
	case 1:
		client, err := parseHop(real[0])
		if err != nil {
			return netip.Addr{}, badChain("X-Real-IP", err)
		}
		return client, nil
	}
	return netip.Addr{}, badChain("X-Real-IP", fmt.Errorf("it is there %d times", len(real)))
}

func badChain(header string, err error) error {
	return shivx.Hint(fmt.Errorf("the header %s of a trusted proxy: %w", header, err),
		"let the proxy set the header itself, to the address it was connected from")
}

// lastUntrusted walks the lines of X-Forwarded-For from the right; found is false when they hold no
// address at all.
func lastUntrusted(lines []string, trusted []netip.Prefix) (client netip.Addr, found bool, err error) {
	for _, line := range slices.Backward(lines) {
		for rest, more := line, true; more; {
			entry := rest
			if cut := strings.LastIndexByte(rest, ','); cut >= 0 {
				rest, entry = rest[:cut], rest[cut+1:]
			} else {
				more = false
			}
			if entry = trimBlank(entry); entry == "" {
				continue // an empty element of a list says nothing
			}
			if client, err = parseHop(entry); err != nil {
				return netip.Addr{}, false, err
			}
			found = true
			if !contains(trusted, client) {
				return client, true, nil
			}
		}
	}
	return client, found, nil
}

// trimBlank cuts the white space that HTTP allows around an element.
func trimBlank(s string) string { return strings.Trim(s, " \t") }

// parseHop reads "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]" and "[2001:db8::1]:80".
func parseHop(s string) (netip.Addr, error) {
	s = trimBlank(s)
	a, err := netip.ParseAddr(s)
	if err != nil {
		if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
			a, err = netip.ParseAddr(inner[:len(inner)-1])
			if err == nil && !a.Is6() {
				err = errors.New("brackets around what is not IPv6")
			}
		} else {
			var ap netip.AddrPort
			ap, err = netip.ParseAddrPort(s)
			a = ap.Addr()
		}
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%.60q is no address", s)
	}
	return a.Unmap().WithZone(""), nil
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
