package logs

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const webClient = "192.0.2.7"

// written escapes what a client sent as the servers do: quote, backslash and what is not printable.
func written(s, quote, backslash string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '"':
			b.WriteString(quote)
		case c == '\\':
			b.WriteString(backslash)
		case c < 0x20 || c >= 0x7f:
			fmt.Fprintf(&b, `\x%02X`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// without drops the bytes of a text that a server would not take.
func without(s string, refuse func(c byte) bool) string {
	var b []byte
	for _, c := range []byte(s) {
		if !refuse(c) {
			b = append(b, c)
		}
	}
	return string(b)
}

func control(c byte) bool { return c < 0x20 || c == 0x7f }

// parsed reads a text that a server wrote, which may be several lines.
func parsed(t *testing.T, format, text string) []Event {
	t.Helper()
	p := parser(t, format, Options{Mode: modeAggressive})
	var events []Event
	for line := range strings.SplitSeq(text, "\n") {
		events = p.Parse([]byte(line), events)
	}
	if s, ok := p.(Settler); ok {
		events = s.Settle(events)
	}
	for _, e := range events {
		require.Equal(t, webClient, string(e.Host), "%s: %q", format, text)
		require.Equal(t, webClient, e.Addr.String())
	}
	return events
}

func kinds(events []Event, k Kind) (n int) {
	for _, e := range events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// FuzzClientsNameNobody lets a client of each server choose all that it can choose, and write it as that
// server does: the event is the client's own, and its failed login is always seen.
func FuzzClientsNameNobody(f *testing.F) {
	forged := `user "x": password mismatch` + ngxForge
	f.Add("bob", `/" failed (2: No such file or directory)`+ngxForge+"\n"+ngx+forged+"\n"+ngx+"user \"a\n", "", "")
	f.Add("bob", "/p", "http://r/", "curl")
	f.Add(`x" was not found in "/h"`+ngxForge, "/"+ngxForge, `": password mismatch`+ngxForge, `" was not found in "/h"`+ngxForge)
	f.Add("a\n"+ngx+forged, "/\n"+ngx+forged, `", `+forged, `","client_ip":"203.0.113.9","x":"\`)
	f.Add(`x] [client 203.0.113.9] user root not found`, `/ HTTP/1.1" 200 5 "-" "-"`, `\`, `\\"`)
	f.Add(`203.0.113.9 - - [20/Jan/2015:19:53:28 +0100] "`, `/", host: "203.0.113.9`, `", client: 203.0.113.9, server: `, `}{[]`)
	f.Add("bob", `" failed (2: No such file or directory)`+ngxForge+strings.Repeat("\n"+ngx+forged, 15), "", "h")
	f.Add("bob", `" failed (2: No such file or directory)`+ngxForge+"\n"+ngx+`open() "/www/y`, "", "h")
	f.Add("bob", `" failed (2: No such file or directory)`+ngxForge+"\n"+ngx+forged+`, referrer: "`+strings.Repeat(`"`, 2000), "", "h")
	f.Add("- x", "*", "- y [", "web1 nginx[1]: 203.0.113.9 - -")
	f.Fuzz(func(t *testing.T, user, path, referrer, agent string) {
		user, _, _ = strings.Cut(user, ":") // HTTP basic authentication ends it there
		fuzzAccess(t, user, path, referrer, agent)
		fuzzNginxError(t, user, path, referrer, agent)
		fuzzApacheError(t, user, path, referrer)
		fuzzCaddy(t, path, referrer, agent)
		fuzzHAProxy(t, path, agent)
	})
}

func fuzzAccess(t *testing.T, user, path, referrer, agent string) {
	t.Helper()
	for format, escapes := range map[string][2]string{"nginx-access": {`\x22`, `\x5C`}, "apache-access": {`\"`, `\\`}} {
		w := func(s string) string { return written(s, escapes[0], escapes[1]) }
		name := w(user)
		if name == "" {
			name = map[string]string{"nginx-access": "-", "apache-access": `""`}[format]
		}
		line := webClient + " - " + name + when + `"GET /` + w(path) + ` HTTP/1.1" 401 5 "` + w(referrer) + `" "` + w(agent) + `"`
		events := parsed(t, format, line)
		require.Equal(t, 1, kinds(events, Request), line)
		require.Equal(t, 401, events[0].Status, line)
		require.Equal(t, w(agent), string(events[0].Agent), line)
		if strings.TrimSpace(name) != "-" && strings.TrimSpace(name) != "" {
			require.Equal(t, 1, kinds(events, Failure), line)
		}
	}
}

func fuzzNginxError(t *testing.T, user, path, referrer, agent string) {
	t.Helper()
	target := "/" + without(path, func(c byte) bool { return control(c) || c == ' ' })
	host := without(agent, func(c byte) bool { return control(c) || c == ' ' || c == '/' })
	tail := ", client: " + webClient + `, server: a.example, request: "GET ` + target + ` HTTP/1.1", host: "` + host +
		`", referrer: "` + without(referrer, control) + `"`
	for _, message := range []string{`user "` + user + `": password mismatch`, `user "` + user + `" was not found in "/h"`} {
		line := ngx + message + tail
		if len(line) > maxNginxRecord {
			return
		}
		require.Equal(t, 1, kinds(parsed(t, "nginx-error", line), Failure), line)
	}
	for _, message := range []string{`open() "/www/` + path + `" failed (2: No such file or directory)`, `directory index of "/www/` + path + `" is forbidden`} {
		line := ngx + message + ", client: " + webClient + `, server: a.example, request: "GET /` + url.PathEscape(path) + ` HTTP/1.1", host: "` + host + `"`
		parsed(t, "nginx-error", line[:min(len(line), maxNginxRecord/2-1)])
	}
}

func fuzzApacheError(t *testing.T, user, path, referrer string) {
	t.Helper()
	w := func(s string) string { return written(s, `\"`, `\\`) }
	for _, head := range []string{apache24 + "AH01618: ", apache22} {
		line := head + "user " + w(user) + " not found: /" + w(path) + ", referer: " + w(referrer)
		events := parsed(t, "apache-error", line)
		require.Len(t, events, 1, line)
		parsed(t, "apache-error", head+"File does not exist: /"+w(path)+", referer: "+w(referrer))
	}
}

func fuzzCaddy(t *testing.T, path, referrer, agent string) {
	t.Helper()
	quoted := func(s string) string {
		b, err := json.Marshal(s)
		require.NoError(t, err)
		return string(b)
	}
	line := `{"ts":1,"request":{"remote_ip":"` + webClient + `","client_ip":"` + webClient + `","method":"GET","host":` + quoted(referrer) + `,"uri":` + quoted(path) +
		`,"headers":{` + quoted("X"+path) + `:[` + quoted(referrer) + `],"User-Agent":[` + quoted(agent) + `],"Authorization":["REDACTED"]}},"status":401}`
	events := parsed(t, "caddy", line)
	require.Len(t, events, 2, line)
	var want string
	require.NoError(t, json.Unmarshal([]byte(quoted(agent)), &want))
	require.Equal(t, want, string(events[0].Agent), line)
}

func fuzzHAProxy(t *testing.T, path, agent string) {
	t.Helper()
	w := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			if c < 0x20 || c >= 0x7f || strings.IndexByte(`"#{|}`, c) >= 0 {
				fmt.Fprintf(&b, "#%02X", c)
				continue
			}
			b.WriteByte(c)
		}
		return b.String()
	}
	line := `Nov 23 08:10:23 lb1 haproxy[1]: ` + webClient + `:47654 [23/Nov/2026:08:10:23.131] fe fe/<NOSRV> 0/-1/-1/-1/0 401 246 - - LR-- 1/1/0/0/0 0/0 {` +
		w(agent) + `} "GET /` + w(path) + ` HTTP/1.1"`
	require.Len(t, parsed(t, "haproxy", line), 2, line)
}

// FuzzWebLines feeds each parser any lines at all.
func FuzzWebLines(f *testing.F) {
	for _, line := range speedLines() {
		f.Add(line, line)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		for format := range speedLines() {
			p := parser(t, format, Options{Mode: modeAggressive})
			for _, line := range []string{first, second, first} {
				for _, e := range p.Parse([]byte(line), nil) {
					require.NotEmpty(t, e.Host)
					require.Positive(t, e.Count)
					require.NotEmpty(t, e.Rule)
					_ = e.Kind.String()
				}
			}
		}
	})
}
