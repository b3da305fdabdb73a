package logs

import (
	"bytes"
	"net/netip"
)

// peer takes the text that a server wrote for the other side of a connection: an address, with or
// without brackets, or a name. The host it returns is without brackets and the ::ffff: of IPv4 in IPv6;
// ok is false for what can be neither an address nor a name, and for UNKNOWN, which says nothing.
func peer(b []byte) (host []byte, addr netip.Addr, ok bool) {
	if n := len(b); n > 2 && b[0] == '[' && b[n-1] == ']' {
		b = b[1 : n-1]
	}
	if a, ok := parseAddr(b); ok {
		if i := bytes.LastIndexByte(b, ':'); i >= 0 && a.Is4() && bytes.IndexByte(b[i:], '.') > 0 {
			b = b[i+1:]
		}
		return b, a, true
	}
	if len(b) == 0 || len(b) > 255 || string(b) == "UNKNOWN" || !alphanumeric(b[0]) {
		return nil, netip.Addr{}, false
	}
	for _, x := range b {
		if !alphanumeric(x) && x != '.' && x != '-' && x != '_' {
			return nil, netip.Addr{}, false
		}
	}
	return b, netip.Addr{}, true
}

// parseAddr reads an IPv4 or IPv6 address without allocating. IPv4 in IPv6 is unmapped, and a zone is
// dropped: it names an interface of the server, not the source.
func parseAddr(b []byte) (netip.Addr, bool) {
	if a, ok := parse4(b); ok {
		return netip.AddrFrom4(a), true
	}
	if bytes.IndexByte(b, ':') < 0 {
		return netip.Addr{}, false
	}
	if i := bytes.IndexByte(b, '%'); i > 0 && i+1 < len(b) {
		b = b[:i]
	}
	a, ok := parse6(b)
	if !ok {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16(a).Unmap(), true
}

func parse4(b []byte) (a [4]byte, ok bool) {
	if len(b) < 7 || len(b) > 15 {
		return a, false
	}
	field, digits, value := 0, 0, 0
	for _, x := range b {
		switch {
		case x == '.':
			if digits == 0 || field == 3 {
				return a, false
			}
			a[field] = byte(value)
			field, digits, value = field+1, 0, 0
		case x >= '0' && x <= '9':
			if digits > 0 && value == 0 { // 010 is octal to some and decimal to others
				return a, false
			}
			value = value*10 + int(x-'0')
			digits++
			if value > 255 {
				return a, false
			}
		default:
			return a, false
		}
	}
	if field != 3 || digits == 0 {
		return a, false
	}
	a[3] = byte(value)
	return a, true
}

func parse6(b []byte) (a [16]byte, ok bool) {
	n, gap := 0, -1 // bytes written, and where "::" stands
	if len(b) >= 2 && b[0] == ':' {
		if b[1] != ':' {
			return a, false
		}
		gap, b = 0, b[2:]
	}
	for len(b) > 0 {
		value, digits := 0, 0
		for digits < len(b) && digits < 5 && hexDigit(b[digits]) >= 0 {
			value = value<<4 | hexDigit(b[digits])
			digits++
		}
		if digits < len(b) && b[digits] == '.' {
			v4, ok := parse4(b)
			if !ok || n > 12 {
				return a, false
			}
			n += copy(a[n:], v4[:])
			break
		}
		if digits == 0 || digits > 4 || n > 14 {
			return a, false
		}
		a[n], a[n+1] = byte(value>>8), byte(value)
		n += 2
		if b = b[digits:]; len(b) == 0 {
			break
		}
		if b[0] != ':' || len(b) == 1 {
			return a, false
		}
		if b = b[1:]; b[0] == ':' {
			if gap >= 0 {
				return a, false
			}
			gap, b = n, b[1:]
		}
	}
	switch {
	case gap < 0:
		return a, n == 16
	case n > 14:
		return a, false
	}
	copy(a[gap+16-n:], a[gap:n])
	clear(a[gap : gap+16-n])
	return a, true
}

func alphanumeric(x byte) bool {
	return x >= '0' && x <= '9' || x >= 'a' && x <= 'z' || x >= 'A' && x <= 'Z'
}
