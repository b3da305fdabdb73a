package logs

import (
	"bytes"
	"net/netip"
)

// accessLine is a line of an access log in the common form, or in one that begins like it.
type accessLine struct {
	at     int64
	host   []byte
	addr   netip.Addr
	user   []byte
	line   []byte // the request line as it is written
	status int
	// referrer and agent are nil when the line has none.
	referrer, agent []byte
}

// accessRules are the names of what the access log of one kind of server says.
type accessRules struct {
	request, failure, malformed, closed string
}

// accessParser reads the access logs of nginx, Apache and Traefik.
type accessParser struct {
	clock      clock
	rules      accessRules
	aggressive bool
}

// Parse implements Parser.
func (p *accessParser) Parse(line []byte, events []Event) []Event {
	l, ok := p.take(line)
	if !ok {
		return events
	}
	r := requestLine(l.line)
	e := Event{
		At: l.at, Kind: Request, Addr: l.addr, Host: l.host, Count: 1, User: l.user, Status: l.status,
		Method: r.method, Path: r.path, Agent: l.agent, Rule: p.rules.request,
	}
	events = append(events, e)
	switch {
	case l.status == 401 && l.user != nil:
		e.Kind, e.Rule = Failure, p.rules.failure
	case p.probe(l, r):
		e.Kind, e.Rule = Probe, p.rules.malformed
	case l.status == 444:
		// nginx closes the connection without an answer where its rules say so.
		e.Kind, e.Rule = Denied, p.rules.closed
	default:
		return events
	}
	return append(events, e)
}

// probe says whether no honest client sends such a request. A well-formed one that was answered 400
// may be an application's word about a form; when neither agent nor referrer are known, the server
// itself refused it before it had read any header.
func (p *accessParser) probe(l accessLine, r webRequest) bool {
	switch {
	case l.status == 400:
		return !r.ok || p.aggressive || string(r.method) == "CONNECT" || blank(l.agent) && blank(l.referrer)
	case l.status == 408 || r.ok || r.method != nil:
		// Browsers open connections ahead of their use, and some are never used.
		return false
	default:
		return l.status > 400 && !blank(l.line)
	}
}

func blank(text []byte) bool {
	return text != nil && (len(text) == 0 || string(text) == "-")
}

// take takes a line apart. The time is what stands in brackets before the first quote that opens the
// request: servers escape the quotes in the name of a user, the one thing before it that a client
// chooses.
func (p *accessParser) take(b []byte) (l accessLine, ok bool) {
	open, quote := requestStart(b)
	if open <= 0 {
		return l, false
	}
	if bytes.Contains(b[:open], []byte(": ")) {
		if r, tagged := p.clock.record(b); tagged {
			b = r.msg
			if open, quote = requestStart(b); open <= 0 {
				return l, false
			}
		}
	}
	if l.at, _ = p.clock.clf(b[open+1 : quote-2]); l.at == 0 {
		return l, false
	}
	l.host, l.user = accessClient(bytes.TrimRight(b[:open], " "))
	l.host, l.addr = webHost(l.host, portMaybe)
	if len(l.host) == 0 {
		return l, false
	}
	b = b[quote+1:]
	end := closingQuote(b)
	if end < 0 { // cut off by a line too long for the server's buffer
		l.line = b
		return l, true
	}
	l.line = b[:end]
	l.answer(b[end+1:])
	return l, true
}

// answer reads what follows the request: status, size, and in the combined form referrer and agent.
func (l *accessLine) answer(b []byte) {
	status, b, _ := field(trimLeft(b))
	l.status = statusCode(status)
	_, b, _ = field(b)
	for _, text := range [...]*[]byte{&l.referrer, &l.agent} {
		if len(b) == 0 || b[0] != '"' {
			return
		}
		end := closingQuote(b[1:])
		if end < 0 {
			*text = b[1:]
			return
		}
		*text = b[1 : end+1]
		b = trimLeft(b[end+2:])
	}
}

// requestStart finds the bracket before the time and the quote after it. A user without a name is a
// pair of quotes in Apache's log, so that the first quote need not be the one.
func requestStart(b []byte) (open, quote int) {
	from := 0
	for range 4 {
		i := closingQuote(b[from:])
		if i < 0 {
			break
		}
		if i += from; i > 3 && b[i-1] == ' ' && b[i-2] == ']' {
			return bytes.LastIndexByte(b[:i-2], '['), i
		}
		from = i + 1
	}
	return -1, -1
}

// accessClient takes the client and the user out of "client ident user", "vhost client - user", and
// "forwarded, for, client ident user", where what the nearest proxy has written is last. The ident is
// "-" everywhere today. A user may have spaces.
func accessClient(b []byte) (host, user []byte) {
	host, rest, _ := field(b)
	for len(host) > 0 && host[len(host)-1] == ',' {
		host, rest, _ = field(rest)
	}
	ident, user, _ := field(rest)
	if string(ident) != "-" && begins(user, "- ") {
		_, first := webHost(host, portMaybe)
		_, second := webHost(ident, portMaybe)
		// With names for addresses both may be names: the virtual host comes first.
		if second.IsValid() || !first.IsValid() {
			host, user = ident, user[2:]
		}
	}
	switch string(user) {
	case "-", "":
		return host, nil
	case `""`:
		return host, user[:0]
	}
	return host, user
}
