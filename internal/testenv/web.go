package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// NginxServer is a real nginx: a master with one worker.
type NginxServer struct {
	*Server
	// Conf is its configuration file.
	Conf string
	// Root holds the files it serves; index.html says "ok".
	Root string
}

// Nginx starts an nginx that serves Root and answers 503 at /broken; further lines for its
// server block may be added.
func Nginx(t testing.TB, server ...string) *NginxServer {
	t.Helper()
	program := Need(t, "nginx")[0]
	dir, addr := sharedDir(t, os.Geteuid(), os.Getegid()), Addr(t)
	n := &NginxServer{
		Conf: filepath.Join(dir, "nginx.conf"), Root: filepath.Join(dir, "html"),
		Server: &Server{Dir: dir, Addr: addr, PIDFile: filepath.Join(dir, "nginx.pid"), quit: syscall.SIGTERM},
	}
	n.Argv = []string{program, "-p", dir, "-c", n.Conf, "-e", filepath.Join(dir, "error.log"), "-g", "daemon off;"}
	n.ready = func(ctx context.Context) error { return connects(ctx, addr) }
	if err := os.Mkdir(n.Root, 0o755); err != nil {
		t.Fatal(err)
	}
	WriteFile(t, filepath.Join(n.Root, "index.html"), "ok\n")
	var extra strings.Builder
	for _, line := range server {
		extra.WriteString("    " + line + "\n")
	}
	WriteFile(t, n.Conf, fmt.Sprintf(nginxConf, n.PIDFile, dir, dir, dir, dir, dir, addr, n.Root, extra.String()))
	t.Cleanup(func() { n.close(t) })
	n.Start(t)
	return n
}

const nginxConf = `worker_processes 1;
pid %s;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path %s/tmp-body;
  proxy_temp_path %s/tmp-proxy;
  fastcgi_temp_path %s/tmp-fastcgi;
  uwsgi_temp_path %s/tmp-uwsgi;
  scgi_temp_path %s/tmp-scgi;
  server {
    listen %s;
    root %s;
    location = /broken { return 503; }
%s  }
}
`

// HAProxyServer is a real HAProxy.
type HAProxyServer struct {
	*Server
	// Conf is its configuration file.
	Conf string
	// Socket takes runtime commands at level admin.
	Socket string
}

// HAProxy starts an HAProxy with one frontend at Addr and the backend "app", whose servers are
// named s1, s2, … in the order of the addresses given.
func HAProxy(t testing.TB, servers ...string) *HAProxyServer {
	t.Helper()
	program := Need(t, "haproxy")[0]
	// The path of a socket may have 107 bytes; t.TempDir holds the test's name.
	dir, addr := sharedDir(t, os.Geteuid(), os.Getegid()), Addr(t)
	h := &HAProxyServer{
		Conf: filepath.Join(dir, "haproxy.cfg"), Socket: filepath.Join(dir, "admin.sock"),
		Server: &Server{Dir: dir, Addr: addr, PIDFile: filepath.Join(dir, "haproxy.pid"), quit: syscall.SIGTERM},
	}
	// -W: a master that ends with its worker; only in this mode is the pid file written in the foreground.
	h.Argv = []string{program, "-W", "-q", "-p", h.PIDFile, "-f", h.Conf}
	h.ready = func(ctx context.Context) error { return connects(ctx, addr) }
	var lines strings.Builder
	for i, s := range servers {
		fmt.Fprintf(&lines, "  server s%d %s\n", i+1, s)
	}
	WriteFile(t, h.Conf, fmt.Sprintf(haproxyConf, h.Socket, addr, lines.String()))
	t.Cleanup(func() { h.close(t) })
	h.Start(t)
	return h
}

const haproxyConf = `global
  stats socket %s mode 600 level admin
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
frontend front
  bind %s
  default_backend app
backend app
%s`
