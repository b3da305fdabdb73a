package e2e_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

// guardianWeb: a real nginx asks the agent whom to let in, and reads whom to refuse from a deny file.
// There is no nftables and no Temporal: what refuses is the server.
func guardianWeb(t *testing.T) {
	n := stand.NewNetwork(t)
	host := n.Machine()
	w := &webScene{t: t, n: n, host: host, dir: t.TempDir()}
	conf := w.configure()
	stand.NewProcess(t, filepath.Join(w.dir, "nginx.log"), nil, host.Argv(append(conf, "-g", "daemon off;")...)...).Start()
	bystander := n.Outside.HTTP(n.Bystander.IP4)
	stand.Await(t, patience, "nginx to let nobody in without an agent", func(context.Context) bool {
		resp, err := bystander.Get(w.url(host.IP4))
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusInternalServerError
	})
	w.g = guard(t, host, nowhere, fill(guardedBy+`
  nftables: {enabled: "off"}
  terms: [1h]
  logs: [{name: web, file: <log>, format: nginx-access}]
  deny_files:
    - name: nginx
      path: <denied>
      format: nginx
      reload: {argv: <reload>}
`, "host", "web-1", "log", w.log(), "denied", w.denied(), "reload", append(conf, "-s", "reload")))
	w.awaitStatus(bystander, w.url(host.IP4), http.StatusOK)

	w.flood()
	w.scan()
	w.restored()
	for _, r := range w.g.GuardianRecords() {
		require.NotEqual(t, shivx.ThreatIneffective, r.ThreatType, "what nginx refuses is no sign of a leak")
	}
	verifies(t, w.g, "--no-witness")
}

// webScene is what its steps share.
type webScene struct {
	t    *testing.T
	n    *stand.Network
	host *stand.Machine
	g    *stand.Guarded
	dir  string
}

func (w *webScene) log() string    { return filepath.Join(w.dir, "access.log") }
func (w *webScene) denied() string { return filepath.Join(w.dir, "denied.conf") }

// url of the server that asks the agent; plain of the one that reads the deny file.
func (w *webScene) url(ip string) string   { return "http://" + net.JoinHostPort(ip, "80") + "/" }
func (w *webScene) plain(ip string) string { return "http://" + net.JoinHostPort(ip, "81") + "/" }

// configure writes what nginx needs and returns how it is started.
func (w *webScene) configure() []string {
	program := testenv.Need(w.t, "nginx")[0]
	require.NoError(w.t, os.Mkdir(filepath.Join(w.dir, "html"), 0o755))
	testenv.WriteFile(w.t, filepath.Join(w.dir, "html", "index.html"), "ok\n")
	for _, empty := range []string{w.log(), w.denied()} {
		testenv.WriteFile(w.t, empty, "")
	}
	conf := filepath.Join(w.dir, "nginx.conf")
	testenv.WriteFile(w.t, conf, strings.ReplaceAll(`user root;
worker_processes 1;
pid DIR/nginx.pid;
events { worker_connections 256; }
http {
  access_log DIR/access.log;
  client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
  keepalive_requests 10000;
  root DIR/html;
  upstream agent { server 127.0.0.1:9470; keepalive 2; }
  server {
    listen 80; listen [::]:80;
    auth_request /check;
    location = /check {
      internal;
      proxy_pass http://agent/api/guardian/check;
      proxy_pass_request_body off;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Content-Length "";
      proxy_set_header Host localhost;
      proxy_set_header Authorization "Bearer token-of-the-proxy";
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
  server {
    listen 81; listen [::]:81;
    include DIR/denied.conf;
  }
}
`, "DIR", w.dir))
	return []string{program, "-p", w.dir, "-c", conf, "-e", filepath.Join(w.dir, "error.log")}
}

// flood: more than 500 requests a minute are too many. All the time the attacker says that he is the
// bystander, where a proxy would say so and in the log.
func (w *webScene) flood() {
	t, target := w.t, w.url(w.host.IP4)
	attacker, bystander := w.n.Outside.HTTP(w.n.Attacker.IP4), w.n.Outside.HTTP(w.n.Bystander.IP4)
	forged := []string{"X-Forwarded-For", w.n.Bystander.IP4, "X-Real-IP", w.n.Bystander.IP4,
		"User-Agent", `x" ` + w.n.Bystander.IP4 + ` - - [23/Nov/2026:09:00:00 +0000] "GET /.env HTTP/1.1" 404 0 "-" "sqlmap`}
	served := 0
	for ; served < 2000 && get(t, attacker, target, forged...) == http.StatusOK; served++ {
	}
	t.Logf("requests served before the first refusal: %d", served)
	require.GreaterOrEqual(t, served, 499)
	require.Less(t, served, 2000, "the attacker is not refused")
	r := w.g.Isolated(patience, w.n.Attacker.IP4, 1)
	require.Equal(t, shivx.ThreatRateCritical, r.ThreatType)

	require.Equal(t, http.StatusForbidden, get(t, attacker, target, forged...), "a header lets nobody in")
	require.Equal(t, http.StatusOK, get(t, bystander, target))
	w.awaitStatus(attacker, w.plain(w.host.IP4), http.StatusForbidden)
	require.Equal(t, http.StatusOK, get(t, bystander, w.plain(w.host.IP4)))
}

// scan: a scanner of IPv6 is refused with its whole /64.
func (w *webScene) scan() {
	t := w.t
	scanner, neighbour := w.n.Outside.HTTP(w.n.Attacker.IP6), w.n.Outside.HTTP(w.n.Neighbour.IP6)
	target, tried := w.url(w.host.IP6), 0
	for _, path := range []string{".env", "wp-login.php", ".git/config", "phpmyadmin/index.php", "cgi-bin/luci", "actuator/env", "vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php"} {
		if get(t, scanner, target+path, "User-Agent", "Mozilla/5.0 zgrab/0.x") == http.StatusForbidden {
			break
		}
		tried++
	}
	t.Logf("probes answered before the first refusal: %d", tried)
	w.awaitStatus(scanner, target, http.StatusForbidden)
	r := w.g.AwaitGuardianRecord(patience, "the scanner to be isolated", func(r stand.GuardianRecord) bool {
		return r.ActionTaken == shivx.ActionIsolated && r.ThreatType == shivx.ThreatScannerCritical
	})
	p, err := shivx.ParseSource(w.n.Attacker.IP6)
	require.NoError(t, err)
	require.Equal(t, shivx.SourceString(p), r.Source)
	require.Equal(t, http.StatusForbidden, get(t, neighbour, target))
	w.awaitStatus(neighbour, w.plain(w.host.IP6), http.StatusForbidden)
	for _, c := range []string{w.url(w.host.IP6), w.plain(w.host.IP6)} {
		require.Equal(t, http.StatusOK, get(t, w.n.Outside.HTTP(w.n.Bystander.IP6), c))
	}
}

// restored: nginx lets both in again, at once where it asks.
func (w *webScene) restored() {
	for _, ip := range []struct{ from, to string }{{w.n.Attacker.IP4, w.host.IP4}, {w.n.Attacker.IP6, w.host.IP6}} {
		done(w.t, w.g, "guardian", "restore", ip.from, "--local", "--why", "the test says so")
		c := w.n.Outside.HTTP(ip.from)
		require.Equal(w.t, http.StatusOK, get(w.t, c, w.url(ip.to)))
		w.awaitStatus(c, w.plain(ip.to), http.StatusOK)
	}
}

// awaitStatus waits until a page is answered with a status.
func (w *webScene) awaitStatus(c *http.Client, url string, status int) {
	w.t.Helper()
	stand.Await(w.t, patience, url+" to be answered otherwise", func(context.Context) bool { return get(w.t, c, url) == status })
}
