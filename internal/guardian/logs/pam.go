package logs

import (
	"bytes"
	"net/netip"
)

// pam reads what the PAM modules of any service write.
type pam struct {
	clock
	buf []byte
}

func newPAM(o Options) (Parser, error) { return &pam{clock: newClock(o)}, nil }

var _ Parser = (*pam)(nil)

// Parse implements Parser.
func (p *pam) Parse(line []byte, events []Event) []Event {
	r, ok := p.record(line)
	if !ok {
		return events
	}
	m, count := repeated(r.msg)
	count = max(count, 1)
	if ends(r.prog, "(pam_unix)") { // of old modules: "vsftpd(pam_unix)[123]: authentication failure; …"
		m = append(append(p.buf[:0], "(pam_unix) "...), m...)
		p.buf = m
	}
	if f, ok := parsePAM(m); ok {
		return append(events, Event{At: r.at, Kind: Failure, Addr: f.addr, Host: f.host, Count: f.count * count,
			User: f.user, Rule: "pam/authentication-failure"})
	}
	if user, host, addr, ok := parsePAMAccess(m); ok {
		return append(events, Event{At: r.at, Kind: Denied, Addr: addr, Host: host, Count: count,
			User: user, Rule: "pam/access-denied"})
	}
	return events
}

// pamFailure is a message about failed authentication that names the remote host.
type pamFailure struct {
	user, host []byte
	addr       netip.Addr
	count      int
}

// parsePAM reads "pam_unix(SERVICE:auth): authentication failure; logname=… ruser=R rhost=H user=U", the
// "(pam_unix) authentication failure; …" of old modules, and "PAM 2 more authentication failures; …".
//
// R is what the client says, and so is U where the module does not ask whether there is such an account.
// H is between the two. pam_unix writes U only for accounts, so there it is the last one that counts.
func parsePAM(m []byte) (f pamFailure, ok bool) {
	unix, b, ok := pamModule(m)
	if f.count = pamFailures(b); !ok || f.count < 1 {
		return f, false
	}
	i := index(b, "ruser=")
	if i < 0 {
		return f, false
	}
	b = b[i+len("ruser="):]
	var text []byte
	found := false
	for off := 0; ; off++ {
		i := index(b[off:], "rhost=")
		if i < 0 {
			break
		}
		if off += i; off > 0 && b[off-1] != ' ' {
			continue
		}
		host, user, ok := pamHost(b[off+len("rhost="):])
		if !ok {
			continue
		}
		if found && !unix && string(host) != string(text) {
			return f, false // either may be the client's invention
		}
		found, text, f.user = true, host, user
		if len(user) == 0 {
			f.user = bytes.TrimRight(b[:off], " ")
		}
	}
	f.host, f.addr, ok = peer(text)
	return f, ok
}

// pamFailures reads "authentication failure;" and "2 more authentication failures;"; 0 for anything else.
func pamFailures(b []byte) int {
	if has(b, "authentication failure;") {
		return 1
	}
	n, rest := token(b)
	if has(rest, "more authentication failure;") || has(rest, "more authentication failures;") {
		return number(n)
	}
	return 0
}

// pamHost reads "HOST" or "HOST  user=USER", to the end of the message; HOST may be empty.
func pamHost(b []byte) (host, user []byte, ok bool) {
	host, rest := token(b)
	rest = trimLeft(rest)
	if user, ok = after(rest, "user="); ok {
		return host, user, true
	}
	return host, nil, len(rest) == 0
}

// pamModule cuts the name of the module off; unix says that it is one that names only known accounts.
func pamModule(m []byte) (unix bool, rest []byte, ok bool) {
	if rest, ok := after(m, "(pam_unix) "); ok {
		return true, trimLeft(rest), true
	}
	if rest, ok := after(m, "PAM "); ok {
		return true, rest, true
	}
	if !has(m, "pam_") {
		return false, nil, false
	}
	i := index(m, "): ")
	if i < 0 || bytes.IndexByte(m[:i], ' ') >= 0 {
		return false, nil, false
	}
	return has(m, "pam_unix("), trimLeft(m[i+len("): "):]), true
}

// parsePAMAccess reads "pam_access(sshd:account): access denied for user `U' from `H'".
func parsePAMAccess(m []byte) (user, host []byte, addr netip.Addr, ok bool) {
	_, b, ok := pamModule(m)
	if !ok {
		return nil, nil, addr, false
	}
	if b, ok = after(b, "access denied for user `"); !ok || !ends(b, "'") {
		return nil, nil, addr, false
	}
	i := lastIndex(b, "' from `")
	if i < 0 {
		return nil, nil, addr, false
	}
	host, addr, ok = peer(b[i+len("' from `") : len(b)-1])
	return b[:i], host, addr, ok
}
