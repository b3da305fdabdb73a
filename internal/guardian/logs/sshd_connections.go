package logs

import "bytes"

// connection reads "Connection from HOST port N …", "Connection closed by [… user USER ]HOST[ port N]" and
// "Connection reset by …", and "Corrupted MAC on input.".
func (s *sshd) connection(m []byte) {
	if b, ok := after(m, "Connection from "); ok {
		text, _, _ := peerAtStart(b)
		if c, ok := clientOf(text); ok {
			if s.conn != nil { // of a pid that has come round
				s.conn.forget()
			}
			s.remember(c)
		}
		return
	}
	if b, ok := after(m, "Connection closed by "); ok {
		s.closed(b, "sshd/closed-before-login")
	} else if b, ok := after(m, "Connection reset by "); ok {
		s.closed(b, "sshd/reset-before-login")
	} else if has(m, "Corrupted MAC on input") && s.preauth {
		s.probeLater("sshd/protocol-error")
	}
}

// closed reads "[authenticating user |invalid user |user ][USER ]HOST[ port N]".
func (s *sshd) closed(b []byte, rule string) {
	text, host := peerAtEnd(b)
	c, ok := clientOf(host)
	if s.finish(c) || !ok || !s.preauth || !s.aggressive {
		return
	}
	s.emit(Probe, c, userOf(text), s.count, rule)
}

// userOf cuts sshd's words before the name of a user off.
func userOf(text []byte) []byte {
	if i := index(text, "user "); i >= 0 {
		return text[i+len("user "):]
	}
	return nil
}

// disconnection reads what begins with "Disconnected", "Disconnecting", and "Did not receive identification
// string from HOST[ port N]".
func (s *sshd) disconnection(m []byte) {
	if b, ok := after(m, "Disconnected from "); ok {
		s.closed(b, "sshd/disconnected-before-login")
	} else if b, ok := after(m, "Did not receive identification string from "); ok {
		s.probe(b, "sshd/no-identification")
	} else if b, ok := after(m, "Disconnecting: "); ok {
		s.disconnecting(b, client{}, nil)
	} else if b, ok := after(m, "Disconnecting "); ok {
		b = bytes.TrimPrefix(b, []byte("from "))
		if user, c, reason, ok := s.clientAmid(b); ok {
			s.disconnecting(reason, c, user)
		}
	}
}

// disconnecting reads sshd's reason; the client is without a host where the line does not name it.
func (s *sshd) disconnecting(reason []byte, c client, user []byte) {
	rest, many := after(reason, "Too many authentication failures")
	changed := has(reason, "Change of username or service not allowed")
	switch {
	case many && c.host != nil:
		// A message of its own has told of it before.
	case many:
		s.tooMany(rest)
	case changed && c.host != nil:
		s.emit(Failure, c, user, s.count, "sshd/changed-user")
	case changed:
		s.refuseLater(nil, "sshd/changed-user")
	case s.preauth && s.aggressive && c.host != nil:
		s.emit(Probe, c, user, s.count, "sshd/protocol-error")
	}
}

// tooMany reads what may follow the words: " for USER".
func (s *sshd) tooMany(rest []byte) {
	user, _ := after(rest, " for ")
	user, _ = cutInvalid(user)
	if s.conn == nil {
		s.refuseLater(user, "sshd/too-many-failures")
		return
	}
	if s.conn.exceeded {
		return
	}
	s.count += int(s.conn.keys)
	s.conn.keys = 0
	s.confirm(user)
	s.refuseLater(user, "sshd/too-many-failures")
}

// clientAmid finds the client in "[authenticating user |invalid user ][USER ]HOST port N: TEXT". USER and
// TEXT may be what the client likes, but sshd cuts a name at its first colon: so the first place that looks
// like the client is it. The address as known from other lines of the connection outranks that.
func (s *sshd) clientAmid(b []byte) (user []byte, c client, rest []byte, ok bool) {
	known := s.known().addr
	for off := 0; ; off += len(" port") {
		i := index(b[off:], " port ")
		if i < 0 {
			return user, c, rest, ok
		}
		off += i
		text, host := lastToken(b[:off])
		_, tail, _ := peerAtStart(b[off-len(host):])
		tail, colon := after(tail, ": ")
		this, isPeer := clientOf(host)
		if !colon || !isPeer || !this.addr.IsValid() {
			continue
		}
		if known.IsValid() && known == this.addr {
			return userOf(text), this, tail, true
		}
		if !ok {
			user, c, rest, ok = userOf(text), this, tail, true
		}
	}
}
