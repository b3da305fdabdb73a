package logs

import "bytes"

// refusals are the words of Dovecot's password databases for a login that they refuse.
func refusals() [9]string {
	return [...]string{
		"unknown user", "Unknown user", "Password mismatch", "password mismatch", "pam_authenticate() failed",
		"invalid credentials", "Invalid credentials", "Login failed", "Authentication failed",
	}
}

func refusal(m []byte) bool {
	for _, s := range refusals() {
		if has(m, s) {
			return true
		}
	}
	return false
}

// authFailure reads what the authentication processes write:
//
//	auth-worker(12): pam(USER,ADDRESS,<SESSION>): unknown user
//	auth(USER,ADDRESS,sasl:plain)<SESSION>: sql: Password mismatch (given password: …)
//
// USER, and at the end a password, may have anything in them, if the configuration lets them: a line
// that can be read in two ways with two addresses says nothing.
func authFailure(m []byte, e *Event) bool {
	found, refused := false, false
	for off := 0; ; off++ {
		i := bytes.IndexByte(m[off:], ')')
		if i < 0 {
			return found && refused
		}
		off += i
		rest := m[off+1:]
		if has(rest, "<") {
			if i := index(rest, ">: "); i > 0 {
				rest = rest[i+1:]
			}
		}
		rest, colon := after(rest, ": ")
		this := *e
		if !colon || !authClient(callArguments(m[:off]), &this) {
			continue
		}
		if found && this.Addr != e.Addr {
			return false
		}
		found, *e = true, this
		refused = refused || databaseRefuses(cutLevel(rest))
	}
}

// databaseRefuses reads "Password mismatch" or "sql: Password mismatch".
func databaseRefuses(m []byte) bool {
	i := index(m, ": ")
	return refusal(m) || i >= 0 && bytes.IndexByte(m[:i], ' ') < 0 && refusal(m[i+len(": "):])
}

// callArguments cuts what comes before USER off: the process with its number, as in "auth-worker(5): conn
// unix:auth-worker (pid=1,uid=2): auth-worker<3>: sql(USER,ADDRESS", and the name of the database.
func callArguments(b []byte) []byte {
	if i := index(b, ": "); i >= 0 && unnamed(b[:i]) {
		b = cutLevel(b[i+len(": "):])
	}
	if rest, ok := after(b, "conn "); ok {
		if i := index(rest, ">: "); i >= 0 {
			b = rest[i+len(">: "):]
		}
	}
	if i := bytes.IndexByte(b, '('); i >= 0 {
		return b[i+1:]
	}
	return nil
}

// unnamed says whether a process is called without a user: "auth", "auth(default)", "auth-worker(123)".
func unnamed(process []byte) bool {
	i := bytes.IndexByte(process, '(')
	if i < 0 {
		return true
	}
	n := len(process) - 1
	return process[n] == ')' && (string(process[i+1:n]) == "default" || number(process[i+1:n]) >= 0)
}

// authClient reads "USER,ADDRESS" with or without further words after commas: a session, "sasl:login".
func authClient(b []byte, e *Event) bool {
	for range 3 {
		i := bytes.LastIndexByte(b, ',')
		if i < 0 {
			return false
		}
		if a, ok := parseAddr(b[i+1:]); ok {
			e.Host, _, _ = peer(b[i+1:])
			e.Addr, e.User = a, b[:i]
			e.Kind, e.Rule = Failure, "dovecot/refused"
			return true
		}
		if w := b[i+1:]; len(w) > 0 && w[0] != '<' && !has(w, "sasl:") {
			return false
		}
		b = b[:i]
	}
	return false
}
