package logs

import (
	"bytes"
	"net/netip"
)

var (
	clientMark  = []byte(", client: ")
	userMark    = []byte(`user "`)
	pamMark     = []byte("PAM: user '")
	requestMark = []byte(`, request: "`)
	loginMark   = []byte(`, login: "`)
	hostMark    = []byte(`", host: "`)
	referMark   = []byte(`", referrer: "`)
)

// nginxTail is what nginx writes behind a message: client, server, request, host and referrer. The last
// three are the client's words, with nothing escaped.
type nginxTail struct {
	host    []byte
	addr    netip.Addr
	request []byte
	login   []byte
}

// readNginxTail reads what follows ", client: ". It is false when what follows is not a whole tail, by
// what nginx itself demands of a request line and of a host before it goes on with a request; then
// client and address are those that stand there nevertheless.
func readNginxTail(b []byte) (t nginxTail, ok bool) {
	client, rest, more := bytes.Cut(b, []byte(", "))
	t.host, t.addr = webHost(client, portMaybe)
	if !t.addr.IsValid() && !begins(client, "unix:") {
		return nginxTail{}, false
	}
	if !more {
		return t, true
	}
	server, found := bytes.CutPrefix(rest, []byte("server: "))
	if !found {
		return t, false
	}
	i := bytes.IndexByte(server, ',')
	if i < 0 {
		return t, bytes.IndexByte(server, '"') < 0
	}
	if bytes.IndexByte(server[:i], '"') >= 0 {
		return t, false
	}
	rest = server[i:]
	switch {
	case bytes.HasPrefix(rest, loginMark):
		t.login = bytes.TrimSuffix(rest[len(loginMark):], []byte(`"`))
		return t, rest[len(rest)-1] == '"'
	case !bytes.HasPrefix(rest, requestMark):
		return t, true // stream: bytes from and to the client
	}
	return t, t.readRequest(rest[len(requestMark):])
}

// readRequest reads the request up to the quote that follows its protocol, and what comes after it.
func (t *nginxTail) readRequest(b []byte) bool {
	end := requestEnd(b)
	if end < 0 { // malformed, or of HTTP/0.9: only the end of the line ends it
		t.request = bytes.TrimSuffix(b, []byte(`"`))
		return len(b) > 0 && b[len(b)-1] == '"' && !bytes.Contains(b, hostMark)
	}
	t.request = b[:end]
	b = b[end:]
	if string(b) == `"` {
		return true
	}
	if begins(b, `", subrequest: "`) || begins(b, `", upstream: "`) {
		i := bytes.Index(b, hostMark)
		if i < 0 {
			return b[len(b)-1] == '"'
		}
		b = b[i:]
	}
	host, found := bytes.CutPrefix(b, hostMark)
	if !found || b[len(b)-1] != '"' {
		return false
	}
	if i := bytes.Index(host, referMark); i >= 0 {
		host = host[:i]
	}
	// nginx refuses a host with a slash.
	return bytes.IndexByte(host, '/') < 0
}

// requestEnd is where a request line ends: at the first quote right behind " HTTP/1.1"; -1 if there is
// none. Within a target nginx takes a space followed by "HTTP/" for the protocol.
func requestEnd(b []byte) int {
	mark := []byte(" HTTP/")
	for from := 0; ; {
		i := bytes.Index(b[from:], mark)
		if i < 0 {
			return -1
		}
		i += from + len(mark)
		if i+3 < len(b) && b[i+1] == '.' && b[i+3] == '"' {
			return i + 3
		}
		from = i
	}
}

// soleTail returns the tail of a message into which a client may have written tails of its own; it is
// false when more than one part of the line can be the true one. form says whether a text can be what
// stands before a tail.
func soleTail(msg []byte, form func([]byte) bool) (t nginxTail, ok bool) {
	for from := 0; ; {
		i := bytes.Index(msg[from:], clientMark)
		if i < 0 {
			return t, ok
		}
		i += from
		from = i + len(clientMark)
		if !form(msg[:i]) {
			continue
		}
		next, whole := readNginxTail(msg[from:])
		if !whole {
			continue
		}
		if ok {
			return nginxTail{}, false
		}
		t, ok = next, true
	}
}

// userTail returns the tail of a message about a user's login, and the user. Nothing stops a user's
// name or a referrer from looking like a tail. The first tail is true whose message is whole and whose
// user has no colon, as nginx ends the name at the first; then the first with any user, and last one
// that is not whole.
func userTail(msg []byte, user func([]byte) ([]byte, bool)) (t nginxTail, name []byte, ok bool) {
	rank := 0
	for from := 0; rank < 3; {
		i := bytes.Index(msg[from:], clientMark)
		if i < 0 {
			break
		}
		i += from
		from = i + len(clientMark)
		n, found := user(msg[:i])
		if !found {
			continue
		}
		next, whole := readNginxTail(msg[from:])
		colon := bytes.IndexByte(n, ':') >= 0
		r := 0
		switch {
		case whole && !colon:
			r = 3
		case whole:
			r = 2
		case next.addr.IsValid() && !colon:
			r = 1
		}
		if r > rank {
			rank, t, name = r, next, n
		}
	}
	return t, name, rank > 0
}
