package logs

import "bytes"

// caddy reads the JSON access log of Caddy 2.
type caddy struct {
	clock      clock
	aggressive bool
	text       jsonText
}

// newCaddy reads the JSON access log of Caddy 2, with its time in any of the forms that it can write.
// The client is client_ip, which Caddy itself finds by its trusted proxies; in older logs remote_ip or
// remote_addr.
func newCaddy(o Options) (Parser, error) {
	return &caddy{clock: newClock(o), aggressive: o.Mode == modeAggressive}, nil
}

// caddyLine is what matters of a line.
type caddyLine struct {
	at                int64
	logger, msg, user []byte
	status            jsonValue
	// whole is true when the line has a request.
	whole                          bool
	clientIP, remoteIP, remoteAddr []byte
	method, uri, agent             []byte
	// addressed is true once all that tells the client has been read, and long when only its headers are
	// not whole.
	addressed, long bool
	// credentials is true when the request had some.
	credentials bool
}

// Parse implements Parser.
func (c *caddy) Parse(line []byte, events []Event) []Event {
	line = c.clock.jsonPart(line)
	if len(line) == 0 {
		return events
	}
	c.text.reset()
	var l caddyLine
	w := jsonWalk{b: line}
	c.line(&w, &l)
	switch {
	case w.bad:
		return events
	case !l.whole:
		return c.handshake(l.msg, l.at, events)
	case l.status == nil || begins(l.logger, "http.log.error"):
		// The error log has a line of its own for a request that failed.
		return events
	}
	return c.events(&l, events)
}

// ParseOpening implements Opener. Such a request has no status; it has headers that no honest client sends, if
// it is not its path that is long.
func (c *caddy) ParseOpening(line []byte, events []Event) []Event {
	line = c.clock.jsonPart(line)
	c.text.reset()
	var l caddyLine
	c.line(&jsonWalk{b: line}, &l)
	if !l.addressed || begins(l.logger, "http.log.error") {
		return events
	}
	had := len(events)
	if events = c.events(&l, events); len(events) > had && l.long {
		e := events[had]
		e.Kind, e.Rule = Probe, "caddy/long-headers"
		events = append(events, e)
	}
	return events
}

// line reads the members of a line. Of several of one name the first counts: what operators add to a
// line comes last.
func (c *caddy) line(w *jsonWalk, l *caddyLine) {
	for {
		key, ok := w.key()
		if !ok {
			return
		}
		switch string(key) {
		case "ts":
			l.at = c.time(w.value())
		case "logger":
			l.logger = c.text.decode(w.value())
		case "msg":
			l.msg = c.text.decode(w.value())
		case "user_id":
			l.user = c.text.decode(w.value())
		case "status":
			l.status = first(l.status, w.value())
		case "request":
			if l.whole || w.char() != '{' {
				w.value()
				continue
			}
			l.whole = true
			c.request(w, l)
		default:
			w.value()
		}
	}
}

// events makes the events of a request.
func (c *caddy) events(l *caddyLine, events []Event) []Event {
	client := l.clientIP
	if len(client) == 0 {
		client = l.remoteIP
	}
	if len(client) == 0 {
		client = l.remoteAddr
	}
	e := Event{
		At: l.at, Kind: Request, Count: 1, User: l.user, Status: statusCode(l.status),
		Method: l.method, Path: targetPath(l.uri), Agent: l.agent, Rule: "caddy/request",
	}
	if e.Host, e.Addr = webHost(client, portMaybe); len(e.Host) == 0 {
		return events
	}
	events = append(events, e)
	if e.Status == 401 && l.credentials {
		e.Kind, e.Rule = Failure, "caddy/unauthorized"
		events = append(events, e)
	}
	return events
}

func (c *caddy) request(w *jsonWalk, l *caddyLine) {
	for {
		key, ok := w.key()
		if !ok {
			return
		}
		switch string(key) {
		case "client_ip":
			l.clientIP = c.text.decode(w.value())
		case "remote_ip":
			l.remoteIP = c.text.decode(w.value())
		case "remote_addr":
			l.remoteAddr = c.text.decode(w.value())
		case "proto":
			w.value()
			l.addressed = true
		case "method":
			l.method = c.text.decode(w.value())
		case "uri":
			l.uri = c.text.decode(w.value())
		case "headers":
			if w.char() != '{' {
				w.value()
				continue
			}
			c.headers(w, l)
			l.long = w.bad
		default:
			w.value()
		}
	}
}

// headers reads the members User-Agent and Authorization; Caddy writes the names of headers in their
// canonical form, and "REDACTED" for the credentials.
func (c *caddy) headers(w *jsonWalk, l *caddyLine) {
	for {
		key, ok := w.key()
		if !ok {
			return
		}
		value := w.value()
		switch string(key) {
		case "User-Agent":
			if len(value) > 2 && value[0] == '[' && value[1] == '"' {
				l.agent = c.text.decode(value[1 : closingQuote(value[2:])+3])
			}
		case "Authorization":
			l.credentials = len(value) > 4
		}
	}
}

// handshake reads "http: TLS handshake error from 192.0.2.1:1234: …", which Go's server writes.
func (c *caddy) handshake(msg []byte, at int64, events []Event) []Event {
	const begin = "http: TLS handshake error from "
	if !c.aggressive || !begins(msg, begin) {
		return events
	}
	peer, _, found := bytes.Cut(msg[len(begin):], []byte(": "))
	if !found {
		return events
	}
	e := Event{At: at, Kind: Probe, Count: 1, Rule: "caddy/handshake"}
	if e.Host, e.Addr = webHost(peer, portMaybe); !e.Addr.IsValid() {
		return events
	}
	return append(events, e)
}

// time reads a number of seconds, milliseconds or nanoseconds, or one of Caddy's forms of text.
func (c *caddy) time(v jsonValue) int64 {
	if len(v) > 0 && v[0] != '"' {
		return epoch(v)
	}
	text := c.text.decode(v)
	if at, n := c.clock.leading(text); n > 0 {
		return at
	}
	if at, n := c.clock.clf(text); n > 0 {
		return at
	}
	return epoch(text)
}

// first returns the first of two values that there is.
func first(have, value jsonValue) jsonValue {
	if have != nil {
		return have
	}
	return value
}
