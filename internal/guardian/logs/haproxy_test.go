package logs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHAProxyLines(t *testing.T) {
	const (
		prefix = `<134>Nov 23 08:10:23 lb1 haproxy[10526]: `
		client = `192.0.2.7:47654 [23/Nov/2026:08:10:23.131] `
		own    = client + `fe fe/<NOSRV> 0/-1/-1/-1/0 `
		conns  = ` 1/1/0/0/0 0/0 `
	)
	requireLines(t, parser(t, "haproxy", Options{}), []lineCase{
		{prefix + client + `fe~ app/s1 10/0/30/69/109 200 2750 - - ----` + conns + `{curl} {} "GET /a?b HTTP/1.1"`, []string{"request 192.0.2.7 200 GET /a"}},
		{client + `fe app/s1 10/0/30/69/109 404 2750 - - ----` + conns + `"GET https://h/a HTTP/2.0" h/TLSv1.3`, []string{"request 192.0.2.7 404 GET /a"}},
		{`Nov 23 08:10:23 haproxy[1]: 2001:db8::7:1 [23/Nov/2026:08:10:23.131] fe app/s1 1/0/3/6/+10 200 2750 - - ----` + conns + `"GET / HTTP/1.1"`, []string{"request 2001:db8::7 200 GET /"}},
		{prefix + `::ffff:192.0.2.7:1 [23/Nov/2026:08:10:23.131] fe app/s1 1/0/3/6/10 200 2750 - - ----` + conns + `"GET / HTTP/1.1"`, []string{"request 192.0.2.7 200 GET /"}},
		{prefix + own + `401 246 - - LR--` + conns + `"GET /p HTTP/1.1"`, []string{"request 192.0.2.7 401 GET /p", "failure 192.0.2.7 401 GET /p"}},
		{prefix + own + `401 246 - - PR--` + conns + `"GET /p HTTP/1.1"`, []string{"request 192.0.2.7 401 GET /p", "failure 192.0.2.7 401 GET /p"}},
		{prefix + client + `fe app/s1 10/0/30/69/109 401 2750 - - ----` + conns + `"GET /p HTTP/1.1"`, []string{"request 192.0.2.7 401 GET /p"}},
		{prefix + own + `403 192 - - PR--` + conns + `"GET /d HTTP/1.1"`, []string{"request 192.0.2.7 403 GET /d", "denied 192.0.2.7 403 GET /d"}},
		{prefix + own + `429 192 - - PR--` + conns + `"GET /l HTTP/1.1"`, []string{"request 192.0.2.7 429 GET /l", "probe 192.0.2.7 429 GET /l"}},
		{prefix + own + `500 192 - - PT--` + conns + `"GET /t HTTP/1.1"`, []string{"request 192.0.2.7 500 GET /t", "denied 192.0.2.7 500 GET /t"}},
		{prefix + own + `400 0 - - PR--` + conns + `"<BADREQ>"`, []string{"request 192.0.2.7 400", "probe 192.0.2.7 400"}},
		{prefix + own + `408 0 - - cR--` + conns + `"<BADREQ>"`, []string{"request 192.0.2.7 408"}},
		{prefix + client + `tcp app/s1 0/0/5007 212 -- 0/0/0/0/3 0/0`, nil},
		{prefix + client + `tcp app/<NOSRV> -1/-1/0 0 PR 0/0/0/0/3 0/0`, []string{"denied 192.0.2.7"}},
		{prefix + client + `fe/1: SSL handshake failure`, nil},
		// HAProxy encodes quotes: what is in a captured header is no request and no address.
		{prefix + own + `403 192 - - PR--` + conns + `{203.0.113.9:1 [23/Nov/2026:08:10:23.131] x#22GET} "GET /#22 HTTP/1.1"`, []string{"request 192.0.2.7 403 GET /#22", "denied 192.0.2.7 403 GET /#22"}},
		// "option httplog clf".
		{prefix + `192.0.2.7 - - [23/Nov/2026:08:10:23 +0000] "GET / HTTP/1.1" 200 5 "" "" 1 2 "fe" "app" "s1"`, []string{"request 192.0.2.7 200 GET / agent="}},
		{prefix + `Proxy fe started.`, nil}, {``, nil}, {client, nil}, {client + `a b c`, nil}, {client + `fe`, nil},
	})
	requireLines(t, parser(t, "haproxy", Options{Mode: "aggressive"}), []lineCase{
		{prefix + client + `fe/1: SSL handshake failure`, []string{"probe 192.0.2.7"}},
		{prefix + own + `408 0 - - cR--` + conns + `"<BADREQ>"`, []string{"request 192.0.2.7 408", "probe 192.0.2.7 408"}},
	})
	require.Equal(t, "2026-11-23T08:10:23.131Z", at(t, parser(t, "haproxy", Options{}), prefix+own+`403 192 - - PR--`+conns+`"GET / HTTP/1.1"`))
}
