package logs

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	ngx      = "2026/11/23 08:10:19 [error] 104#104: *7 "
	ngxTail  = `, client: 192.0.2.7, server: a.example, request: "GET /p HTTP/1.1", host: "a.example"`
	ngxForge = `, client: 203.0.113.9, server: a.example, request: "GET /p HTTP/1.1", host: "a.example"`
)

func TestNginxErrorLines(t *testing.T) {
	requireLines(t, parser(t, "nginx-error", Options{}), []lineCase{
		{ngx + `user "bob": password mismatch` + ngxTail, []string{"failure 192.0.2.7 GET /p user=bob"}},
		{ngx + `user "bob" was not found in "/etc/htpasswd"` + ngxTail + ` `, []string{"failure 192.0.2.7 GET /p user=bob"}},
		{ngx + `user "" was not found in "/etc/htpasswd"` + ngxTail, []string{"failure 192.0.2.7 GET /p user="}},
		{ngx + `access forbidden by rule` + ngxTail, []string{"denied 192.0.2.7 GET /p"}},
		{ngx + `directory index of "/www/p/" is forbidden` + ngxTail, []string{"denied 192.0.2.7 GET /p"}},
		{ngx + `limiting connections by zone "c"` + ngxTail, []string{"probe 192.0.2.7 GET /p"}},
		{ngx + `limiting requests, dry run, excess: 1.0 by zone "one"` + ngxTail, nil},
		{ngx + `open() "/www/p" failed (2: No such file or directory)` + ngxTail, []string{"request 192.0.2.7 404 GET /p"}},
		{ngx + `open() "/www/p" failed (13: Permission denied)` + ngxTail, nil},
		{ngx + `[client 192.0.2.7] ModSecurity: Access denied with code 403 (phase 2). Matched [data ", client: 203.0.113.9, server: x"]` + ngxTail, []string{"denied 192.0.2.7"}},
		{ngx + `client login failed: "Authentication failed." while in http auth state, client: 192.0.2.7, server: 0.0.0.0:143, login: "bob"`, []string{"failure 192.0.2.7 user=bob"}},
		{ngx + `upstream timed out (110: Connection timed out) while connecting to upstream` + ngxTail, nil},
		{ngx + `SSL_do_handshake() failed (SSL: error) while SSL handshaking, client: 192.0.2.7, server: 0.0.0.0:443`, nil},
		{ngx + `user "bob": password mismatch, client: 2001:db8::7, server: a.example, request: "GET /p HTTP/2.0", upstream: "http://127.0.0.1/p", host: "a.example"`,
			[]string{"failure 2001:db8::7 GET /p user=bob"}},
		{`2026/11/23 08:10:19 [notice] 104#104: signal 15 received`, nil},
		{`2026/11/23 08:10:19 [error] 104#104: *7 x`, nil}, {`x`, nil}, {``, nil},
	})
	requireLines(t, parser(t, "nginx-error", Options{Mode: "aggressive"}), []lineCase{
		{ngx + `SSL_do_handshake() failed (SSL: error) while SSL handshaking, client: 192.0.2.7, server: 0.0.0.0:443`, []string{"probe 192.0.2.7"}},
		{ngx + `client sent invalid method while reading client request line, client: 192.0.2.7, server: a, request: "HE"LP"`, []string{"probe 192.0.2.7"}},
	})
}

func TestNginxErrorLinesOfAttackers(t *testing.T) {
	forged := `user "x": password mismatch` + ngxForge
	requireLines(t, parser(t, "nginx-error", Options{}), []lineCase{
		// nginx ends a user's name at its first colon.
		{ngx + `user "x, client" was not found in "/h"` + ngxTail + `, referrer: "` + forged + `"`, []string{"failure 192.0.2.7 GET /p user=x, client"}},
		{ngx + `user "x": password mismatch` + ngxTail + `, referrer: "", client: 203.0.113.9, server: x"`, []string{"failure 192.0.2.7 GET /p user=x"}},
		{ngx + `user "x": password mismatch` + ngxTail + `, referrer: "": password mismatch` + ngxForge + `"`, []string{"failure 192.0.2.7 GET /p user=x"}},
		{ngx + `user "x": password mismatch` + ngxTail + `, referrer: "" was not found in "/h"` + ngxForge, []string{"failure 192.0.2.7 GET /p user=x"}},
		{ngx + `user "x": password mismatch, client: 192.0.2.7, server: s, request: "GET /", client: 203.0.113.9, server: HTTP/1.1", host: "h"`,
			[]string{`failure 192.0.2.7 GET /", client: 203.0.113.9, server: user=x`}},
		{ngx + `user "x": password mismatch, client: 192.0.2.7, server: s, request: "GET /p HTTP/1.1", host: "h", client: 203.0.113.9, server: x"`,
			[]string{"failure 192.0.2.7 GET /p user=x"}},
		// Whose file was not found cannot be told: nobody's.
		{ngx + `open() "/www/x" failed (2: No such file or directory)` + ngxForge + `, referrer: "" failed (2: No such file or directory)` + ngxTail, nil},
		{ngx + `open() "/www/x, client: 203.0.113.9" failed (2: No such file or directory)` + ngxTail, []string{"request 192.0.2.7 404 GET /p"}},
		{ngx + `open() "/www/x" failed (2: No such file or directory)` + ngxTail + `, referrer: "", client: 203.0.113.9, server: x"`, []string{"request 192.0.2.7 404 GET /p"}},
		{ngx + `limiting requests, excess: 1.0 by zone "one"` + ngxTail + `, referrer: "` + forged + `"`, []string{"probe 192.0.2.7 GET /p"}},
		{ngx + `FastCGI sent in stderr: "` + ngx + forged + `" while reading response header from upstream` + ngxTail, nil},
	})
}

func TestNginxErrorTimesAreLocal(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	require.NoError(t, err)
	p := parser(t, "nginx-error", Options{Zone: zone})
	require.Equal(t, "2026-11-23T13:10:19Z", at(t, p, ngx+`access forbidden by rule`+ngxTail))
	require.Equal(t, "2026-07-01T04:00:01Z", at(t, p, strings.Replace(ngx, "11/23 08:10:19", "07/01 00:00:01", 1)+`access forbidden by rule`+ngxTail))
}
