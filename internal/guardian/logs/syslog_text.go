package logs

import "bytes"

// The functions of this file look into text without allocating; bytes.Index and its like would copy a
// needle that is a string.

func has(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// after returns what follows the prefix; false when b does not begin with it.
func after(b []byte, prefix string) ([]byte, bool) {
	if !has(b, prefix) {
		return b, false
	}
	return b[len(prefix):], true
}

// index is that of the first sub in b; -1 when there is none.
func index(b []byte, sub string) int {
	for off := 0; ; {
		i := bytes.IndexByte(b[off:], sub[0])
		if i < 0 || len(b)-off-i < len(sub) {
			return -1
		}
		off += i
		if string(b[off:off+len(sub)]) == sub {
			return off
		}
		off++
	}
}

// lastIndex is that of the last sub in b; -1 when there is none.
func lastIndex(b []byte, sub string) int {
	for i := len(b) - len(sub); i >= 0; i-- {
		if b[i] == sub[0] && string(b[i:i+len(sub)]) == sub {
			return i
		}
	}
	return -1
}

// lastToken cuts b at its last space.
func lastToken(b []byte) (before, tok []byte) {
	if i := bytes.LastIndexByte(b, ' '); i >= 0 {
		return b[:i], b[i+1:]
	}
	return nil, b
}

// peerAtEnd takes "TEXT HOST[ port N][ ssh2]" apart from its end, where only the server has written.
func peerAtEnd(b []byte) (text, host []byte) {
	text, host = lastToken(b)
	if has(host, "ssh") && len(host) <= 4 {
		text, host = lastToken(text)
	}
	if ends(text, " port") && number(host) >= 0 {
		return lastToken(text[:len(text)-len(" port")])
	}
	return text, host
}

// peerAtStart takes "HOST[ port N][ ssh2]" from the beginning of b, where only the server has written.
// port says whether there is one; rest follows.
func peerAtStart(b []byte) (host, rest []byte, port bool) {
	host, rest = b, nil
	if i := bytes.IndexByte(b, ' '); i >= 0 {
		host, rest = b[:i], b[i:]
	}
	if p, ok := after(rest, " port "); ok {
		n := 0
		for n < len(p) && p[n]-'0' <= 9 {
			n++
		}
		if n > 0 {
			rest, port = p[n:], true
		}
	}
	if p, ok := after(rest, " ssh"); ok {
		if len(p) > 0 && p[0]-'0' <= 9 {
			p = p[1:]
		}
		rest = p
	}
	return host, rest, port
}
