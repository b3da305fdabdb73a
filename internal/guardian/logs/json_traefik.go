package logs

import (
	"bytes"
	"net/netip"
)

// traefik reads the access log of Traefik in its JSON and its common form.
type traefik struct {
	clock   clock
	text    jsonText
	common  accessParser
	trusted []netip.Prefix
}

// newTraefik reads the access log of Traefik, JSON or common.
//
// Traefik's ClientHost is the whole X-Forwarded-For when there is one. It is believed only when the
// peer of the connection (ClientAddr) is one of Options.Trusted or has a private address: a public peer
// that nobody vouches for may have written anything.
func newTraefik(o Options) (Parser, error) {
	return &traefik{clock: newClock(o), trusted: o.Trusted, common: accessParser{
		clock: newClock(o), aggressive: o.Mode == modeAggressive, raw: true,
		rules: accessRules{
			request: "traefik/request", failure: "traefik/unauthorized",
			malformed: "traefik/bad-request", closed: "traefik/closed",
		},
	}}, nil
}

// traefikLine are the members of a line that matter.
type traefikLine struct {
	addr, host, user, method, path, agent []byte
	downstream, origin                    jsonValue
	start, local, written                 jsonValue
}

// Parse implements Parser.
func (t *traefik) Parse(line []byte, events []Event) []Event { return t.parse(line, true, events) }

// ParseOpening implements Opener. Traefik sorts members by name: those of the client come first.
func (t *traefik) ParseOpening(line []byte, events []Event) []Event {
	return t.parse(line, false, events)
}

func (t *traefik) parse(line []byte, whole bool, events []Event) []Event {
	object := t.clock.jsonPart(line)
	if len(object) == 0 {
		return t.common.Parse(line, events)
	}
	t.text.reset()
	var l traefikLine
	w := jsonWalk{b: object}
	for {
		key, ok := w.key()
		if !ok {
			break
		}
		t.member(&l, key, w.value())
	}
	status := first(l.downstream, l.origin)
	switch {
	case len(l.host) == 0 && (!whole || len(l.addr) == 0), whole && (w.bad || status == nil):
		return events
	}
	e := Event{
		At: t.time(first(first(l.start, l.local), l.written)), Kind: Request, Count: 1, Status: statusCode(status),
		Method: l.method, Path: targetPath(l.path), Agent: l.agent, Rule: "traefik/request",
	}
	if len(l.user) > 0 && string(l.user) != "-" {
		e.User = l.user
	}
	if e.Host, e.Addr = t.client(l.addr, l.host); len(e.Host) == 0 {
		return events
	}
	events = append(events, e)
	if e.Status == 401 && e.User != nil {
		e.Kind, e.Rule = Failure, "traefik/unauthorized"
		events = append(events, e)
	}
	return events
}

func (t *traefik) member(l *traefikLine, key []byte, value jsonValue) {
	switch string(key) {
	case "ClientAddr":
		l.addr = t.text.decode(value)
	case "ClientHost":
		l.host = t.text.decode(value)
	case "ClientUsername":
		l.user = t.text.decode(value)
	case "RequestMethod":
		l.method = t.text.decode(value)
	case "RequestPath":
		l.path = t.text.decode(value)
	case "request_User-Agent":
		l.agent = t.text.decode(value)
	case "DownstreamStatus":
		l.downstream = value
	case "OriginStatus":
		l.origin = value
	case "StartUTC":
		l.start = value
	case "StartLocal":
		l.local = value
	case "time":
		l.written = value
	}
}

// client tells who asked from the peer of the connection and from ClientHost, of whose list the last
// entry is what the proxy in front has seen.
func (t *traefik) client(peer, forwarded []byte) ([]byte, netip.Addr) {
	if i := bytes.LastIndexByte(forwarded, ','); i >= 0 {
		forwarded = forwarded[i+1:]
	}
	host, addr := webHost(trimLeft(forwarded), portMaybe)
	if len(peer) == 0 {
		return host, addr
	}
	peerHost, peerAddr := webHost(peer, portMaybe)
	if addr.IsValid() && (!peerAddr.IsValid() || t.believes(peerAddr)) {
		return host, addr
	}
	return peerHost, peerAddr
}

func (t *traefik) believes(peer netip.Addr) bool {
	if peer.IsPrivate() || peer.IsLoopback() {
		return true
	}
	for _, p := range t.trusted {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

func (t *traefik) time(v jsonValue) int64 {
	at, _ := t.clock.leading(t.text.decode(v))
	return at
}

// jsonPart is the object of a line, also behind what syslog put before it; nil when there is none.
func (c *clock) jsonPart(line []byte) []byte {
	if len(line) == 0 || line[0] == '{' {
		return line
	}
	r, tagged := c.record(line)
	if !tagged || len(r.msg) == 0 || r.msg[0] != '{' {
		return nil
	}
	return r.msg
}

// epoch reads seconds since 1970 with a fraction; what is too large for them is in milliseconds or
// nanoseconds. It returns nanoseconds, 0 for what is no number.
func epoch(b []byte) int64 {
	whole, rest, fractional := cutAt(b, '.')
	var n int64
	for _, c := range whole {
		if c < '0' || c > '9' || n > 1<<59 {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	unit := int64(1e9)
	switch {
	case len(whole) == 0:
		return 0
	case n >= 1e17:
		return n
	case n >= 1e14:
		unit = 1e3
	case n >= 1e11:
		unit = 1e6
	case n > 9_000_000_000:
		return 0
	}
	at := n * unit
	for i := 0; fractional && i < len(rest) && unit > 1 && rest[i] >= '0' && rest[i] <= '9'; i++ {
		unit /= 10
		at += int64(rest[i]-'0') * unit
	}
	return at
}
