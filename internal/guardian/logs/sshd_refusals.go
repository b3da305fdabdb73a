package logs

import "bytes"

// userOrUnable reads "User USER[ from HOST] not allowed because REASON", "User not known to the
// underlying authentication module for …" and "Unable to negotiate …".
func (s *sshd) userOrUnable(m []byte) {
	if b, ok := after(m, "Unable to negotiate "); ok {
		s.unable(b)
		return
	}
	b, ok := after(m, "User ")
	if !ok {
		return
	}
	if has(b, "not known to the underlying authentication module for ") {
		s.pamError(m)
		return
	}
	i := lastIndex(b, " not allowed because ")
	if i < 0 {
		return
	}
	if has(b[i:], " not allowed because account is locked") || has(b[i:], " not allowed because shell ") {
		s.refuseLater(b[:i], "sshd/not-allowed")
		return
	}
	text, host := lastToken(b[:i])
	if c, ok := clientOf(host); ok && ends(text, " from") {
		s.remember(c)
		s.emit(Failure, c, text[:len(text)-len(" from")], s.count, "sshd/not-allowed")
	}
}

// refuseLater counts a failure of a client whom the line does not name, as soon as a line does.
func (s *sshd) refuseLater(user []byte, rule string) {
	if c := s.known(); len(c.host) > 0 {
		s.emit(Failure, c, user, s.count, rule)
		return
	}
	if s.open() {
		s.conn.refused += uint16(min(s.count, 1000))
		s.conn.setUser(user)
	}
}

// notPermitted reads "USER with correct key but not from a permitted host (host=NAME, ip=ADDRESS[, …])".
// A key that fits is no attempt at guessing.
func (s *sshd) notPermitted(b []byte) {
	i := index(b, " with correct key but not from a permitted host (host=")
	if i < 0 {
		return
	}
	user, b := b[:i], b[i:]
	if i = index(b, ", ip="); i < 0 {
		return
	}
	b = b[i+len(", ip="):]
	if i = bytes.IndexAny(b, ",)"); i < 0 {
		return
	}
	if c, ok := clientOf(b[:i]); ok {
		s.emit(Denied, c, user, s.count, "sshd/not-permitted-host")
	}
}

// refused reads "WHO (HOST)" or "[USER@]HOST", as TCP wrappers write it; USER is what the client's own
// identification service says.
func (s *sshd) refused(b []byte) {
	_, host := lastToken(b)
	if n := len(host); n > 2 && host[0] == '(' && host[n-1] == ')' {
		host = host[1 : n-1]
	} else if i := bytes.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	if c, ok := clientOf(host); ok {
		s.emit(Failure, c, nil, s.count, "sshd/refused-connect")
	}
}

// received reads "Received disconnect from HOST[ port N]: CODE: TEXT" and other messages with R.
func (s *sshd) received(m []byte) {
	if b, ok := after(m, "ROOT LOGIN REFUSED FROM "); ok {
		text, _, _ := peerAtStart(b)
		if c, ok := clientOf(text); ok {
			s.remember(c)
			s.emit(Failure, c, m[:len("ROOT")], s.count, "sshd/root-refused")
		}
		return
	}
	if has(m, "Read from socket failed: Connection reset by peer") {
		s.probeLater("sshd/connection-reset")
		return
	}
	b, ok := after(m, "Received disconnect from ")
	if !ok {
		return
	}
	text, rest, _ := peerAtStart(b)
	if n := len(text); n > 1 && text[n-1] == ':' {
		text = text[:n-1]
	} else {
		rest = bytes.TrimPrefix(rest, []byte(":"))
	}
	c, ok := clientOf(text)
	if !ok {
		return
	}
	code, why := trimLeft(rest), []byte(nil)
	if i := bytes.IndexByte(code, ':'); i >= 0 {
		code, why = code[:i], trimLeft(code[i+1:])
	}
	switch {
	case s.finish(c):
	case string(code) == "3" && index(why, ": Auth fail") >= 0:
		s.emit(Failure, c, nil, s.count, "sshd/gave-up")
	case string(code) == "14" && s.aggressive && has(why, "No ") && index(why, "authentication methods available") > 0:
		s.emit(Probe, c, nil, s.count, "sshd/no-methods")
	}
}

// finish ends a connection whose client is known at last. What waited for it counts, and finish says
// whether there was any. Keys that did not fit do not: the client has given up by itself.
func (s *sshd) finish(c client) bool {
	if s.conn == nil {
		return false
	}
	if len(c.host) > 0 { // what is known may be of a client who had the pid before
		s.conn.setHost(c.host, c.addr)
	}
	n := len(s.events)
	if s.conn.probe && s.aggressive {
		s.emit(Probe, s.known(), nil, 1, "sshd/no-handshake")
	}
	s.pending("sshd/given-up-after-failures")
	s.conns.end(s.key)
	return len(s.events) > n
}
