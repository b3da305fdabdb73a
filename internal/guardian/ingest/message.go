package ingest

import (
	"bytes"
	"net/netip"
	"strings"
)

// message is one of syslog, RFC 3164 or RFC 5424, taken apart. All point into what was received.
type message struct {
	stamp, host, program, pid, text []byte
}

// parseMessage takes a message apart; false: it names no program.
func parseMessage(b []byte) (message, bool) {
	b = bytes.TrimRight(b, "\r\n\x00")
	end := bytes.IndexByte(b[:min(len(b), 5)], '>')
	if end < 2 || b[0] != '<' || !digits(b[1:end]) {
		return message{}, false
	}
	b = b[end+1:]
	if rest, is := bytes.CutPrefix(b, []byte("1 ")); is {
		return structured(rest)
	}
	return traditional(b)
}

// structured reads RFC 5424: time, host, program, process, kind of message, data, text.
func structured(b []byte) (message, bool) {
	var fields [5][]byte
	for i := range fields {
		var ok bool
		if fields[i], b, ok = bytes.Cut(b, []byte{' '}); !ok || len(fields[i]) == 0 {
			return message{}, false
		}
		if string(fields[i]) == "-" {
			fields[i] = nil
		}
	}
	n := dataLength(b)
	if n == 0 {
		return message{}, false
	}
	text := bytes.TrimPrefix(bytes.TrimPrefix(b[n:], []byte{' '}), []byte("\ufeff"))
	m := message{stamp: fields[0], host: fields[1], program: fields[2], pid: fields[3], text: text}
	return m, len(m.program) > 0
}

// dataLength is the length of "-" or of elements such as [id name="va\"l]ue"]; 0: it is neither.
func dataLength(b []byte) int {
	if len(b) > 0 && b[0] == '-' {
		return 1
	}
	inside, quoted := false, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case inside && c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' && !inside:
			inside = true
		case c == ']' && inside:
			inside = false
			if i+1 == len(b) || b[i+1] != '[' {
				return i + 1
			}
		case !inside:
			return 0
		}
	}
	return 0
}

// traditional reads RFC 3164 as programs write it: the time, which may be ISO 8601 or missing, the
// host, which may be missing, and "program[pid]: text".
func traditional(b []byte) (message, bool) {
	var m message
	switch {
	case len(b) > 16 && b[15] == ' ' && b[9] == ':' && b[12] == ':' && b[3] == ' ':
		m.stamp, b = b[:15], b[16:] // "Jan _2 15:04:05"
	case len(b) > 20 && b[4] == '-' && b[10] == 'T':
		m.stamp, b, _ = bytes.Cut(b, []byte{' '})
	}
	for range 2 {
		token, rest, _ := bytes.Cut(b, []byte{' '})
		if m.tag(token) {
			m.text = rest
			return m, true
		}
		if m.host != nil || len(token) == 0 {
			break
		}
		m.host, b = token, rest
	}
	return message{}, false
}

// tag reads "program:", "program[pid]:" or "program[pid]".
func (m *message) tag(token []byte) bool {
	name, colon := bytes.CutSuffix(token, []byte{':'})
	if i := bytes.IndexByte(name, '['); i > 0 && name[len(name)-1] == ']' {
		m.program, m.pid = name[:i], name[i+1:len(name)-1]
		return true
	}
	m.program = name
	// What has a colon within is an address: a host that ends with one is no program.
	return colon && len(name) > 0 && bytes.IndexByte(name, ':') < 0
}

// line appends the message as a log file would have it. The host carries who sent it: parsers relate
// lines by host and process, and one sender must not speak for another.
func (m *message) line(b []byte, from netip.Addr, text []byte) []byte {
	if len(m.stamp) > 0 {
		b = append(append(b, m.stamp...), ' ')
	}
	b = append(append(b, m.host...), '/')
	b = append(from.AppendTo(b), ' ')
	return appendTagged(b, string(m.program), string(m.pid), text)
}

// formatsOf are the formats that a message may have by its program, the likeliest first.
func formatsOf(m *message) []string {
	var likely []string
	switch name := program(string(m.program)); {
	case name == "sshd" || strings.HasPrefix(name, "sshd-"):
		likely = []string{"sshd"}
	case name == "dovecot" || name == "haproxy" || name == "caddy" || name == "traefik":
		likely = []string{name}
	case name == "nginx" && nginxError(m.text):
		return []string{"nginx-error"}
	case name == "nginx":
		return []string{"nginx-access"}
	case (name == "apache2" || name == "apache" || name == "httpd") && bytes.HasPrefix(m.text, []byte{'['}):
		return []string{"apache-error"}
	case name == "apache2" || name == "apache" || name == "httpd":
		return []string{"apache-access"}
	}
	if bytes.HasPrefix(m.text, []byte("pam_")) || bytes.HasPrefix(m.text, []byte("message repeated ")) {
		likely = append(likely, "pam")
	}
	return likely
}

// program is the name of a program in lower case, without its path and what follows a slash, as in
// "postfix/smtpd".
func program(tag string) string {
	tag = strings.ToLower(tag)
	if strings.HasPrefix(tag, "/") {
		return tag[strings.LastIndexByte(tag, '/')+1:]
	}
	name, _, _ := strings.Cut(tag, "/")
	return name
}

// nginxError says whether a line of nginx begins with the time of its error log: "2026/01/31 12:…".
func nginxError(b []byte) bool {
	return len(b) > 11 && b[4] == '/' && b[7] == '/' && b[10] == ' ' && digits(b[:4])
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
