package logs

import "bytes"

// apacheRule is a message by how it begins and what else is in it.
type apacheRule struct {
	begin, contains string
	kind            Kind
	rule            string
}

// apacheRules are the messages without the name of a user, in the words of Apache 2.2 and 2.4.
var apacheRules = [...]apacheRule{
	{"client denied by server configuration", "", Denied, "apache/denied"},
	{"client used wrong authentication scheme", "", Failure, "apache/wrong-scheme"},
	{"Authorization of user ", " failed", Denied, "apache/not-authorized"},
	{"access to ", " failed, reason: ", Denied, "apache/not-authorized"},
	{"invalid nonce ", " received - length is not", Probe, "apache/digest"},
	{"invalid nonce ", " received - user attempted time travel", Probe, "apache/digest"},
	{"realm mismatch - got `", " but expected `", Probe, "apache/digest"},
	{"unknown algorithm `", " received", Probe, "apache/digest"},
	{"invalid qop `", " received", Probe, "apache/digest"},
	{"Hostname ", " provided via SNI", Probe, "apache/sni"},
	{"No hostname was provided via SNI", "", Probe, "apache/sni"},
	{"ModSecurity: Access denied", "", Denied, "apache/modsecurity"},
	{"Cannot serve directory ", " forbidden by Options directive", Denied, "apache/directory-index"},
	{"Directory index forbidden by ", "", Denied, "apache/directory-index"},
	{"File does not exist: ", "", Request, "apache/not-found"},
	{"script not found or unable to stat", "", Request, "apache/not-found"},
	{"script '", "' not found or unable to stat", Request, "apache/not-found"},
	{"Got error 'Primary script unknown", "", Request, "apache/not-found"},
	{"Invalid URI in request", "", Probe, "apache/bad-request"},
	{"invalid URI path (", "", Probe, "apache/bad-request"},
	{"Invalid method in request", "", Probe, "apache/bad-request"},
	{"request failed: malformed", "", Probe, "apache/bad-request"},
	{"request failed: erroneous", "", Probe, "apache/bad-request"},
	{"request failed: invalid", "", Probe, "apache/bad-request"},
	{"request failed: URI too long", "", Probe, "apache/bad-request"},
	{"HTTP Request Line; ", "", Probe, "apache/bad-request"},
	{"client sent HTTP/1.1 request without hostname", "", Probe, "apache/bad-request"},
	{"Client sent malformed Host header", "", Probe, "apache/bad-request"},
}

// apacheProtocol are the beginnings of messages about connections given up and protocols broken.
var apacheProtocol = [...]string{
	"SSL Library Error", "SSL library error ", "SSL handshake ", "rejecting client initiated renegotiation",
	"Request header read timeout", "request failed: error reading the headers", "Request body read timeout",
	"SSL Proxy: Hostname", "Connection to child ",
}

// event says what a message tells; it is false for what tells nothing about a client.
func (p *apacheError) event(h apacheHeader, msg []byte) (Event, bool) {
	if user, ok := apacheUserMessage(msg); ok {
		return apacheLogin(user)
	}
	for i := range apacheRules {
		r := &apacheRules[i]
		if !begins(msg, r.begin) || r.contains != "" && !bytes.Contains(msg, []byte(r.contains)) {
			continue
		}
		if r.kind == Denied && string(h.module) == "evasive20" && !p.aggressive {
			// mod_evasive refuses whom it finds too quick, as honest people may be.
			return Event{}, false
		}
		e := Event{Kind: r.kind, Rule: r.rule}
		switch {
		case r.kind == Request:
			e.Status, e.Path = 404, apachePath(msg)
		case begins(msg, "Authorization of user "):
			e.User = upTo(msg[len("Authorization of user "):], " to access ")
		}
		return e, true
	}
	return Event{Kind: Probe, Rule: "apache/protocol-error"}, p.aggressive && beginsAny(msg, apacheProtocol[:])
}

// apacheUserMessage returns what follows "user " in messages that begin with it, and in those of
// mod_authnz_ldap, which begin with "[pid] auth_ldap authenticate: ".
func apacheUserMessage(msg []byte) ([]byte, bool) {
	if len(msg) > 0 && msg[0] == '[' {
		if pid, rest, closed := bytes.Cut(msg[1:], []byte("] ")); closed && number(pid) >= 0 {
			msg = rest
		}
	}
	for _, begin := range [...]string{"user ", "auth_ldap authenticate: user ", "DBM user ", "DB user "} {
		if begins(msg, begin) {
			return msg[len(begin):], true
		}
	}
	return nil, false
}

// apacheFailures are the words that follow a user's name.
var apacheFailures = [...]struct {
	mark string
	kind Kind
	rule string
}{
	{`: authentication failure for "`, Failure, "apache/password-mismatch"},
	{`: authorization failure for "`, Denied, "apache/not-authorized"},
	{": password mismatch: ", Failure, "apache/password-mismatch"},
	{" authentication failed; URI ", Failure, "apache/ldap"},
	{" not found", Failure, "apache/user-not-found"},
	{" denied by provider", Failure, "apache/denied-by-provider"},
}

// apacheLogin reads "NAME: authentication failure for …" and the like. The name is what stands before
// the first words that can follow it.
func apacheLogin(b []byte) (Event, bool) {
	for _, f := range apacheFailures {
		i := bytes.Index(b, []byte(f.mark))
		if i < 0 {
			continue
		}
		name := b[:i]
		if len(name) > 1 && (name[0] == '`' || name[0] == '\'') { // `NAME' in realm `REALM'
			name = upTo(name[1:], "'")
		}
		return Event{Kind: f.kind, User: name, Rule: f.rule}, true
	}
	return Event{}, false
}

// apachePath is the file that was not found, as far as the message has it.
func apachePath(msg []byte) []byte {
	if begins(msg, "script '") {
		return upTo(msg[len("script '"):], "'")
	}
	_, path, _ := bytes.Cut(msg, []byte(": "))
	if begins(msg, "Got error") {
		return nil
	}
	return upTo(path, ", referer: ")
}
