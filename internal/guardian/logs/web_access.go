package logs

import (
	"bytes"
	"net/netip"
)

// maxAccessTime is longer than any time in brackets.
const maxAccessTime = 64

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
	// raw is true where neither what is forwarded nor the name of a user is escaped.
	raw bool
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

// ParseOpening implements Opener.
func (p *accessParser) ParseOpening(line []byte, events []Event) []Event {
	return p.Parse(line, events)
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
	open, quote, at := p.requestStart(b)
	if open <= 0 {
		return l, false
	}
	if bytes.Contains(b[:open], []byte(": ")) {
		if r, tagged := p.clock.record(b); tagged {
			b = r.msg
			if open, quote, at = p.requestStart(b); open <= 0 {
				return l, false
			}
		}
	}
	if l.at = at; p.raw && twoClients(b[:open]) {
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

// requestStart finds the bracket before the time and the quote after it, and the time. A user without a name
// is a pair of quotes in Apache's log, and Traefik escapes none of a user's, so that the first quote need not
// be the one.
func (p *accessParser) requestStart(b []byte) (open, quote int, at int64) {
	for from := 0; ; {
		i := closingQuote(b[from:])
		if i < 0 {
			return -1, -1, 0
		}
		if i += from; i > 3 && b[i-1] == ' ' && b[i-2] == ']' {
			open = max(0, i-2-maxAccessTime)
			open += bytes.LastIndexByte(b[open:i-2], '[')
			if at, _ = p.clock.clf(b[open+1 : i-2]); at == 0 {
				at, _ = p.clock.leading(b[open+1 : i-2]) // $time_iso8601
			}
			if at != 0 {
				return open, i, at
			}
		}
		from = i + 1
	}
}

// twoClients says whether "client - user" may be read in two ways: the comma and the second " - " are in what
// was forwarded, or in the name of a user.
func twoClients(b []byte) bool {
	ident, comma := index(b, " - "), bytes.LastIndexByte(b, ',')
	return ident >= 0 && comma > ident && index(b[comma:], " - ") >= 0
}

// accessClient takes the client and the user out of "client ident user", "vhost client - user", and
// "forwarded, for, client ident user", where what the nearest proxy has written is last. The ident is
// "-" everywhere today. A user may have spaces, and so may what a client forwards: only the last of a list
// counts.
func accessClient(b []byte) (host, user []byte) {
	if ident := index(b, " - "); ident >= 0 {
		if comma := bytes.LastIndexByte(b[:ident], ','); comma >= 0 {
			b = trimLeft(b[comma+1:])
		}
	}
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
