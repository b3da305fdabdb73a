package logs

import "net/netip"

// lastEvent is the event of the line before, for daemons that write "last message repeated 3 times".
type lastEvent struct {
	kind       Kind
	addr       netip.Addr
	rule       string
	host, user int // lengths in buf
	buf        [128]byte
}

// keep remembers the event of a line that had exactly one.
func (l *lastEvent) keep(events []Event) {
	if l.kind = 0; len(events) != 1 {
		return
	}
	e := &events[0]
	if len(e.Host)+len(e.User) > len(l.buf) {
		return
	}
	l.kind, l.addr, l.rule = e.Kind, e.Addr, e.Rule
	l.host = copy(l.buf[:], e.Host)
	l.user = copy(l.buf[l.host:], e.User)
}

// repeat adds the event of the line before if the record, which is of another program or has no tag,
// says that it came again. Any other line makes it forget the event.
func (l *lastEvent) repeat(r *record, events []Event) []Event {
	kind := l.kind
	l.kind = 0
	m, ok := r.msg, string(r.prog) == "syslogd"
	if len(r.prog) == 0 {
		_, m = token(m) // the host
		m, ok = trimLeft(m), true
	}
	if kind == 0 || !ok {
		return events
	}
	if m, ok = after(m, "last message repeated "); !ok {
		return events
	}
	n, rest := token(m)
	if count := number(n); count > 0 && string(rest) == "times" {
		events = append(events, Event{At: r.at, Kind: kind, Addr: l.addr, Host: l.buf[:l.host], Count: count,
			User: l.buf[l.host : l.host+l.user], Rule: l.rule})
	}
	return events
}
