package logs

import (
	"bytes"
	"net/netip"
)

// haproxy reads the logs of HAProxy. It encodes quotes in what clients send, so that the first quote of
// a line opens the request.
type haproxy struct {
	clock      clock
	aggressive bool
	// common reads the lines of "option httplog clf".
	common accessParser
}

// newHAProxy reads HAProxy's httplog, httpslog, tcplog and its lines about failed handshakes, with or
// without the prefix of syslog.
func newHAProxy(o Options) (Parser, error) {
	return &haproxy{clock: newClock(o), aggressive: o.Mode == modeAggressive, common: accessParser{
		clock: newClock(o), aggressive: o.Mode == modeAggressive,
		rules: accessRules{
			request: "haproxy/request", failure: "haproxy/unauthorized",
			malformed: "haproxy/bad-request", closed: "haproxy/closed",
		},
	}}, nil
}

// haproxyLine is a line taken apart.
type haproxyLine struct {
	at   int64
	host []byte
	addr netip.Addr
	// own is true when HAProxy answered by itself, without a server.
	own    bool
	status int
	// state is how the session ended: who ended it, and in which phase.
	state []byte
	http  bool
	// request is nil when the line has none.
	request []byte
}

// Parse implements Parser.
func (p *haproxy) Parse(line []byte, events []Event) []Event {
	l, rest, ok := p.client(line)
	if !ok {
		if r, tagged := p.clock.record(line); tagged {
			l, rest, ok = p.client(r.msg)
		}
	}
	if !ok {
		return p.common.Parse(line, events)
	}
	if end := bytes.Index(rest, []byte(": ")); end > 0 && bytes.IndexByte(rest[:end], ' ') < 0 {
		return p.connection(l, rest[end+2:], events)
	}
	if !l.session(rest) {
		return events
	}
	return p.events(l, events)
}

// client reads `192.0.2.1:33317 [06/Feb/2009:12:14:14.655] frontend`, of which the address may be of
// IPv6 without brackets, and returns what follows the frontend's name.
func (p *haproxy) client(b []byte) (l haproxyLine, rest []byte, ok bool) {
	peer, rest, found := field(b)
	if !found || len(rest) < 22 || rest[0] != '[' || bytes.IndexByte(peer, ':') < 0 {
		return l, nil, false
	}
	at, n := p.clock.clf(rest[1:])
	if n == 0 {
		return l, nil, false
	}
	nanos, k := fraction(rest, 1+n)
	l.at = at + nanos
	if rest = rest[1+n+k:]; !begins(rest, "] ") {
		return l, nil, false
	}
	l.host, l.addr = webHost(peer, portAlways)
	return l, rest[2:], l.addr.IsValid()
}

// session reads what follows the time of httplog and tcplog: "frontend backend/server timers status
// bytes cookie cookie state …" and "frontend backend/server timers bytes state …".
func (l *haproxyLine) session(b []byte) bool {
	_, b, _ = field(b)
	server, b, _ := field(b)
	timers, b, _ := field(b)
	if bytes.IndexByte(server, '/') < 0 || bytes.IndexByte(timers, '/') < 0 {
		return false
	}
	l.own = ends(server, "/<NOSRV>") || ends(server, "/<STATS>")
	l.http = bytes.Count(timers, []byte("/")) >= 4
	status, b, _ := field(b)
	if !l.http {
		l.state, _, _ = field(b)
		return len(l.state) == 2
	}
	l.status = statusCode(status)
	for range 3 { // bytes and the two captured cookies
		_, b, _ = field(b)
	}
	l.state, b, _ = field(b)
	if i := bytes.IndexByte(b, '"'); i >= 0 {
		l.request = b[i+1:]
		if end := bytes.IndexByte(l.request, '"'); end >= 0 {
			l.request = l.request[:end]
		}
	}
	return len(l.state) == 4
}

// events makes the events of a session. Only what HAProxy answered by itself can be its own refusal.
func (p *haproxy) events(l haproxyLine, events []Event) []Event {
	r := requestLine(l.request)
	e := Event{
		At: l.at, Kind: Request, Host: l.host, Addr: l.addr, Count: 1, Status: l.status,
		Method: r.method, Path: r.path, Rule: "haproxy/request",
	}
	if l.http {
		events = append(events, e)
	}
	by, phase := l.state[0], l.state[1]
	switch {
	case string(l.request) == "<BADREQ>":
		// A client that gave up or stayed silent (C, c) may be a browser that opened one connection too
		// many, or a monitor.
		if by != 'P' && !p.aggressive {
			return events
		}
		e.Kind, e.Rule = Probe, "haproxy/bad-request"
	case !l.http && by == 'P' && phase == 'R', phase == 'T' && by == 'P':
		e.Kind, e.Rule = Denied, "haproxy/rejected"
	case !l.own || by != 'P' && by != 'L':
		return events
	case l.status == 401 || l.status == 407:
		e.Kind, e.Rule = Failure, "haproxy/unauthorized"
	case l.status == 429:
		e.Kind, e.Rule = Probe, "haproxy/limited"
	case l.status == 400:
		e.Kind, e.Rule = Probe, "haproxy/bad-request"
	case l.status == 403 && by == 'P':
		e.Kind, e.Rule = Denied, "haproxy/denied"
	default:
		return events
	}
	return append(events, e)
}

// connection reads "fe/1: SSL handshake failure" and the like.
func (p *haproxy) connection(l haproxyLine, msg []byte, events []Event) []Event {
	if !p.aggressive || !beginsAny(msg, []string{
		"SSL handshake failure", "Connection closed during SSL handshake", "Timeout during SSL handshake",
		"SSL client", "Connection error during SSL handshake", "Received something which does not look like a PROXY",
	}) {
		return events
	}
	return append(events, Event{At: l.at, Kind: Probe, Host: l.host, Addr: l.addr, Count: 1, Rule: "haproxy/handshake"})
}
