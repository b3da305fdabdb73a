package logs

import "bytes"

// nginxPath says whether a client, or an application, may have written line breaks into a message.
type nginxPath uint8

const (
	// pathNone: the words are nginx', but for the name of a user.
	pathNone nginxPath = iota
	// pathFile: the path of a file is in it, decoded from that of the request.
	pathFile
	// pathForeign: the words are an application's or a module's, or unknown.
	pathForeign
)

func pathOf(msg []byte, client bool) nginxPath {
	switch {
	case isUser(msg), client && beginsAny(msg, []string{
		"limiting ", "delaying ", "access forbidden by rule, ", "client login failed: ", "SSL_", "client sent ", "client closed ",
		"peer closed ", "upstream timed out ", "no live upstreams ", "connect() failed ", "recv() failed ", "send() failed ",
		"writev() failed ", "upstream prematurely closed ", "client prematurely closed ", "client intended to send ",
		"no user/password was provided ",
	}):
		return pathNone
	case missingFile(msg), begins(msg, `directory index of "`):
		return pathFile
	case client, bytes.IndexByte(msg, '"') >= 0, begins(msg, "["):
		return pathForeign
	}
	return pathNone // "client 192.0.2.7 closed keepalive connection"
}

// betrayed says whether a line can be the end of a record that began, with a path, before it, and which
// looks like several. There is no other line at which it could end:
//   - the line begins no record, but names a client; or it names none and is not whole, or
//   - it is one whose own end, as far as it has one, is followed by more, or
//   - the true end is at its end: then its request has the line break in it that the path had.
//
// Where an application's words began the record, all that is not plainly something else may be its end.
// A record that nginx has cut off at its greatest length is known by that (nginxShadow.cut).
func (p *nginxError) betrayed(r *nginxRecord) bool {
	if !r.ok || !r.client {
		return r.client || r.path != pathNone
	}
	_, tail, _ := bytes.Cut(r.msg, clientMark)
	if _, whole := readNginxTail(tail); !whole || hasLineBreak(tail) {
		return true
	}
	if p.shadow.deepest() != pathForeign {
		return false
	}
	_, known := p.event(r.msg)
	return !known || bytes.Contains(tail, clientMark)
}

// hasLineBreak says whether there is an encoded line break in the text.
func hasLineBreak(b []byte) bool {
	for {
		i := bytes.Index(b, []byte("%0"))
		if i < 0 || i+2 >= len(b) {
			return false
		}
		if b[i+2]|0x20 == 'a' {
			return true
		}
		b = b[i+2:]
	}
}
