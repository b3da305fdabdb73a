package logs

import "bytes"

// event says what a message tells; it is false for what tells nothing about a client.
func (p *nginxError) event(msg []byte) (Event, bool) {
	switch {
	case bytes.HasPrefix(msg, userMark):
		return failedLogin(msg, basicUser, "nginx/basic-auth")
	case bytes.HasPrefix(msg, pamMark):
		return failedLogin(msg, pamUser, "nginx/pam")
	case begins(msg, "limiting "), begins(msg, "delaying "):
		if bytes.Contains(msg[:bytes.Index(msg, clientMark)], []byte("dry run")) {
			return Event{}, false
		}
		return serverWords(msg, Probe, "nginx/limited")
	case begins(msg, "access forbidden by rule, "):
		return serverWords(msg, Denied, "nginx/forbidden-by-rule")
	case begins(msg, "client login failed: "):
		return serverWords(msg, Failure, "nginx/mail-login")
	case begins(msg, "[client "):
		return modSecurity(msg)
	case begins(msg, `directory index of "`):
		t, ok := soleTail(msg, isForbiddenIndex)
		return tailEvent(t, Denied, "nginx/directory-index"), ok
	case missingFile(msg):
		t, ok := soleTail(msg, isMissing)
		e := tailEvent(t, Request, "nginx/not-found")
		e.Status = 404
		return e, ok
	case p.aggressive && protocolError(msg):
		return serverWords(msg, Probe, "nginx/protocol-error")
	}
	return Event{}, false
}

// serverWords makes an event of a message in which there is nothing of the client's before its address.
func serverWords(msg []byte, k Kind, rule string) (Event, bool) {
	_, tail, _ := bytes.Cut(msg, clientMark)
	t, _ := readNginxTail(tail)
	e := tailEvent(t, k, rule)
	e.User = t.login
	return e, len(t.host) > 0
}

func tailEvent(t nginxTail, k Kind, rule string) Event {
	r := requestLine(t.request)
	return Event{Kind: k, Host: t.host, Addr: t.addr, Method: r.method, Path: r.path, Rule: rule}
}

func failedLogin(msg []byte, user func([]byte) ([]byte, bool), rule string) (Event, bool) {
	t, name, ok := userTail(msg, user)
	e := tailEvent(t, Failure, rule)
	e.User = name
	return e, ok
}

// basicUser takes the user out of `user "NAME": password mismatch` and `user "NAME" was not found in
// "FILE"`.
func basicUser(b []byte) ([]byte, bool) {
	b = b[len(userMark):]
	if name, found := bytes.CutSuffix(b, []byte(`": password mismatch`)); found {
		return name, true
	}
	if i := bytes.LastIndex(b, []byte(`" was not found in "`)); i >= 0 && b[len(b)-1] == '"' {
		return b[:i], true
	}
	// The name may look as if the quote after it were part of the message.
	if i := bytes.LastIndex(b, []byte(`": was not found in "`)); i >= 0 && b[len(b)-1] == '"' {
		return b[:i], true
	}
	return nil, false
}

// pamUser takes the user out of "PAM: user 'NAME' - not authenticated: Authentication failure".
func pamUser(b []byte) ([]byte, bool) {
	b = b[len(pamMark):]
	for _, mark := range [...]string{"' - not authenticated: ", "' - invalid account: "} {
		if i := bytes.LastIndex(b, []byte(mark)); i >= 0 {
			return b[:i], true
		}
	}
	return nil, false
}

// missingFile says whether the message begins with the path of a file: `open() "/x…` or `"/x…`.
func missingFile(msg []byte) bool {
	i := bytes.IndexByte(msg, '"')
	switch {
	case i < 0:
		return false
	case i == 0:
		return true
	}
	return i < 16 && ends(msg[:i], "() ")
}

func isMissing(b []byte) bool {
	for _, end := range [...]string{
		`" failed (2: No such file or directory)`, `" is not found (2: No such file or directory)`,
		`" failed (20: Not a directory)`, `" is not found (20: Not a directory)`,
	} {
		if ends(b, end) {
			return true
		}
	}
	return false
}

func isForbiddenIndex(b []byte) bool { return ends(b, `" is forbidden`) }

// protocolError knows what is logged of handshakes that failed and of requests that are none.
func protocolError(msg []byte) bool {
	return beginsAny(msg, []string{
		"SSL_do_handshake() failed", "SSL_read() failed", "peer closed connection in SSL handshake",
		"client sent invalid ", "client sent plain HTTP request to HTTPS port", "client sent too long ",
		"client sent too large request", "client sent CONNECT method", "client sent TRACE method",
		"client sent HTTP/1.1 request without", "client sent unsafe ", "client sent duplicate ",
		"client closed connection while SSL handshaking", "no \"ssl_certificate\" is defined",
		"broken header: ", "client exceeded ", "client violated ", "http2 flood", "http2 negative ",
	})
}

// modSecurity reads `[client 192.0.2.1] ModSecurity: Access denied with code 403 (phase 2). …`; what it
// found in the request comes after its own words.
func modSecurity(msg []byte) (Event, bool) {
	client, text, _ := bytes.Cut(msg[len("[client "):], []byte("] "))
	if !begins(text, "ModSecurity: Access denied") {
		return Event{}, false
	}
	e := Event{Kind: Denied, Rule: "nginx/modsecurity"}
	e.Host, e.Addr = webHost(client, portMaybe)
	return e, e.Addr.IsValid()
}
