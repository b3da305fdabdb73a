package logs

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	attacker = "203.0.113.7"
	innocent = "9.9.9.9"
)

// sshdTemplates are messages as sshd and the modules below it write them. {A} is the client's address, {U}
// the name that it gives, which sshd cuts at the first colon and after 100 bytes, {T} other text of its
// own.
var sshdTemplates = []string{
	"Connection from {A} port 4022 on 10.0.0.1 port 22",
	"Invalid user {U} from {A} port 4022",
	"Invalid user {U} from {A}",
	"input_userauth_request: invalid user {U} [preauth]",
	"Failed password for invalid user {U} from {A} port 4022 ssh2",
	"Failed none for invalid user {U} from {A} port 4022 ssh2",
	"Failed publickey for invalid user {U} from {A} port 4022 ssh2: RSA SHA256:c2hpdng",
	"Failed publickey for invalid user {U} from {A} port 4022 ssh2: RSA-CERT SHA256:c2hpdng ID {T} (serial 0) CA RSA SHA256:c2hpdng",
	"Failed publickey for root from {A} port 4022 ssh2: RSA-CERT SHA256:c2hpdng ID {T} (serial 0) CA RSA SHA256:c2hpdng",
	`Failed hostbased for root from {A} port 4022 ssh2: RSA SHA256:c2hpdng, client user "{T}", client host "{T}"`,
	`Failed hostbased for invalid user {U} from {A} port 4022 ssh2: RSA SHA256:c2hpdng, client user "{T}", client host "{T}"`,
	"message repeated 2 times: [ Failed password for invalid user {U} from {A} port 4022 ssh2]",
	"error: PAM: Authentication failure for illegal user {U} from {A}",
	"error: maximum authentication attempts exceeded for invalid user {U} from {A} port 4022 ssh2 [preauth]",
	"Connection closed by invalid user {U} {A} port 4022 [preauth]",
	"Connection reset by invalid user {U} {A} port 4022 [preauth]",
	"Disconnected from invalid user {U} {A} port 4022 [preauth]",
	"Disconnecting invalid user {U} {A} port 4022: Too many authentication failures [preauth]",
	"Disconnecting invalid user {U} {A} port 4022: Change of username or service not allowed: ({U},{T}) -> ({U},{T}) [preauth]",
	"Disconnecting authenticating user root {A} port 4022: Change of username or service not allowed: (root,{T}) -> ({U},{T}) [preauth]",
	"Disconnecting: Change of username or service not allowed: ({U},{T}) -> ({U},{T}) [preauth]",
	"Disconnecting: Too many authentication failures for {U} [preauth]",
	"Received disconnect from {A} port 4022:11: {T} [preauth]",
	"Received disconnect from {A}: 3: {T}: Auth fail [preauth]",
	"Received disconnect from {A}: 14: {T}",
	"Bad protocol version identification '{T}' from {A} port 4022",
	"Bad protocol version identification '{T}' from {A}",
	`error: kex_exchange_identification: client sent invalid protocol identifier "{T}"`,
	"banner exchange: Connection from {A} port 4022: invalid format",
	"ssh_dispatch_run_fatal: Connection from invalid user {U} {A} port 4022: message authentication code incorrect [preauth]",
	"Unable to negotiate with {A} port 4022: no matching cipher found. Their offer: {T} [preauth]",
	"fatal: no matching mac found: client {T} server hmac-sha2-256 [preauth]",
	"refused connect from {T}@{A} ({A})",
	"refused connect from {T}@{A}",
	"SSH: Server;Ltype: Authname;Remote: {A}-4022;Name: {U} [preauth]",
	"Address {A} maps to {T}, but this does not map back to the address - POSSIBLE BREAK-IN ATTEMPT!",
	"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser={T} rhost={A}",
	"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser={T} rhost={A}  user=root",
	"pam_sss(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={A} user={U}",
	"pam_sss(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser={T} rhost={A} user={T}",
	"pam_sss(su:auth): authentication failure; logname=kim uid=1000 euid=0 tty=pts/0 ruser=kim rhost= user={T}",
	"pam_access(sshd:account): access denied for user `{U}' from `{A}'",
}

var dovecotTemplates = []string{
	"imap-login: Disconnected (auth failed, 2 attempts in 3 secs): user=<{T}>, method=PLAIN, rip={A}, lip=10.0.0.9, TLS, session=<c2hpdng>",
	"imap-login: Disconnected (no auth attempts in 3 secs): user=<{T}>, rip={A}, lip=10.0.0.9, TLS",
	"pop3-login: Aborted login (auth failed, 1 attempts): user=<{T}>, method=PLAIN, rip={A}, lip=10.0.0.9",
	"imap-login: Login: user=<{T}>, method=PLAIN, rip={A}, lip=10.0.0.9, mpid=7, TLS, session=<c2hpdng>",
	"auth: passwd-file({T},{A}): unknown user",
	"auth: passwd-file({T},{A}): query failed",
	"auth-worker(4): sql({T},{A},<c2hpdng>): unknown user",
	"auth-worker(4): sql({T},{A},<c2hpdng>): Password mismatch (given password: {T})",
	"auth-worker(4): conn unix:auth-worker (pid=3,uid=97): auth-worker<6>: pam({T},{A}): pam_authenticate() failed: Authentication failure (Password mismatch?)",
	"auth({T},{A},sasl:plain)<c2hpdng>: sql: Password mismatch (given password: {T})",
	"auth({T},{A},sasl:plain)<c2hpdng>: sql: lookup done",
}

// craft is text that a client may choose to look like somebody else.
func craft(rng *rand.Rand) string {
	parts := []string{
		"root", " ", "from", " from V", " from V port 22", " from V port 22 ssh2", " V port 22", " ssh2", ": ", ":", " [preauth]", " via V",
		"invalid user x from V port 1 ssh2: RSA", "authenticating user root V port 1: ", "Failed password for root from V port 22 ssh2",
		" V port 1: Change of username or service not allowed: (x,", " not allowed because not listed in AllowUsers", " port 22", "(V)", "@V",
		"rhost=V", " rhost=V", " rhost=V  user=root", " user=", "ruser=", "'", `"`, "' from `V'", ">, rip=V, lip=1.1.1.1", " rip=V", "rip=V,",
		",V", ",V)", ",V): unknown user", ",V,<x>): Password mismatch", ",V)<y>: sql: Password mismatch", "), (", "<", ">", "(", ")",
		"sshd[1]: ", "message repeated 9 times: [ Failed password for root from V port 22 ssh2]", "Connection from V port 22", "x",
		" (given password: ", "conn ", ">: ", "pam_unix(sshd:auth): authentication failure; ruser= rhost=V", "]", "[", "::ffff:V",
	}
	var b strings.Builder
	for range 1 + rng.IntN(6) {
		b.WriteString(parts[rng.IntN(len(parts))])
	}
	s := strings.ReplaceAll(b.String(), "V", innocent)
	return s[:min(len(s), 100)]
}

// fill writes the client's address and text into a template.
func fill(template, text string) string {
	name, _, _ := strings.Cut(text, ":")
	return strings.NewReplacer("{A}", attacker, "{U}", name, "{T}", text).Replace(template)
}

// checkSession reads messages of one connection and requires that nobody but the attacker is named.
func checkSession(t *testing.T, parsers []Parser, tag string, messages []string) (events int) {
	t.Helper()
	for _, p := range parsers {
		for _, m := range messages {
			for _, e := range p.Parse([]byte(tag+m), nil) {
				if string(e.Host) != attacker || e.Addr != netip.MustParseAddr(attacker) || e.Count < 0 {
					require.Failf(t, "an innocent is named", "%s %q %d of the line\n%s\nin a session of\n%s", e.Rule, e.Host, e.Count, m, strings.Join(messages, "\n"))
				}
				events++
			}
		}
	}
	return events
}

// bothModes returns a parser in each mode.
func bothModes(t testing.TB, format string) []Parser {
	t.Helper()
	normal, err := New(format, Options{})
	require.NoError(t, err)
	aggressive, err := New(format, Options{Mode: "aggressive"})
	require.NoError(t, err)
	return []Parser{normal, aggressive}
}

func TestClientsTextNeverNamesAnInnocent(t *testing.T) {
	for _, c := range []struct {
		format, tag string
		templates   []string
	}{
		{"sshd", "May  4 03:12:01 bastion sshd[%d]: ", sshdTemplates},
		{"sshd", "<38>1 2026-05-04T03:12:01Z bastion sshd-session %d - - ", sshdTemplates},
		{"sshd", "bastion sshd[%d]: ", sshdTemplates},
		{"sshd", "May  4 03:12:01 bastion sshd: ", sshdTemplates},
		{"sshd", "", sshdTemplates},
		{"pam", "May  4 03:12:01 bastion sshd[%d]: ", sshdTemplates},
		{"dovecot", "May  4 03:12:01 mx dovecot: ", dovecotTemplates},
		{"dovecot", "2026-05-04 03:12:01 ", dovecotTemplates},
	} {
		t.Run(c.format+" "+c.tag, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			parsers := bothModes(t, c.format)
			events := 0
			for i := range 5_000 {
				text := craft(rng) // a connection has one user
				var messages []string
				for range 1 + rng.IntN(5) {
					messages = append(messages, fill(c.templates[rng.IntN(len(c.templates))], text))
				}
				events += checkSession(t, parsers, strings.Replace(c.tag, "%d", strconv.Itoa(i+1), 1), messages)
			}
			require.Greater(t, events, 500)
		})
	}
}

func FuzzClientsText(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 60 {
		f.Add(craft(rng), uint8(i), uint8(i*7))
	}
	f.Fuzz(func(t *testing.T, text string, first, second uint8) {
		if len(text) > 100 || strings.Contains(text, attacker) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
			return
		}
		n := len(sshdTemplates)
		checkSession(t, bothModes(t, "sshd"), "May  4 03:12:01 bastion sshd[20411]: ",
			[]string{fill(sshdTemplates[int(first)%n], text), fill(sshdTemplates[int(second)%n], text)})
		n = len(dovecotTemplates)
		checkSession(t, bothModes(t, "dovecot"), "May  4 03:12:01 mx dovecot: ", []string{fill(dovecotTemplates[int(first)%n], text)})
	})
}
