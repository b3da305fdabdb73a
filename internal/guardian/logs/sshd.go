package logs

import "bytes"

// sshd reads what OpenSSH's server writes, in its own words and through PAM.
//
// Some failures count only by what comes later on the same connection: PAM's failure may be followed by
// a second module's success, and a client offers all its keys before the right one. Other messages do not
// name the client, which an earlier or later one does. What is known of a connection is kept for this.
type sshd struct {
	clock
	aggressive bool
	// syslog: a line had a time, a tag or a pid.
	syslog bool
	conns  conns
	last   lastEvent

	// Of the line that is being parsed:
	at      int64
	count   int
	key     uint64
	conn    *conn // nil when nothing is known of the connection
	preauth bool
	events  []Event
	scratch [64]byte // a user's name that leaves conn
}

func newSSHD(o Options) (Parser, error) {
	return &sshd{clock: newClock(o), aggressive: o.Mode == modeAggressive}, nil
}

var _ Parser = (*sshd)(nil)

// Parse implements Parser.
func (s *sshd) Parse(line []byte, events []Event) []Event {
	r, ok := s.record(line)
	if sure := !s.bare(&r, ok); sure && (!ok || index(r.prog, "sshd") < 0) {
		return s.last.repeat(&r, events)
	}
	first := len(events)
	s.events, s.at, s.count, s.key, s.preauth = events, r.at, 1, r.key(), false
	s.conn = s.conns.find(s.key)
	s.message(r.msg)
	events, s.events = s.events, nil
	s.last.keep(events[first:])
	return events
}

// message strips what may stand around a message.
func (s *sshd) message(m []byte) {
	if rest, n := repeated(m); n > 0 {
		m, s.count = rest, n
	}
	if rest, ok := after(m, "error: "); ok {
		m = rest
	} else if rest, ok := after(m, "fatal: "); ok {
		m = rest
	}
	if ends(m, " [preauth]") {
		m, s.preauth = bytes.TrimRight(m[:len(m)-len(" [preauth]")], " "), true
	}
	if len(m) > 0 {
		s.dispatch(m)
	}
}

// repeated takes "message repeated 3 times: [ MESSAGE]" apart; n is 0 for other messages.
func repeated(m []byte) (inner []byte, n int) {
	rest, ok := after(m, "message repeated ")
	if !ok || !ends(rest, "]") {
		return m, 0
	}
	times, rest := token(rest)
	if rest, ok = after(rest, "times: ["); !ok || number(times) < 1 {
		return m, 0
	}
	return bytes.TrimRight(trimLeft(rest[:len(rest)-1]), " "), number(times)
}

// dispatch gives the message to the function for messages that begin like it.
func (s *sshd) dispatch(m []byte) {
	switch m[0] {
	case 'F':
		if b, ok := after(m, "Failed "); ok {
			s.failed(b)
		}
	case 'A', 'a':
		s.accepted(m)
	case 'I', 'i':
		if b, ok := after(m[1:], "nvalid user "); ok {
			s.invalidUser(b)
		} else if b, ok := after(m[1:], "llegal user "); ok {
			s.invalidUser(b)
		}
	case 'C':
		s.connection(m)
	case 'D':
		s.disconnection(m)
	case 'R':
		s.received(m)
	case 'U':
		s.userOrUnable(m)
	case 'P':
		if b, ok := after(m, "PAM: "); ok {
			s.pamError(b)
		} else if has(m, "Protocol major versions differ") && s.preauth {
			s.probeLater("sshd/protocol-error")
		}
	case 'p', '(':
		s.pamModule(m)
	case 'm':
		if b, ok := after(m, "maximum authentication attempts exceeded for "); ok {
			s.exceeded(b)
		}
	case 'r':
		if b, ok := after(m, "refused connect from "); ok {
			s.refused(b)
		}
	default:
		s.handshake(m)
	}
}

// emit adds an event of the line.
func (s *sshd) emit(k Kind, c client, user []byte, count int, rule string) {
	if len(c.host) == 0 {
		return
	}
	s.events = append(s.events, Event{At: s.at, Kind: k, Addr: c.addr, Host: c.host, Count: count, User: user, Rule: rule})
}
