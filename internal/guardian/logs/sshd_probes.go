package logs

import "bytes"

// handshake reads what is wrong before a login; all of it is for the aggressive mode.
func (s *sshd) handshake(m []byte) {
	if b, ok := after(m, "SSH: Server;Ltype: "); ok {
		s.serverType(b)
		return
	}
	if !s.aggressive {
		return
	}
	switch m[0] {
	case 'T':
		if b, ok := after(m, "Timeout before authentication for "); ok {
			s.probe(bytes.TrimPrefix(b, []byte("connection from ")), "sshd/timeout")
		}
	case 'B':
		s.bad(m)
	case 'k':
		if b, ok := after(m, "kex_exchange_identification: "); ok && brokenOff(b) || has(m, "kex_protocol_error: ") {
			s.probeLater("sshd/no-handshake")
		}
	case 'b':
		if b, ok := after(m, "banner exchange: Connection from "); ok {
			s.probe(b, "sshd/no-handshake")
		}
	case 's':
		s.fatalPacket(m)
	case 'n':
		if has(m, "no matching ") {
			s.probeLater("sshd/no-match")
		}
	case 'd':
		if b, ok := after(m, "drop connection #"); ok {
			s.dropped(b)
		} else if has(m, "dispatch_protocol_error: ") && s.preauth {
			s.probeLater("sshd/protocol-error")
		}
	}
}

// serverType reads "Version;Remote: HOST-PORT;…", which sshd of some systems writes for each connection.
func (s *sshd) serverType(b []byte) {
	i := index(b, ";Remote: ")
	if i < 0 || bytes.IndexByte(b[:i], ';') >= 0 {
		return
	}
	b = b[i+len(";Remote: "):]
	if i = bytes.IndexByte(b, ';'); i < 0 {
		return
	}
	if i = bytes.LastIndexByte(b[:i], '-'); i < 0 {
		return
	}
	if c, ok := clientOf(b[:i]); ok {
		s.remember(c)
	}
}

// brokenOff says whether the client has ended the exchange of versions or sent none.
func brokenOff(b []byte) bool {
	return has(b[min(1, len(b)):], "lient sent invalid protocol identifier") ||
		index(b, "onnection closed by remote host") >= 0 || index(b, "onnection reset by peer") >= 0
}

// bad reads "Bad protocol version identification 'TEXT' from HOST[ port N]" and "Bad packet length N.".
func (s *sshd) bad(m []byte) {
	if has(m, "Bad packet length ") && s.preauth {
		s.probeLater("sshd/protocol-error")
		return
	}
	b, ok := after(m, "Bad protocol version identification ")
	if !ok {
		return
	}
	text, host := peerAtEnd(b)
	if c, ok := clientOf(host); ok && ends(text, " from") {
		s.remember(c)
		s.emit(Probe, c, nil, s.count, "sshd/bad-version")
	}
}

// fatalPacket reads "ssh_dispatch_run_fatal: Connection from [… user USER ]HOST port N: REASON" and the same of
// other functions, before a login.
func (s *sshd) fatalPacket(m []byte) {
	i := index(m, ": Connection from ")
	if i < 0 || bytes.IndexByte(m[:i], ' ') >= 0 || !s.preauth {
		return
	}
	if user, c, _, ok := s.clientAmid(m[i+len(": Connection from "):]); ok {
		s.emit(Probe, c, user, s.count, "sshd/protocol-error")
	}
}

// dropped reads "N from [HOST]:PORT on …".
func (s *sshd) dropped(b []byte) {
	_, b = token(b)
	b, ok := after(b, "from ")
	b, _ = token(b)
	i := bytes.LastIndexByte(b, ':')
	if !ok || i < 0 {
		return
	}
	if c, ok := clientOf(b[:i]); ok {
		s.emit(Probe, c, nil, s.count, "sshd/dropped")
	}
}

// unable reads "with HOST port N: no matching WHAT found. …" or "a key exchange method".
func (s *sshd) unable(b []byte) {
	if !s.aggressive {
		return
	}
	if b, ok := after(b, "with "); ok {
		s.probe(b, "sshd/no-match")
		return
	}
	s.probeLater("sshd/no-match")
}

// probe reads "HOST[ port N]…".
func (s *sshd) probe(b []byte, rule string) {
	if !s.aggressive {
		return
	}
	text, _, _ := peerAtStart(b)
	c, ok := clientOf(bytes.TrimRight(text, ":,"))
	if !ok {
		s.probeLater(rule)
		return
	}
	s.remember(c)
	s.emit(Probe, c, nil, s.count, rule)
}

// probeLater tells of a probe of a client whom the line does not name, now or when a line does.
func (s *sshd) probeLater(rule string) {
	if !s.aggressive {
		return
	}
	if c := s.known(); len(c.host) > 0 {
		s.emit(Probe, c, nil, s.count, rule)
	} else if s.open() {
		s.conn.probe = true
	}
}
