package logs

import "bytes"

// maxMethod is longer than any method that is registered.
const maxMethod = 24

// webRequest is a request line taken apart.
type webRequest struct {
	method, path []byte
	// ok is false for what no client of HTTP sends, such as a TLS handshake on a plain port.
	ok bool
}

// requestLine takes "GET /path?query HTTP/1.1" apart. A target may have spaces in it, as some servers
// let them pass; one in the form of a proxy or of HTTP/2 (https://host/path) loses scheme and host.
func requestLine(b []byte) (r webRequest) {
	method, rest, found := field(b)
	if !found || !isMethod(method) {
		return r
	}
	target := rest
	if i := bytes.LastIndexByte(rest, ' '); i >= 0 && begins(rest[i+1:], "HTTP/") {
		target = rest[:i]
		r.ok = true
	}
	if len(target) == 0 {
		return webRequest{}
	}
	r.method = method
	r.path = targetPath(target)
	switch {
	case target[0] == '/' || target[0] == '*' && len(target) == 1:
	case string(method) == "CONNECT" || bytes.Contains(target, []byte("://")):
	default:
		r.ok = false
	}
	return r
}

// targetPath is the path of a request's target, without its query.
func targetPath(target []byte) []byte {
	if len(target) > 0 && target[0] != '/' {
		if i := bytes.Index(target, []byte("://")); i > 0 && i < 8 {
			rest := target[i+3:]
			slash := bytes.IndexByte(rest, '/')
			if slash < 0 {
				return target
			}
			target = rest[slash:]
		}
	}
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		target = target[:i]
	}
	return target
}

func isMethod(b []byte) bool {
	if len(b) == 0 || len(b) > maxMethod {
		return false
	}
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// closingQuote returns where the text of b that is in quotes ends: at the first quote that no
// backslash escapes; -1 when there is none.
func closingQuote(b []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], '"')
		if i < 0 {
			return -1
		}
		i += from
		if i == 0 || b[i-1] != '\\' {
			return i
		}
		slashes := 1
		for slashes < i && b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
		from = i + 1
	}
}

// statusCode reads the three digits of a status; 0 when they are none.
func statusCode(b []byte) int {
	if n := number(b); len(b) == 3 && n >= 100 {
		return n
	}
	return 0
}
