package logs

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func caddyText(member, request, headers string) string {
	return `{"level":"info","ts":1646861401.5241024,"logger":"http.log.access","msg":"handled request","request":{` +
		`"remote_ip":"198.51.100.1","remote_port":"41342","client_ip":"192.0.2.7","proto":"HTTP/2.0","method":"GET","host":"h","uri":"/a?b=c"` +
		request + `,"headers":{"Accept":["*/*"]` + headers + `},"tls":{"resumed":false,"version":772}},"bytes_read":0,"duration":0.000929675` + member + `}`
}

func TestCaddyLines(t *testing.T) {
	const ok = `,"size":10900,"status":200,"resp_headers":{"Server":["Caddy"]}`
	requireLines(t, parser(t, "caddy", Options{}), []lineCase{
		{caddyText(ok, "", `,"User-Agent":["curl/7.82.0","x"]`), []string{"request 192.0.2.7 200 GET /a agent=curl/7.82.0"}},
		{"web1 caddy[5]: " + caddyText(ok, "", ""), []string{"request 192.0.2.7 200 GET /a"}},
		{caddyText(`,"status":404`, "", ""), []string{"request 192.0.2.7 404 GET /a"}},
		{caddyText(`,"status":401`, "", ""), []string{"request 192.0.2.7 401 GET /a"}},
		{caddyText(`,"user_id":"bob","status":401`, "", `,"Authorization":["REDACTED"]`),
			[]string{"request 192.0.2.7 401 GET /a user=bob", "failure 192.0.2.7 401 GET /a user=bob"}},
		{`{"ts":1,"request":{"remote_ip":"2001:db8::7","method":"GET","uri":"/"},"status":200}`, []string{"request 2001:db8::7 200 GET /"}},
		{`{"ts":1,"request":{"remote_addr":"[2001:db8::7]:443","method":"GET","uri":"/"},"status":200}`, []string{"request 2001:db8::7 200 GET /"}},
		// A client's words stay words.
		{caddyText(ok, "", `,"Client_ip":["203.0.113.9"],"User-Agent":["\",\"client_ip\":\"203.0.113.9\",\"status\":401,\"x\":\""]`),
			[]string{`request 192.0.2.7 200 GET /a agent=","client_ip":"203.0.113.9","status":401,"x":"`}},
		{caddyText(ok, "", `,"client_ip":"203.0.113.9","status":401,"request":{"client_ip":"203.0.113.9"}`), []string{"request 192.0.2.7 200 GET /a"}},
		{caddyText(ok+`,"status":"401","request":{"client_ip":"203.0.113.9"}`, "", ""), []string{"request 192.0.2.7 200 GET /a"}},
		{caddyText(ok, `,"x":"\\"`, `,"User-Agent":["a\\\"b\u00e9\u0022\/"]`), []string{`request 192.0.2.7 200 GET /a agent=a\"bé"/`}},
		// No requests, or no whole lines.
		{`{"level":"error","logger":"http.log.error","msg":"x","request":{"client_ip":"192.0.2.7"},"status":502}`, nil},
		{`{"level":"info","msg":"serving"}`, nil}, {`{`, nil}, {`{}`, nil}, {`{"request":{"client_ip":"192.0.2.7"},"status":`, nil}, {``, nil}, {`x`, nil},
		{`{"msg":"http: TLS handshake error from 192.0.2.7:1234: EOF"}`, nil},
	})
	requireLines(t, parser(t, "caddy", Options{Mode: "aggressive"}), []lineCase{
		{`{"msg":"http: TLS handshake error from 192.0.2.7:1234: EOF from 203.0.113.9:1: x"}`, []string{"probe 192.0.2.7"}},
	})
}

func TestCaddyTimes(t *testing.T) {
	p := parser(t, "caddy", Options{})
	for ts, want := range map[string]string{
		`1646861401.5241024`: "2022-03-09T21:30:01.5241024Z", `1646861401`: "2022-03-09T21:30:01Z",
		`1646861401524.25`: "2022-03-09T21:30:01.52425Z", `1646861401524000001`: "2022-03-09T21:30:01.524000001Z",
		`"2022-03-09T22:30:01.5+0100"`: "2022-03-09T21:30:01.5Z", `"2022/03/09 21:30:01.5"`: "2022-03-09T21:30:01.5Z",
		`"09/Mar/2022:21:30:01 +0000"`: "2022-03-09T21:30:01Z", `"1646861401.5"`: "2022-03-09T21:30:01.5Z",
		`-5`: "1970-01-01T00:00:00Z", `99999999999999999999999`: "1970-01-01T00:00:00Z", `null`: "1970-01-01T00:00:00Z",
	} {
		require.Equal(t, want, at(t, p, `{"ts":`+ts+`,"request":{"client_ip":"192.0.2.7"},"status":200}`), ts)
	}
}

func TestTraefikLines(t *testing.T) {
	const ok = `"DownstreamStatus":404,"OriginStatus":404,"RequestMethod":"GET","RequestPath":"/a?b","StartUTC":"2026-11-23T08:10:19.123456789Z","time":"2026-11-23T08:10:20Z"`
	trusted := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	p := parser(t, "traefik", Options{Trusted: trusted})
	requireLines(t, p, []lineCase{
		{`{"ClientAddr":"192.0.2.7:1","ClientHost":"192.0.2.7",` + ok + `,"request_User-Agent":"x"}`, []string{"request 192.0.2.7 404 GET /a agent=x"}},
		{`{"ClientAddr":"[2001:db8::7]:1","ClientHost":"2001:db8::7",` + ok + `}`, []string{"request 2001:db8::7 404 GET /a"}},
		{`{"ClientHost":"192.0.2.7",` + ok + `}`, []string{"request 192.0.2.7 404 GET /a"}},
		{`{"ClientHost":"192.0.2.7","ClientUsername":"bob","DownstreamStatus":401}`, []string{"request 192.0.2.7 401 user=bob", "failure 192.0.2.7 401 user=bob"}},
		{`{"ClientHost":"192.0.2.7","ClientUsername":"-","DownstreamStatus":401}`, []string{"request 192.0.2.7 401"}},
		// X-Forwarded-For: of a proxy that is trusted, of a private one, and of anybody.
		{`{"ClientAddr":"198.51.100.1:1","ClientHost":"203.0.113.9, 192.0.2.7",` + ok + `}`, []string{"request 192.0.2.7 404 GET /a"}},
		{`{"ClientAddr":"10.0.0.1:1","ClientHost":"192.0.2.7",` + ok + `}`, []string{"request 192.0.2.7 404 GET /a"}},
		{`{"ClientAddr":"192.0.2.7:1","ClientHost":"203.0.113.9",` + ok + `}`, []string{"request 192.0.2.7 404 GET /a"}},
		{`{"ClientAddr":"192.0.2.7:1","ClientHost":"nonsense",` + ok + `}`, []string{"request 192.0.2.7 404 GET /a"}},
		{`{"ClientAddr":"192.0.2.7:1","request_X-Forwarded-For":"203.0.113.9","request_ClientAddr":"203.0.113.9:1",` + ok + `}`, []string{"request 192.0.2.7 404 GET /a"}},
		{`{"level":"info","msg":"x","time":"2026-11-23T08:10:20Z"}`, nil}, {`{"ClientHost":"192.0.2.7"}`, nil}, {`{"ClientHost":"192.0.2.7","DownstreamStatus":200`, nil},
		// The common form.
		{`192.0.2.7 - -` + when + `"GET /a?b HTTP/2.0" 404 19 "-" "curl" 72 "web@docker" "http://10.0.0.3:80" 0ms`, []string{"request 192.0.2.7 404 GET /a agent=curl"}},
		{`192.0.2.7 - bob` + when + `"GET / HTTP/2.0" 401 17 "-" "-" 72 "-" "-" 0ms`, []string{"request 192.0.2.7 401 GET / user=bob agent=-", "failure 192.0.2.7 401 GET / user=bob agent=-"}},
		{`192.0.2.7 - {"ClientHost":"203.0.113.9","DownstreamStatus":200}` + when + `"GET / HTTP/2.0" 200 17`,
			[]string{`request 192.0.2.7 200 GET / user={"ClientHost":"203.0.113.9","DownstreamStatus":200}`}},
		{`192.0.2.7 - """"""] "x` + when + `"GET / HTTP/2.0" 401 17`, []string{`request 192.0.2.7 401 GET / user=""""""] "x`, `failure 192.0.2.7 401 GET / user=""""""] "x`}},
		{`203.0.113.9 x, 192.0.2.7 - -` + when + `"GET / HTTP/2.0" 200 17`, []string{"request 192.0.2.7 200 GET /"}},
		// It is either of the two.
		{`203.0.113.9 - x, 192.0.2.7 - -` + when + `"GET / HTTP/2.0" 200 17`, nil},
	})
	require.Equal(t, "2026-11-23T08:10:19.123456789Z", at(t, p, `{"ClientHost":"192.0.2.7",`+ok+`}`))
}

// TestOpenings: who makes a line too long to be read whole is found by its beginning.
func TestOpenings(t *testing.T) {
	long := strings.Repeat("a", 70_000)
	sorted := func(host, user, path string) string {
		return `{"ClientAddr":"10.0.0.1:1","ClientHost":"` + host + `","ClientUsername":"` + user +
			`","DownstreamStatus":401,"RequestMethod":"GET","RequestPath":"` + path + `","time":"2026-11-23T08:10:20Z"}`
	}
	const access = `192.0.2.7 - bob` + when + `"GET /p HTTP/1.1" 401 9 "`
	for _, c := range []struct {
		format, line string
		want         []string
	}{
		{"nginx-access", access + long + `" "x"`, []string{"request 192.0.2.7 401 GET /p user=bob", "failure 192.0.2.7 401 GET /p user=bob"}},
		{"apache-access", access + long + `" "x"`, []string{"request 192.0.2.7 401 GET /p user=bob", "failure 192.0.2.7 401 GET /p user=bob"}},
		{"nginx-access", `192.0.2.7 - -` + when + `"GET /p?` + long + ` HTTP/1.1" 414 9`, []string{"request 192.0.2.7 GET /p"}},
		{"traefik", sorted("192.0.2.7", "bob", "/p?"+long), []string{"request 192.0.2.7 401 GET user=bob", "failure 192.0.2.7 401 GET user=bob"}},
		{"traefik", sorted("192.0.2.7", long, "/p"), []string{"request 192.0.2.7"}},
		{"traefik", sorted(long, "bob", "/p"), nil}, // not the proxy
		{"traefik", access + long + `" "x"`, []string{"request 192.0.2.7 401 GET /p user=bob", "failure 192.0.2.7 401 GET /p user=bob"}},
		{"caddy", caddyText(`,"status":200`, "", `,"X":["`+long+`"]`), []string{"request 192.0.2.7 GET /a", "probe 192.0.2.7 GET /a"}},
		{"caddy", caddyText(`,"status":200`, `,"uri":"/`+long+`"`, ""), []string{"request 192.0.2.7 GET"}},
		{"caddy", `{"ts":1,"request":{"remote_ip":"198.51.100.1","x":"` + long, nil}, // not the proxy
		{"caddy", `x` + long, nil},
	} {
		p := parser(t, c.format, Options{})
		o, ok := p.(Opener)
		require.True(t, ok, c.format)
		var got []string
		for _, e := range o.ParseOpening([]byte(c.line)[:64<<10], nil) {
			e.Agent = nil
			got = append(got, told(e))
		}
		require.Equal(t, c.want, got, c.format)
		for n := range min(len(c.line), 600) { // wherever it breaks off
			for _, e := range o.ParseOpening([]byte(c.line)[:n], nil) {
				require.Equal(t, "192.0.2.7", e.Addr.String(), c.line[:n])
			}
		}
	}
}

// FuzzJSON compares the walk over an object with the standard library: what both can read, they read
// the same.
func FuzzJSON(f *testing.F) {
	f.Add(`{"a":"b\\","c":{"d":["\"",{}]},"e":-1.5e3 , "f":null}`)
	f.Add(`{"status":1,"request":{"status":2}}`)
	f.Fuzz(func(t *testing.T, text string) {
		w := jsonWalk{b: []byte(text)}
		var s jsonText
		got := map[string]string{}
		for {
			key, ok := w.key()
			if !ok {
				break
			}
			value := w.value()
			s.decode(value)
			got[string(key)] = string(value)
		}
		var want map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &want) != nil {
			return
		}
		for key, value := range want {
			if raw, ok := got[key]; ok {
				require.JSONEq(t, string(value), raw)
				require.False(t, w.bad)
				var plain string
				if json.Unmarshal(value, &plain) == nil && plain != "" {
					s.reset()
					require.Equal(t, plain, string(s.decode(jsonValue(raw))))
				}
			}
		}
	})
}
