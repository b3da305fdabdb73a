package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

// TestGuardian attacks real services on hosts of a network of the test's own. Long scenarios come first.
func TestGuardian(t *testing.T) {
	testenv.Need(t, "ip", "nft")
	for _, s := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"fleet", guardianFleet},
		{"ssh", guardianSSH},
		{"web", guardianWeb},
		{"logs", guardianLogs},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.run(t)
		})
	}
}

// guardedBy is the configuration of an agent; keys of the section "guardian" follow.
const guardedBy = `version: 1
host: <host>
paths: {var: "{dir}/var"}
api:
  listen: ":9470"
  tokens:
    - {name: proxy, role: app, token: token-of-the-proxy}
    - {name: bouncer, role: app, token: token-of-the-bouncer}
components: []
guardian:
`

// nowhere is an address at which no host has a Temporal server.
const nowhere = "127.0.0.1:7233"

// soon is how long what should be at once may take on a busy machine.
const soon = 5 * time.Second

// guard starts an agent on the machine and waits until it guards it.
func guard(t *testing.T, m *stand.Machine, temporal, yaml string) *stand.Guarded {
	t.Helper()
	g := m.Guard(t, temporal, yaml)
	g.AwaitReading(patience)
	return g
}

// echoPort is that of a service whose connections cost nothing.
const echoPort = "7"

// silence is how long a connection is waited for that is to be dropped. The kernel would accept it,
// however busy the machine is.
const silence = 300 * time.Millisecond

// dropped says whether a connection from an address is answered by nothing at all.
func dropped(from *stand.Namespace, ip, to, port string) bool {
	c, err := from.Dial(context.Background(), ip, net.JoinHostPort(to, port), silence)
	if err == nil {
		_ = c.Close()
	}
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// served says whether a connection from an address is taken.
func served(from *stand.Namespace, ip, to, port string) bool {
	c, err := from.Dial(context.Background(), ip, net.JoinHostPort(to, port), soon)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

// awaitDropped waits until nothing answers an address any more.
func awaitDropped(t *testing.T, from *stand.Namespace, ip, to string) {
	t.Helper()
	stand.Await(t, patience, ip+" to be refused by "+to, func(context.Context) bool { return dropped(from, ip, to, echoPort) })
}

// awaitServed waits until an address is let in, which takes no time to find out when it is.
func awaitServed(t *testing.T, from *stand.Namespace, ip, to string) {
	t.Helper()
	stand.Await(t, patience, ip+" to be served by "+to, func(context.Context) bool { return !dropped(from, ip, to, echoPort) })
	require.True(t, served(from, ip, to, echoPort), "%s should be served by %s", ip, to)
}

// firstDropped tries again and again to connect from an address, and tells when the first attempt began
// that was not answered.
func firstDropped(ctx context.Context, from *stand.Namespace, ip, to string) <-chan time.Time {
	found := make(chan time.Time, 1)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			began := time.Now()
			if dropped(from, ip, to, echoPort) {
				found <- began
				return
			}
			<-tick.C
		}
	}()
	return found
}

// done runs the command line on the host and requires that it succeeds.
func done(t *testing.T, g *stand.Guarded, args ...string) string {
	t.Helper()
	said, code := g.Shivx(args...)
	require.Zero(t, code, "shivx %v: %s", args, said)
	return said
}

// verifies proves all ledgers of the host by the command line, the guardian's among them.
func verifies(t *testing.T, g *stand.Guarded, more ...string) {
	t.Helper()
	said := done(t, g, append([]string{"ledger", "verify"}, more...)...)
	require.Contains(t, said, "guardian_audit.ndjson")
}

// appendTo adds lines to a log, as a service does.
func appendTo(t *testing.T, path string, lines ...string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// failedLogin is what sshd writes of one.
func failedLogin(ip string) string {
	return time.Now().UTC().Format("2006-01-02T15:04:05.000000Z07:00") + " host sshd[4242]: Failed password for root from " + ip + " port 40022 ssh2"
}

// failedLogins is what sshd writes of ten, which are too many.
func failedLogins(ip string) (lines []string) {
	for range 10 {
		lines = append(lines, failedLogin(ip))
	}
	return lines
}

// get asks a web server and returns the status.
func get(t *testing.T, c *http.Client, url string, header ...string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// ticketOf reads the name of a ticket that the command line has opened.
func ticketOf(t *testing.T, said string) string {
	t.Helper()
	var ticket struct {
		ID string `json:"id"`
	}
	require.NoError(t, json.Unmarshal([]byte(said), &ticket), said)
	require.NotEmpty(t, ticket.ID)
	return ticket.ID
}

// sha256Of is the hash of a text, in hexadecimal digits.
func sha256Of(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
