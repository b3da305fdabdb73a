package logs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	apache24 = "[Sat Jul 20 21:37:32.266605 2013] [auth_basic:error] [pid 17512:tid 1401] [client 192.0.2.7:51386] "
	apache22 = "[Wed Jul 17 23:14:37 2013] [error] [client 192.0.2.7] "
)

func TestApacheErrorLines(t *testing.T) {
	requireLines(t, parser(t, "apache-error", Options{}), []lineCase{
		{apache24 + `AH01617: user bob: authentication failure for "/b": Password Mismatch`, []string{"failure 192.0.2.7 user=bob"}},
		{apache22 + `user bob: authentication failure for "/b": Password Mismatch`, []string{"failure 192.0.2.7 user=bob"}},
		{apache24 + `AH01807: user 'bob': authentication failure for "/b": password Mismatch`, []string{"failure 192.0.2.7 user=bob"}},
		{apache24 + `AH01618: user bob not found: /b`, []string{"failure 192.0.2.7 user=bob"}},
		{apache24 + `AH01631: user bob: authorization failure for "/b": `, []string{"denied 192.0.2.7 user=bob"}},
		{apache24 + `AH01695: auth_ldap authenticate: user bob authentication failed; URI /b [User not found][No such object]`, []string{"failure 192.0.2.7 user=bob"}},
		{apache22 + `[99] auth_ldap authenticate: user bob authentication failed; URI /b [User not found][No such object]`, []string{"failure 192.0.2.7 user=bob"}},
		{apache22 + `access to /b failed, reason: user bob not allowed access`, []string{"denied 192.0.2.7"}},
		{apache22 + `Digest: user bob: password mismatch: /d`, []string{"failure 192.0.2.7 user=bob"}},
		{apache24 + "AH01790: user `bob' in realm `r' not found: /d", []string{"failure 192.0.2.7 user=bob"}},
		{apache24 + `AH01276: Cannot serve directory /w/: No matching DirectoryIndex (index.html) found, and server-generated directory index forbidden by Options directive`, []string{"denied 192.0.2.7"}},
		{apache24 + `AH10244: invalid URI path (/cgi-bin/.%2e/.%2e/bin/sh)`, []string{"probe 192.0.2.7"}},
		{apache24 + `AH00126: Invalid URI in request GET /../../x HTTP/1.1`, []string{"probe 192.0.2.7"}},
		{apache24 + `AH00135: Invalid method in request \x16\x03\x01`, []string{"probe 192.0.2.7"}},
		{apache24 + `[client 192.0.2.7] ModSecurity: Access denied with code 403 (phase 2). Matched`, []string{"denied 192.0.2.7"}},
		{apache24 + `ModSecurity: Warning. Matched`, nil},
		{apache24 + `script '/w/x.php' not found or unable to stat`, []string{"request 192.0.2.7 404 /w/x.php"}},
		{apache24 + `AH00128: File does not exist: /w/x.php, referer: http://r/`, []string{"request 192.0.2.7 404 /w/x.php"}},
		{apache24 + `AH01071: Got error 'Primary script unknown\n'`, []string{"request 192.0.2.7 404"}},
		{apache24 + `AH01215: stderr from /x: user root not found`, nil},
		{apache24 + `AH02008: SSL Library Error: x`, nil},
		// Headers.
		{`[error] [client 2001:db8::7] user bob not found: /`, []string{"failure 2001:db8::7 user=bob"}},
		{`[x:error] [pid 1] [client [2001:db8::7]:443] AH01618: user bob not found: /`, []string{"failure 2001:db8::7 user=bob"}},
		{`[x:error] [pid 1] [client 2001:db8::7:51386] AH01618: user bob not found: /`, []string{"failure 2001:db8::7 user=bob"}},
		{`[x:error] [pid 1] [client 2001:db8:1:2:3:4:5:6:51386] AH01618: user bob not found: /`, []string{"failure 2001:db8:1:2:3:4:5:6 user=bob"}},
		{`[x:error] [pid 1] [client 2001:db8::1:2:3:4:8080] AH01618: user bob not found: /`, []string{"failure 2001:db8::1:2:3:4 user=bob"}},
		{`[x:error] [pid 1] [client 2001:db8:1:2:3:4:5:6] AH01618: user bob not found: /`, []string{"failure 2001:db8:1:2:3:4:5:6 user=bob"}},
		{`[error] [client 2001:db8::1:2:3:4:8080] user bob not found: /`, []string{"failure 2001:db8::1:2:3:4:8080 user=bob"}},
		{`[error] [client www.example.net] user bob not found: /`, []string{"failure www.example.net! user=bob"}},
		{`[authz_core:error] [pid 9] (13)Permission denied: [client 192.0.2.7:1] AH01630: client denied by server configuration: /x`, []string{"denied 192.0.2.7"}},
		{`[authz_core:error] [pid 9] mod_authz_core.c(809): [client 192.0.2.7:1] AH01630: client denied by server configuration: /x`, []string{"denied 192.0.2.7"}},
		{`[mpm_event:notice] [pid 9] AH00489: Apache/2.4 configured`, nil}, {`[`, nil}, {`[error]`, nil}, {``, nil}, {`[client `, nil}, {`[client ]x`, nil},
		// The client is in its field alone.
		{apache22 + `File does not exist: /w/[client 203.0.113.9] user root not found`, []string{"request 192.0.2.7 404 /w/[client 203.0.113.9] user root not found"}},
		{apache24 + `AH01618: user x] [client 203.0.113.9] user bob not found: /`, []string{"failure 192.0.2.7 user=x] [client 203.0.113.9] user bob"}},
		{`[error] (2)No such file: GET /[client 203.0.113.9] user bob not found: /`, nil},
		{`[error] x: [client 203.0.113.9] user bob not found: /`, nil},
	})
	requireLines(t, parser(t, "apache-error", Options{Mode: "aggressive"}), []lineCase{
		{apache24 + `AH02008: SSL Library Error: x`, []string{"probe 192.0.2.7"}},
	})
}

func TestApacheErrorTimes(t *testing.T) {
	const message = " [error] [client 192.0.2.7] user bob not found: /"
	p := parser(t, "apache-error", Options{Now: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)})
	require.Equal(t, "2013-07-20T21:37:32.266605Z", at(t, p, "[Sat Jul 20 21:37:32.266605 2013]"+message))
	require.Equal(t, "2013-07-20T21:37:32Z", at(t, p, "[2013-07-20 21:37:32]"+message))
	require.Equal(t, "2025-12-31T23:00:00Z", at(t, p, "Dec 31 23:00:00 web1 httpd[3]:"+message))
	require.Zero(t, p.Parse([]byte(message[1:]), nil)[0].At)
}
