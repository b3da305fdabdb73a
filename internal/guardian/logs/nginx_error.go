package logs

import "bytes"

// maxNginxRecord is the longest record that OpenResty writes to its error log; nginx itself ends them at
// half of that.
const maxNginxRecord = 4096

// nginxError reads the error log of nginx.
//
// nginx writes the path of a file and the name of a user as the client sent them, line breaks included.
// A path can therefore end its line as if it were whole, and bring further lines with it. But each record
// is written at once, so no line of another can be between, and the end of such a record gives it away
// (nginx_doubt.go). So what begins with a path, and what follows it within the length of a record, is held
// until that length is over or there is nothing more to read; where a record betrays itself, what is held
// is discarded.
//
// A user's name ends at its first colon, so it cannot hold a time of day and forges nothing. The lines of
// such a record are put together again: nobody hides failed logins by a line break.
type nginxError struct {
	clock      clock
	aggressive bool
	shadow     nginxShadow
	// user are the lines so far of a record that the name of a user has torn.
	user []byte
}

var _ Settler = (*nginxError)(nil)

// newNginxError reads the error log of nginx, of its http, mail and stream modules. The parser is a
// Settler.
func newNginxError(o Options) (Parser, error) {
	return &nginxError{clock: newClock(o), aggressive: o.Mode == modeAggressive, user: make([]byte, 0, maxNginxRecord)}, nil
}

// Parse implements Parser. The events may be those of earlier lines.
func (p *nginxError) Parse(line []byte, events []Event) []Event {
	n := len(line) + 1
	line = bytes.TrimSuffix(line, []byte{'\r'})
	r := p.record(line)
	p.shadow.advance(n, len(line)-len(r.body))
	switch {
	case len(line) > 2*maxNginxRecord: // not written by nginx, and long to search
	case p.shadow.cut():
		p.shadow.discard()
	case p.joins(&r):
		return events
	case p.shadow.dark() && p.betrayed(&r):
		p.shadow.discard()
	case r.ok && (r.client || r.path != pathNone):
		events = p.take(&r, events)
	}
	for {
		line, ok := p.shadow.beyondDoubt()
		if !ok {
			return events
		}
		events = p.late(line, events)
	}
}

// Settle implements Settler.
func (p *nginxError) Settle(events []Event) []Event {
	p.shadow.compact()
	for {
		line, ok := p.shadow.next()
		if !ok {
			return events
		}
		events = p.late(line, events)
	}
}

// late reads a record that was held.
func (p *nginxError) late(body []byte, events []Event) []Event {
	had := len(events)
	events = p.read(body, events)
	for i := had; i < len(events); i++ {
		events[i].Back = p.shadow.back()
	}
	return events
}

// take reads a record at once, or holds it when it may be forged or is one that may forge.
func (p *nginxError) take(r *nginxRecord, events []Event) []Event {
	if r.path == pathNone && !p.shadow.dark() {
		return p.read(r.body, events)
	}
	p.shadow.hold(r.body, r.path)
	return events
}

// joins puts the lines of a record together that the name of a user has torn. It is true while the record
// has no end; with the end r becomes the whole record.
func (p *nginxError) joins(r *nginxRecord) bool {
	switch {
	case r.ok && !r.client && isUser(r.msg):
		p.user = append(p.user[:0], r.body...)
		return true
	case r.ok || len(p.user) == 0 || len(p.user)+1+len(r.body) > maxNginxRecord:
		p.user = p.user[:0]
		return false
	}
	p.user = append(append(p.user, '\n'), r.body...)
	if !r.client {
		return true
	}
	whole := p.record(p.user)
	p.user = p.user[:0] // what is given out of it holds until the next line
	if _, ok := p.event(whole.msg); ok && p.shadow.deepest() != pathForeign {
		*r = whole
	}
	return false
}

// read makes the event of a whole record.
func (p *nginxError) read(body []byte, events []Event) []Event {
	at, msg, ok := p.native(body)
	if !ok || !bytes.Contains(msg, clientMark) {
		return events
	}
	e, ok := p.event(msg)
	if !ok {
		return events
	}
	e.At, e.Count = at, 1
	return append(events, e)
}

// nginxRecord is a line taken apart.
type nginxRecord struct {
	// body is the line without what syslog put before it.
	body []byte
	// ok is true when the line begins a record about a connection.
	ok  bool
	at  int64
	msg []byte
	// client is true when a client is named.
	client bool
	path   nginxPath
}

// record takes "2015/01/21 10:56:10 [error] 2833#0: *16336 " off a line, and what syslog put before it.
func (p *nginxError) record(line []byte) (r nginxRecord) {
	r.body = line
	body := line
	for range 3 { // journald and nginx' own syslog each put a prefix before it
		if r.at, r.msg, r.ok = p.native(body); r.ok {
			r.body = body
			break
		}
		s, tagged := p.clock.record(body)
		if !tagged || len(s.msg) >= len(body) {
			break
		}
		// A torn record may go on with what looks like a tag.
		if body = s.msg; string(s.prog) == "nginx" {
			r.body = body
		}
	}
	if !r.ok {
		r.client = bytes.Contains(r.body, clientMark)
		return r
	}
	r.client = bytes.Contains(r.msg, clientMark)
	r.path = pathOf(r.msg, r.client)
	return r
}

func (p *nginxError) native(b []byte) (at int64, msg []byte, ok bool) {
	if len(b) < 30 || b[4] != '/' {
		return 0, nil, false
	}
	at, n := p.clock.iso(b)
	if n != 19 || b[19] != ' ' || b[20] != '[' {
		return 0, nil, false
	}
	end := bytes.IndexByte(b[20:min(len(b), 32)], ']')
	if end < 0 {
		return 0, nil, false
	}
	// "2833#0: *16336 ": process, thread and connection; without a connection there is no client.
	pid, rest, found := bytes.Cut(trimLeft(b[20+end+1:]), []byte(": *"))
	if !found || !isNumbers(pid, '#') {
		return 0, nil, false
	}
	connection, msg, _ := field(rest)
	if len(connection) == 0 || len(connection) > 20 || connection[0] < '0' || connection[0] > '9' {
		return 0, nil, false
	}
	return at, msg, true
}

// isNumbers says whether b is two numbers with the separator between.
func isNumbers(b []byte, separator byte) bool {
	i := bytes.IndexByte(b, separator)
	return i > 0 && number(b[:i]) >= 0 && number(b[i+1:]) >= 0
}

func isUser(msg []byte) bool { return bytes.HasPrefix(msg, userMark) || bytes.HasPrefix(msg, pamMark) }
