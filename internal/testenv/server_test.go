package testenv

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

func TestRedisStartsDiesAndKeepsItsData(t *testing.T) {
	r := Redis(t)
	if got := r.Do(t, "SET", "k", "v"); got != "+OK" {
		t.Fatalf("SET answered %q", got)
	}
	if r.FilePID() != r.PID() {
		t.Errorf("pid file says %d, the process is %d", r.FilePID(), r.PID())
	}
	r.Kill(t)
	if conn, err := net.DialTimeout("tcp", r.Addr, time.Second); err == nil {
		_ = conn.Close()
		t.Fatal("a killed Redis accepts connections")
	}
	r.Start(t)
	if got := r.Do(t, "GET", "k"); got != "v" {
		t.Errorf("after a kill and a start the key is %q", got)
	}
	r.Stop(t)
}

func TestPostgresAnswers(t *testing.T) {
	p := Postgres(t, "max_connections = 20")
	conn := p.Connect(t)
	var n string
	if err := conn.QueryRow(context.Background(), "SHOW max_connections").Scan(&n); err != nil || n != "20" {
		t.Fatalf("max_connections = %q, %v", n, err)
	}
	if p.FilePID() != p.PID() {
		t.Errorf("postmaster.pid says %d, the process is %d", p.FilePID(), p.PID())
	}
	p.Kill(t)
	p.Start(t)
	p.Stop(t)
}

func TestNginxServes(t *testing.T) {
	n := Nginx(t, `location = /teapot { return 418; }`)
	for path, want := range map[string]int{"/": 200, "/broken": 503, "/teapot": 418} {
		if got, _ := get(t, n.Addr, path); got != want {
			t.Errorf("%s answered %d, want %d", path, got, want)
		}
	}
	if n.FilePID() != n.PID() {
		t.Errorf("pid file says %d, the process is %d", n.FilePID(), n.PID())
	}
	n.Stop(t)
}

func TestHAProxyForwards(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "behind")
	}))
	defer web.Close()
	h := HAProxy(t, web.Listener.Addr().String())
	if status, body := get(t, h.Addr, "/"); status != 200 || body != "behind" {
		t.Errorf("answered %d %q", status, body)
	}
	conn, err := net.Dial("unix", h.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "show servers state app\n")
	state, _ := io.ReadAll(conn)
	if !strings.Contains(string(state), " s1 ") {
		t.Errorf("runtime socket answered %q", state)
	}
	if h.FilePID() != h.PID() {
		t.Errorf("pid file says %d, the process is %d", h.FilePID(), h.PID())
	}
	h.Stop(t)
}

func TestCloseEndsWhatAPluginHasStarted(t *testing.T) {
	r := Redis(t)
	old := r.PID()
	r.Kill(t)
	other := &Server{Dir: r.Dir, Addr: r.Addr, Argv: r.Argv, PIDFile: r.PIDFile, ready: r.ready}
	other.Start(t)
	if r.FilePID() == old {
		t.Fatal("the pid file was not written anew")
	}
	r.close(t)
	select {
	case <-other.done:
	case <-time.After(10 * time.Second):
		t.Error("a server started by others outlives the test")
	}
}

func TestOwnsNoStranger(t *testing.T) {
	s := &Server{Dir: t.TempDir()}
	if s.owns(1) || s.owns(os.Getpid()) {
		t.Error("a foreign process is taken for the test's server")
	}
}

func get(t *testing.T, addr, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}
