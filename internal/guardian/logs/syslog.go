package logs

import "bytes"

// record is a line of syslog taken apart.
type record struct {
	// at is in nanoseconds since 1970, 0 when the line has no time.
	at int64
	// host that wrote it, prog its program: "sshd", "dovecot", "auth-worker(22401)"; "" when the line does
	// not say.
	host, prog []byte
	// pid is 0 when the line has none.
	pid uint32
	msg []byte
	// text is all that follows the time: host, tag and message; not of RFC 5424.
	text []byte
}

// record takes a line apart as syslog daemons, journald and multilog write it: an optional "<38>", a
// time in any form of leading or none, an optional host, and a tag such as "sshd[123]:". RFC 5424 is
// known by its "<38>1 ". It is false for a line without a tag, of which only at and msg are set.
func (c *clock) record(line []byte) (r record, ok bool) {
	b := line
	if len(b) > 2 && b[0] == '<' {
		if i := bytes.IndexByte(b[:min(len(b), 6)], '>'); i > 1 && number(b[1:i]) >= 0 {
			b = b[i+1:]
			if len(b) > 2 && b[0] == '1' && b[1] == ' ' {
				return c.rfc5424(b[2:])
			}
		}
	}
	at, n := c.leading(b)
	tokens := 4 // before the tag there may be a host and a facility
	if n == 0 {
		if n = uptime(b); n == 0 {
			tokens = 2
		}
	}
	r.at = at
	b = trimLeft(b[n:])
	r.text, r.msg = b, b
	for range tokens {
		tok, rest := token(b)
		if len(tok) == 0 {
			break
		}
		if prog, pid, ok := tag(tok); ok {
			r.prog, r.pid, r.msg = prog, pid, message(rest)
			return r, true
		}
		if r.host == nil && tok[0] != '<' {
			r.host = tok
		}
		b = trimLeft(rest)
	}
	return r, false
}

// rfc5424 takes apart what follows the version: time, host, program, pid, message id, structured data.
func (c *clock) rfc5424(b []byte) (r record, ok bool) {
	var fields [5][]byte
	for i := range fields {
		fields[i], b = token(b)
	}
	r.at, _ = c.iso(fields[0])
	r.host, r.prog = fields[1], fields[2]
	if n := number(fields[3]); n > 0 {
		r.pid = uint32(n)
	}
	n := structuredData(b)
	if n == 0 {
		return record{msg: b}, false
	}
	b = trimLeft(b[n:])
	if len(b) >= 3 && string(b[:3]) == "\ufeff" {
		b = b[3:]
	}
	r.msg = message(b)
	return r, true
}

// token cuts b at its first space.
func token(b []byte) (tok, rest []byte) {
	tok, rest, _ = cutAt(b, ' ')
	return tok, rest
}

// structuredData is the length of "-" or of elements such as [id name="va\"l]ue"]; 0 when there are none.
func structuredData(b []byte) int {
	if len(b) > 0 && b[0] == '-' {
		return 1
	}
	quoted, open := false, false
	for i := 0; i < len(b); i++ {
		switch x := b[i]; {
		case quoted && x == '\\':
			i++
		case open && x == '"':
			quoted = !quoted
		case quoted:
		case x == '[' && !open:
			open = true
		case x == ']' && open:
			if open = false; i+1 == len(b) || b[i+1] != '[' {
				return i + 1
			}
		case !open:
			return 0
		}
	}
	return 0
}

// tag reads "prog:", "prog[123]:", "prog[123]", "[prog]:" or "[prog]".
func tag(tok []byte) (prog []byte, pid uint32, ok bool) {
	n := len(tok)
	colon := tok[n-1] == ':'
	if colon {
		if n--; n == 0 || tok[n-1] == ':' { // "2001:db8::" is a host
			return nil, 0, false
		}
	}
	tok = tok[:n]
	if tok[n-1] != ']' {
		return tok, 0, colon
	}
	i := bytes.LastIndexByte(tok, '[')
	switch {
	case i == 0:
		return tok[1 : n-1], 0, n > 2
	case i < 0:
		return tok, 0, colon
	}
	if p := number(tok[i+1 : n-1]); p > 0 {
		pid = uint32(p)
	}
	return tok[:i], pid, true
}

// message drops what some daemons write between the tag and the message: "[ID 800047 auth.info]" of
// Solaris and "<Notice>:" of macOS.
func message(b []byte) []byte {
	b = bytes.TrimRight(trimLeft(b), " \r")
	if len(b) < 4 {
		return b
	}
	switch {
	case b[0] == '[' && b[1] == 'I' && b[2] == 'D' && b[3] == ' ':
		if i := bytes.IndexByte(b, ']'); i > 0 {
			return trimLeft(b[i+1:])
		}
	case b[0] == '<':
		if i := bytes.IndexByte(b, ':'); i > 1 && b[i-1] == '>' {
			return trimLeft(b[i+1:])
		}
	}
	return b
}

// uptime is the length of the kernel's "[ 1234.567890]" at the beginning of b; 0 when there is none.
func uptime(b []byte) int {
	if len(b) == 0 || b[0] != '[' {
		return 0
	}
	digits := 0
	for i, x := range b[1:] {
		switch {
		case x >= '0' && x <= '9':
			digits++
		case x == ']' && digits > 0:
			return i + 2
		case x != ' ' && x != '.':
			return 0
		}
	}
	return 0
}

func trimLeft(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return b
}

// number reads up to nine digits; -1 when b is anything else.
func number(b []byte) int {
	if len(b) == 0 || len(b) > 9 {
		return -1
	}
	n := 0
	for _, x := range b {
		if x < '0' || x > '9' {
			return -1
		}
		n = n*10 + int(x-'0')
	}
	return n
}
