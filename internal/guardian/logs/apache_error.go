package logs

import (
	"bytes"
	"net/netip"
)

// maxApacheGroups is more than any of Apache's own error log formats writes in brackets before the
// message.
const maxApacheGroups = 10

// apacheError reads the error log of Apache 2.2 and 2.4. The client is believed only in the field
// [client …] among the fields at the beginning, before any word that a client has chosen; Apache
// escapes line breaks and quotes.
type apacheError struct {
	clock      clock
	aggressive bool
}

// newApacheError reads the error log of Apache in its default formats, also by way of syslog.
func newApacheError(o Options) (Parser, error) {
	return &apacheError{clock: newClock(o), aggressive: o.Mode == modeAggressive}, nil
}

// apacheHeader is what stands before a message.
type apacheHeader struct {
	at     int64
	module []byte
	host   []byte
	addr   netip.Addr
}

// Parse implements Parser.
func (p *apacheError) Parse(line []byte, events []Event) []Event {
	h, msg, ok := p.header(line)
	if !ok {
		return events
	}
	e, ok := p.event(h, apacheMessage(msg))
	if !ok {
		return events
	}
	e.At, e.Host, e.Addr, e.Count = h.at, h.host, h.addr, 1
	return append(events, e)
}

// header reads "[Sat Jul 20 21:37:32.266605 2013] [auth_basic:error] [pid 17512:tid 1401] [client
// 127.0.0.1:51386] ", of which all but the client may be missing.
func (p *apacheError) header(b []byte) (h apacheHeader, msg []byte, ok bool) {
	if len(b) > 0 && b[0] != '[' {
		r, tagged := p.clock.record(b)
		if !tagged {
			return h, nil, false
		}
		h.at, b = r.at, r.msg
	}
	for range maxApacheGroups {
		switch {
		case begins(b, "[client "), begins(b, "[remote "):
			return h.client(b[len("[client "):])
		case len(b) > 0 && b[0] == '[':
			group, rest, closed := cutAt(b[1:], ']')
			if !closed {
				return h, nil, false
			}
			p.group(&h, group)
			b = trimLeft(rest)
		default:
			n := apachePreamble(b)
			if n == 0 {
				return h, nil, false
			}
			b = b[n:]
		}
	}
	return h, nil, false
}

func (p *apacheError) group(h *apacheHeader, group []byte) {
	if begins(group, "pid ") || begins(group, "tid ") {
		return
	}
	if at, n := p.clock.leading(group); n > 0 {
		h.at = at
		return
	}
	if module, _, found := cutAt(group, ':'); found && h.module == nil {
		h.module = module
	}
}

// client reads "192.0.2.1:51386] message", "[2001:db8::1]:51386] message" and "2001:db8::1] message". Apache
// 2.4, which names the module, writes the port behind IPv6 without brackets, too: "2001:db8::1:51386] message".
func (h apacheHeader) client(b []byte) (apacheHeader, []byte, bool) {
	from := 0
	if len(b) > 0 && b[0] == '[' {
		from = bytes.IndexByte(b, ']') + 1
	}
	end := bytes.IndexByte(b[from:], ']')
	if end < 0 {
		return h, nil, false
	}
	end += from
	h.host, h.addr = webHost(b[:end], portMaybe)
	if h.module != nil && (h.addr.Is6() || !h.addr.IsValid()) {
		if host, addr := webHost(b[:end], portAlways); addr.IsValid() {
			h.host, h.addr = host, addr
		}
	}
	return h, trimLeft(b[end+1:]), len(h.host) > 0
}

// apachePreamble is the length of "(13)Permission denied: " or "mod_authz_core.c(809): ", which may
// stand between the fields; 0 for anything else.
func apachePreamble(b []byte) int {
	next := bytes.IndexByte(b[:min(len(b), 160)], '[')
	if next < 3 || b[next-1] != ' ' || b[next-2] != ':' {
		return 0
	}
	name, rest, open := cutAt(b[:next-2], '(')
	code, text, closed := cutAt(rest, ')')
	switch {
	case !open || !closed || number(code) < 0:
		return 0
	case len(name) == 0, ends(name, ".c") && len(text) == 0:
		return next
	}
	return 0
}

// apacheMessage takes off what stands before the words of a message: "AH01617: ", "Digest: ", and the
// client once more.
func apacheMessage(b []byte) []byte {
	if len(b) > 9 && begins(b, "AH") && b[7] == ':' && number(b[2:7]) >= 0 {
		b = trimLeft(b[8:])
	}
	if begins(b, "[client ") {
		if _, rest, found := bytes.Cut(b, []byte("] ")); found {
			b = rest
		}
	}
	if begins(b, "Digest: ") {
		b = b[len("Digest: "):]
	}
	return b
}
