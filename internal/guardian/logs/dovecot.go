package logs

import "bytes"

// dovecot reads what Dovecot's login processes, its authentication and PAM on behalf of it write,
// versions 1 to 2.4, in syslog or in a log of its own.
type dovecot struct {
	clock
	aggressive bool
}

func newDovecot(o Options) (Parser, error) {
	return &dovecot{newClock(o), o.Mode == modeAggressive}, nil
}

var _ Parser = (*dovecot)(nil)

// Parse implements Parser.
func (d *dovecot) Parse(line []byte, events []Event) []Event {
	r, _ := d.record(line)
	e := Event{At: r.at, Count: 1}
	if f, ok := parsePAM(r.msg); ok && (has(r.prog, "dovecot") || has(r.prog, "auth")) {
		e.Kind, e.Rule = Failure, "dovecot/pam-failure"
		e.Host, e.Addr, e.User, e.Count = f.host, f.addr, f.user, f.count
		return append(events, e)
	}
	m := d.message(&r)
	e.At = r.at
	count := 1
	if inner, n := repeated(m); n > 0 {
		m, count = inner, n
	}
	ok := false
	if has(m, "auth") || has(m, "dovecot-auth") {
		ok = authFailure(m, &e)
	} else if i := index(m, ": "); i > 0 && ends(m[:i], "-login") {
		ok = d.login(cutLevel(m[i+len(": "):]), &e)
	}
	if !ok {
		return events
	}
	e.Count *= count
	return append(events, e)
}

// message returns what begins with the name of the process: "imap-login: …", "auth(default): …".
// It follows the program "dovecot", or where the processes log by themselves, the time and the host.
func (d *dovecot) message(r *record) []byte {
	if string(r.prog) == "dovecot" {
		m, _ := after(r.msg, "dovecot: ") // versions before 1.2 say it twice
		if r.at == 0 {                    // and in their own log before the time
			at, n := d.leading(m)
			if r.at = at; n > 0 {
				m = cutLevel(trimLeft(m[n:]))
			}
		}
		return m
	}
	b := r.text
	for range 2 {
		tok, rest := token(b)
		if has(tok, "auth(") || has(tok, "auth-worker(") || ends(tok, "auth:") || ends(tok, "-login:") {
			return b
		}
		b = trimLeft(rest)
	}
	return nil
}

// cutLevel cuts the level off that Dovecot's own log has.
func cutLevel(m []byte) []byte {
	for _, level := range []string{"Info: ", "Warning: ", "Error: "} {
		if rest, ok := after(m, level); ok {
			return rest
		}
	}
	return m
}

// login reads what a login process writes when a client is gone or logged in:
//
//	Disconnected (auth failed, 2 attempts in 5 secs): user=<USER>, method=PLAIN, rip=ADDRESS, lip=…
//
// USER is what the client likes. What comes before it, and the address, are Dovecot's; after the
// address comes nothing of the client's, so the last address is the right one.
func (d *dovecot) login(m []byte, e *Event) bool {
	i := lastIndex(m, " rip=")
	if i < 0 {
		return false
	}
	text := m[i+len(" rip="):]
	if n := bytes.IndexByte(text, ','); n >= 0 {
		text = text[:n]
	} else {
		text, _ = token(text)
	}
	var ok bool
	if e.Host, e.Addr, ok = peer(text); !ok {
		return false
	}
	reason, fields := m[:i], m[:i]
	for _, first := range []string{": user=<", ": method=", ", method="} {
		if n := index(reason, first); n >= 0 {
			reason = reason[:n]
		}
	}
	if n := index(fields, "user=<"); n >= 0 {
		e.User = fields[n+len("user=<"):]
		if n = lastIndex(e.User, ">"); n >= 0 {
			e.User = e.User[:n]
		}
	}
	return d.outcome(reason, e)
}

// outcome reads the words of a login process before its fields.
func (d *dovecot) outcome(reason []byte, e *Event) bool {
	if string(reason) == "Login" || string(reason) == "Logged in" {
		e.Kind, e.Rule = Success, "dovecot/login"
		return true
	}
	if i := index(reason, "(auth failed, "); i >= 0 {
		n, _ := token(reason[i+len("(auth failed, "):])
		e.Kind, e.Count, e.Rule = Failure, max(1, number(n)), "dovecot/auth-failed"
		return true
	}
	if i := index(reason, "(tried to use "); i >= 0 {
		if b := reason[i:]; index(b, " auth)") > 0 && (has(b, "(tried to use disabled ") || has(b, "(tried to use disallowed ")) {
			e.Kind, e.Rule = Failure, "dovecot/disallowed-auth"
			return true
		}
	}
	if index(reason, "(proxy dest auth failed") >= 0 {
		e.Kind, e.Rule = Failure, "dovecot/proxy-auth-failed"
		return true
	}
	if !d.aggressive {
		return false
	}
	for _, s := range gaveUp() {
		if index(reason, s) >= 0 {
			e.Kind, e.Rule = Probe, "dovecot/gave-up"
			return true
		}
	}
	return false
}

// gaveUp are the words for clients that never got as far as a password.
func gaveUp() [8]string {
	return [...]string{
		"(no auth attempts", "(disconnected before auth was ready", "(disconnected during TLS handshake",
		"(disconnected while authenticating", "(client didn't finish ", "(tried to use unsupported auth mechanism",
		"(cert required, client didn't start TLS", "(client sent an invalid cert",
	}
}
