package logs

import (
	"bytes"
	"net/netip"
)

// client is who is at the other end of a connection; without a host when that is not known.
type client struct {
	host []byte
	addr netip.Addr
}

func clientOf(b []byte) (client, bool) {
	host, addr, ok := peer(b)
	return client{host, addr}, ok
}

// known is the client of the connection as earlier lines named it.
func (s *sshd) known() client {
	if s.conn == nil {
		return client{}
	}
	return client{s.conn.host[:s.conn.hostLen], s.conn.addr}
}

// remember keeps the client of the connection.
func (s *sshd) remember(c client) {
	if s.open() {
		s.conn.setHost(c.host, c.addr)
	}
}

// open begins to keep what is known of the connection; false when it has no pid.
func (s *sshd) open() bool {
	if s.conn == nil {
		s.conn = s.conns.make(s.key)
	}
	return s.conn != nil
}

// cutInvalid cuts sshd's word for users that do not exist off.
func cutInvalid(b []byte) (rest []byte, invalid bool) {
	if rest, ok := after(b, "invalid user "); ok {
		return rest, true
	}
	return after(b, "illegal user ")
}

// failed reads "METHOD for [invalid user ]USER from HOST[ port N][ ssh2][: INFO]".
func (s *sshd) failed(b []byte) {
	i := index(b, " for ")
	if i < 0 {
		return
	}
	method, b := b[:i], b[i+len(" for "):]
	b, invalid := cutInvalid(b)
	user, c, ok := s.failedClient(b)
	if !ok {
		return
	}
	s.relate(c.host)
	s.remember(c)
	if !invalid && offered(method) {
		if s.conn != nil {
			s.conn.keys += uint16(min(s.count, 1000))
		}
		return
	}
	s.confirm(user)
	count := s.count
	if invalid && s.conn != nil && s.conn.announced {
		count, s.conn.announced = count-1, false
	}
	s.emit(Failure, c, user, count, failedRule(method))
}

// offered are the methods that clients try on their own before a person is asked for anything, so that
// a failure by itself says nothing of who has an account.
func offered(method []byte) bool {
	return string(method) == "publickey" || string(method) == "none" || has(method, "gssapi")
}

func failedRule(method []byte) string {
	switch {
	case string(method) == "password":
		return "sshd/failed-password"
	case string(method) == "publickey":
		return "sshd/failed-publickey"
	case has(method, "keyboard-interactive"):
		return "sshd/failed-keyboard-interactive"
	}
	return "sshd/failed-other"
}

// failedClient finds the client in "USER from HOST[ port N][ ssh2][: INFO]". USER and INFO may have what
// the client likes, but sshd cuts a name at its first colon: so the last place before a colon that looks
// like the client is it. The address as known from other lines of the connection outranks that.
func (s *sshd) failedClient(b []byte) (user []byte, c client, ok bool) {
	known := s.known().addr
	for off := 0; ; off += len(" from") {
		i := index(b[off:], " from ")
		if i < 0 {
			return user, c, ok
		}
		off += i
		text, rest, port := peerAtStart(b[off+len(" from "):])
		if len(rest) > 0 && (rest[0] != ':' || !port) {
			continue
		}
		this, isPeer := clientOf(text)
		switch {
		case !isPeer:
		case known.IsValid() && known == this.addr:
			return b[:off], this, true
		case bytes.IndexByte(b[:off], ':') < 0:
			user, c, ok = b[:off], this, true
		}
	}
}

// accepted reads "Accepted METHOD for USER from HOST port N ssh2[: INFO]", and what PAM of some systems
// says without "PAM: ".
func (s *sshd) accepted(m []byte) {
	if b, ok := after(m[1:], "uthentication "); ok {
		if has(b, "failure for ") || has(b, "error for ") || has(b, "failed for ") {
			s.pamError(m)
		} else if b, ok := after(b, "tried for "); ok {
			s.notPermitted(b)
		}
		return
	}
	b, ok := after(m, "Accepted ")
	i := index(b, " for ")
	if !ok || i < 0 {
		return
	}
	b = b[i+len(" for "):]
	if i = index(b, " from "); i < 0 {
		return
	}
	user := b[:i]
	text, _, _ := peerAtStart(b[i+len(" from "):])
	c, ok := clientOf(text)
	if !ok {
		return
	}
	if s.conn != nil {
		s.confirm(user)
		if s.conn.multi { // who tries several accounts on one connection has guessed one
			s.emit(Failure, c, user, 1, "sshd/changed-user")
		}
		s.conns.end(s.key) // the end of a session has another pid, and the pid may be another client's by then
	}
	s.emit(Success, c, user, s.count, "sshd/accepted")
}

// confirm takes a message of sshd about user for what PAM told before of the same attempt. Failures
// that PAM told of another user count now.
func (s *sshd) confirm(user []byte) {
	c := s.conn
	if c == nil {
		return
	}
	c.refused = 0
	switch {
	case c.pam == 0:
	case c.userLen == 0 || c.sameUser(user):
		c.pam--
	default:
		s.pending("sshd/pam-failure")
		c.multi = true
	}
}

// pending emits the failures of PAM that have waited.
func (s *sshd) pending(rule string) {
	c := s.conn
	n := int(c.pam) + int(c.refused)
	c.pam, c.refused = 0, 0
	if n > 0 {
		s.emit(Failure, s.known(), s.scratch[:copy(s.scratch[:], c.user[:c.userLen])], n, rule)
	}
}

// invalidUser reads "USER from HOST[ port N]".
func (s *sshd) invalidUser(b []byte) {
	text, host := peerAtEnd(b)
	if c, ok := clientOf(host); ok && ends(text, " from") {
		s.relate(c.host)
		s.remember(c)
		s.emit(Failure, c, text[:len(text)-len(" from")], s.count, "sshd/invalid-user")
		if s.conn != nil {
			s.conn.announced = true
		}
	}
}

// pamError reads "MESSAGE for [illegal user ]USER from HOST[ via OURS]".
func (s *sshd) pamError(b []byte) {
	i := index(b, " for ")
	if i < 0 {
		return
	}
	b, _ = cutInvalid(b[i+len(" for "):])
	text, host := peerAtEnd(b)
	if ends(text, " via") {
		text, host = peerAtEnd(text[:len(text)-len(" via")])
	}
	if c, ok := clientOf(host); ok && ends(text, " from") {
		user := text[:len(text)-len(" from")]
		s.remember(c)
		s.confirm(user)
		s.emit(Failure, c, user, s.count, "sshd/pam-error")
	}
}

// pamModule keeps a failure until more is known: with two modules in a row the second may accept.
func (s *sshd) pamModule(m []byte) {
	if user, host, addr, ok := parsePAMAccess(m); ok {
		s.emit(Denied, client{host, addr}, user, 1, "sshd/pam-access-denied")
		return
	}
	f, ok := parsePAM(m)
	if !ok || s.key == 0 {
		return
	}
	if len(s.known().host) == 0 {
		s.remember(client{f.host, f.addr})
	}
	c := s.conn
	changed := c.userLen > 0 && len(f.user) > 0 && !c.sameUser(f.user)
	if changed && c.pam > 0 {
		s.pending("sshd/pam-failure")
		c.multi = true
	}
	if len(f.user) > 0 {
		c.setUser(f.user)
	}
	if c.multi {
		s.emit(Failure, s.known(), f.user, s.count, "sshd/pam-failure")
		return
	}
	c.pam += uint16(min(s.count, 1000))
}

// exceeded reads "[invalid user ]USER from HOST[ port N][ ssh2]".
func (s *sshd) exceeded(b []byte) {
	b, _ = cutInvalid(b)
	text, host := peerAtEnd(b)
	c, ok := clientOf(host)
	if !ok || !ends(text, " from") {
		return
	}
	s.remember(c)
	count := s.count
	if s.conn != nil {
		count += int(s.conn.keys)
		s.conn.keys, s.conn.exceeded = 0, true
	}
	s.emit(Failure, c, text[:len(text)-len(" from")], count, "sshd/too-many-failures")
}
