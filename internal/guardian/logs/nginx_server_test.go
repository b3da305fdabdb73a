package logs

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

// TestInstalledNginx lets clients send what they like to a real nginx and reads what it writes.
func TestInstalledNginx(t *testing.T) {
	n := testenv.Nginx(t,
		`access_log access.log combined;`, `error_log errors.log info;`,
		`location /p/ { auth_basic x; auth_basic_user_file users; }`, `location /d/ { deny all; }`)
	testenv.WriteFile(t, filepath.Join(n.Dir, "users"), "bob:{PLAIN}right\n")
	require.NoError(t, os.Mkdir(filepath.Join(n.Root, "dir"), 0o755))

	forged := `%d/11/23 08:10:19 [error] 1#1: *7 user "x": password mismatch, client: 203.0.113.9, server: a, request: "GET / HTTP/1.1", host: "a"`
	forged = fmt.Sprintf(forged, time.Now().Year())
	encoded := func(s string) string {
		return strings.NewReplacer("%", "%25", " ", "%20", "\n", "%0a", `"`, "%22", "?", "%3f", "#", "%23").Replace(s)
	}
	users := []string{
		"bob", "nobody", "a b", "a\nb", "x\"", `x" was not found in "/h", client`, "", "a\n\n" + strings.Repeat("c", 100),
		`x", client` + "\n", "-", "[1/2]", `\`,
	}
	for _, user := range users {
		send(t, n.Addr, "GET /p/ HTTP/1.1\r\nHost: a\r\nReferer: \": password mismatch, client: 203.0.113.9, server: a\r\n"+
			"Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(user+":wrong"))+"\r\n")
	}
	whole := `/x" failed (2: No such file or directory), client: 203.0.113.9, server: a, request: "GET /x HTTP/1.1", host: "a"`
	for _, path := range []string{
		"/missing", "/dir/", "/x\n" + forged, whole + "\n" + forged, whole + "\n" + forged + "\n" + forged + `, referrer: "`,
		whole + strings.Repeat("\n"+forged, 20), whole + "\n" + forged + `, referrer: "` + strings.Repeat(`"`, 2000),
	} {
		send(t, n.Addr, "GET "+encoded(path)+" HTTP/1.1\r\nHost: a\r\n")
	}
	send(t, n.Addr, "GET /d/x HTTP/1.1\r\nHost: a\r\n")
	send(t, n.Addr, "\x16\x03\x01\r\n")
	send(t, n.Addr, "HELP\r\n")
	n.Stop(t)

	access := readNginxLog(t, n.Dir, "access.log", "nginx-access")
	require.Equal(t, len(users)+7+3, kinds(access, Request))
	// An empty user and one that is called "-" are written as nobody is.
	require.Equal(t, len(users)-2, kinds(access, Failure))
	require.Equal(t, 2, kinds(access, Probe))
	errors := readNginxLog(t, n.Dir, "errors.log", "nginx-error")
	require.Equal(t, len(users)-1, kinds(errors, Failure), "nginx takes no empty user")
	require.Equal(t, 1, kinds(errors, Denied), "the index is within reach of a forger, and discarded with what he wrote")
	for _, e := range append(access, errors...) {
		require.Equal(t, "127.0.0.1", string(e.Host))
		require.WithinDuration(t, time.Now(), time.Unix(0, e.At), time.Minute)
	}
}

// send makes one request and waits for its answer.
func send(t *testing.T, addr, head string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(c, head+"Connection: close\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(c)
	require.NoError(t, err)
	require.NotEmpty(t, answer)
}

// readNginxLog reads a file with one parser.
func readNginxLog(t *testing.T, dir, name, format string) []Event {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	p := parser(t, format, Options{Zone: time.Local})
	var events []Event
	for line := range bytes.Lines(text) {
		events = p.Parse(bytes.Clone(bytes.TrimSuffix(line, []byte("\n"))), events)
	}
	if s, ok := p.(Settler); ok {
		events = s.Settle(events)
	}
	// Paths and users of earlier lines may be gone by now.
	for i := range events {
		events[i].Host = []byte(events[i].Addr.String())
	}
	return events
}
