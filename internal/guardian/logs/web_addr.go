package logs

import (
	"bytes"
	"net/netip"
)

// portRule says whether an address without brackets has a port behind it.
type portRule uint8

const (
	// portMaybe: IPv4 may have one, IPv6 has one only behind brackets.
	portMaybe portRule = iota
	// portAlways: the text behind the last colon is the port, also of IPv6 without brackets.
	portAlways
)

// webHost takes brackets, port and the ::ffff: of IPv4 in IPv6 off what a server wrote for its client,
// and reads the address; the zero Addr when it is a name.
func webHost(b []byte, rule portRule) ([]byte, netip.Addr) {
	if len(b) > 0 && b[0] == '[' {
		if end := bytes.IndexByte(b, ']'); end > 0 {
			b = b[1:end]
		}
	} else if i := bytes.LastIndexByte(b, ':'); i > 0 && (rule == portAlways || bytes.IndexByte(b, ':') == i) {
		b = b[:i]
	}
	a, ok := parseAddr(b)
	if !ok {
		return b, netip.Addr{}
	}
	if i := bytes.LastIndexByte(b, ':'); i >= 0 && a.Is4() && bytes.IndexByte(b[i:], '.') > 0 {
		b = b[i+1:]
	}
	return b, a
}
