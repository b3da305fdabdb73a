package health

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

// check runs one check once with a timeout and returns its reason, "" when healthy.
func check(t *testing.T, c config.Check) string {
	t.Helper()
	p, err := NewProbe(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(t.Context()); err != nil {
		if strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("not one line: %q", err)
		}
		return err.Error()
	}
	return ""
}

// expect compares a reason with the one wanted; a "*" stands for any text.
func expect(t *testing.T, what, got, want string) {
	t.Helper()
	rest, ok := got, true
	parts := strings.Split(want, "*")
	for i, part := range parts {
		at := strings.Index(rest, part)
		if at < 0 || (i == 0 && at > 0) {
			ok = false
			break
		}
		rest = rest[at+len(part):]
	}
	if !ok || (rest != "" && parts[len(parts)-1] != "") || (want == "" && got != "") {
		t.Errorf("%s: reason %q, want %q", what, got, want)
	}
}

func TestHTTPCheckOnNginx(t *testing.T) {
	n := testenv.Nginx(t, "location = /moved { return 302 http://127.0.0.1:1/; }")
	base := "http://" + n.Addr
	cases := []struct {
		name string
		c    config.HTTPCheck
		want string
	}{
		{"ok", config.HTTPCheck{URL: base + "/"}, ""},
		{"body", config.HTTPCheck{URL: base + "/", Body: "ok"}, ""},
		{"other body", config.HTTPCheck{URL: base + "/", Body: "fine"}, "GET " + base + `/: the answer does not contain "fine"`},
		{"broken", config.HTTPCheck{URL: base + "/broken?token=hunter2"}, "GET " + base + "/broken answered 503"},
		{"broken is wanted", config.HTTPCheck{URL: base + "/broken", Status: []int{200, 503}}, ""},
		{"redirect is not followed", config.HTTPCheck{URL: base + "/moved"}, "GET " + base + "/moved answered 302"},
		{"method", config.HTTPCheck{URL: base + "/", Method: "HEAD"}, ""},
		{"refused method", config.HTTPCheck{URL: base + "/", Method: "POST"}, "POST " + base + "/ answered 405"},
	}
	for _, c := range cases {
		expect(t, c.name, check(t, config.Check{HTTP: &c.c}), c.want)
	}
	n.Kill(t)
	expect(t, "killed", check(t, config.Check{HTTP: &config.HTTPCheck{URL: base + "/?token=hunter2"}}), "GET "+base+"/: connect: connection refused")
}

func TestHTTPCheckSendsSecretHeadersAndHost(t *testing.T) {
	t.Setenv("SHIVX_TEST_TOKEN", "Bearer hunter2")
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer hunter2" || r.Host != "app.example" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer srv.Close()
	c := config.HTTPCheck{URL: srv.URL, Insecure: true,
		Headers: map[string]string{"Authorization": "env:SHIVX_TEST_TOKEN", "Host": "app.example"}}
	expect(t, "with headers", check(t, config.Check{HTTP: &c}), "")
	c.Insecure = false
	expect(t, "unknown certificate", check(t, config.Check{HTTP: &c}), "GET "+srv.URL+": tls: failed to verify certificate*")
	c.Headers = map[string]string{"Authorization": "env:SHIVX_TEST_ABSENT"}
	expect(t, "absent secret", check(t, config.Check{HTTP: &c}), "GET "+srv.URL+": header Authorization: resolve env:SHIVX_TEST_ABSENT*")
}

func TestHTTPCheckEndsWithItsTimeout(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	began := time.Now()
	got := check(t, config.Check{Timeout: 50 * time.Millisecond, HTTP: &config.HTTPCheck{URL: srv.URL + "/x"}})
	expect(t, "hanging", got, "GET "+srv.URL+"/x: no answer within 50ms")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}

// listen answers each connection with talk.
func listen(t *testing.T, talk func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				talk(conn)
			}()
		}
	}()
	return l.Addr().String()
}

func hang(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func flood(conn net.Conn) {
	for b := make([]byte, 32<<10); ; {
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

func TestTCPCheck(t *testing.T) {
	smtp := listen(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "220 mx.")
		time.Sleep(5 * time.Millisecond) // the greeting comes in two pieces
		_, _ = io.WriteString(c, "example ESMTP\r\n")
		hang(c)
	})
	echo := listen(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	silent, flooding := listen(t, hang), listen(t, flood)
	closed := testenv.Addr(t)
	cases := []struct {
		name string
		c    config.TCPCheck
		want string
	}{
		{"connects", config.TCPCheck{Address: silent}, ""},
		{"greeting", config.TCPCheck{Address: smtp, Expect: "example ESMTP"}, ""},
		{"echo", config.TCPCheck{Address: echo, Send: "ping\n", Expect: "ping"}, ""},
		{"refused", config.TCPCheck{Address: closed}, "connect to " + closed + ": connect: connection refused"},
		{"silent", config.TCPCheck{Address: silent, Expect: "220"}, silent + ` does not answer "220": no answer within 200ms`},
		{"flood", config.TCPCheck{Address: flooding, Expect: "220"}, flooding + ` answered "*, not "220"`},
	}
	for _, c := range cases {
		expect(t, c.name, check(t, config.Check{Timeout: 200 * time.Millisecond, TCP: &c.c}), c.want)
	}
	other := listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "554 no\r\n") })
	expect(t, "other answer", check(t, config.Check{TCP: &config.TCPCheck{Address: other, Expect: "220"}}), other+` answered "554 no\r\n", not "220"`)
}

func TestNewProbeRefuses(t *testing.T) {
	cases := []struct {
		name string
		c    config.Check
		want string
	}{
		{"no kind", config.Check{Name: "x"}, `check "x" has no kind`},
		{"two kinds", config.Check{TCP: &config.TCPCheck{Address: "a:1"}, Redis: &config.RedisCheck{Address: "a:1"}}, `check "" has several kinds: tcp, redis`},
		{"url", config.Check{HTTP: &config.HTTPCheck{URL: "user:hunter2@x"}}, "check http: the url is not an HTTP address"},
		{"scheme", config.Check{HTTP: &config.HTTPCheck{URL: "ftp://x/"}}, "check http: the url is not an HTTP address"},
		{"method", config.Check{HTTP: &config.HTTPCheck{URL: "http://x/", Method: "GE T"}}, `check http: method "GE T" cannot be used`},
		{"address", config.Check{TCP: &config.TCPCheck{Address: "localhost"}}, `check tcp: "localhost" is not an address`},
		{"command", config.Check{Command: &config.Command{}}, "check command: the command is empty"},
		{"process", config.Check{Process: &config.ProcessCheck{PIDFile: "a", Name: "b"}}, "check process: a process check needs exactly one of pid_file and name"},
		{"unit", config.Check{Systemd: &config.SystemdCheck{}}, "check systemd: the unit is empty"},
		{"dsn", config.Check{PostgreSQL: &config.PostgreSQLCheck{}}, "check postgresql: the dsn is empty"},
		{"redis", config.Check{Redis: &config.RedisCheck{Address: "a:1", Username: "u"}}, "check redis: a username without a password"},
	}
	for _, c := range cases {
		_, err := NewProbe(c.c)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
		if shivx.HintOf(err) == "" && c.name != "method" {
			t.Errorf("%s: no hint", c.name)
		}
	}
}

func TestReasonsAreOneBoundedLine(t *testing.T) {
	err := fmt.Errorf("first\n  second\tthird: %w", context.DeadlineExceeded)
	if got := line(err, 2*time.Second); got != "first second third: no answer within 2s" {
		t.Errorf("line: %q", got)
	}
	long := strings.Repeat("ä", maxLine)
	if got := line(fmt.Errorf("%s", long), time.Second); len(got) > maxLine || !strings.HasSuffix(got, "ä…") {
		t.Errorf("a long line has %d bytes and ends with %q", len(got), got[len(got)-6:])
	}
}

func TestResultAsJSON(t *testing.T) {
	in := Result{Check: "http", Error: "x", Took: 1234567 * time.Nanosecond, At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"check":"http","healthy":false,"error":"x","took_ms":1.235,"at":"2026-01-02T03:04:05.000000006Z"}`
	if string(data) != want {
		t.Errorf("JSON %s, want %s", data, want)
	}
	var out Result
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	in.Took = 1235 * time.Microsecond
	if out != in {
		t.Errorf("read back %+v, want %+v", out, in)
	}
}
