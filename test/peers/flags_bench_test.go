package peers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/api"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/resilience"
)

const (
	flagsRate  = 10_000 // requests a second
	flagsConns = 64     // connections of the generator
	flagsFor   = 10 * time.Second
	// flagsServer is set in the environment of the process that serves.
	flagsServer = "SHIVX_BENCH_FLAGS_SERVER"
	flagsToken  = "token-of-the-load-generator"
)

// TestBenchFlags measures the answers about a feature and of the forward-auth at a fixed rate of requests, beside those of
// a handler of net/http that answers a constant, and of connections that are written a constant for
// whatever they send: what the machine and its loopback allow. Server and generator share the machine.
func TestBenchFlags(t *testing.T) {
	if os.Getenv(flagsServer) != "" {
		serveFlags(t)
		return
	}
	addresses, pid := startFlagsServer(t)
	agent, bare, raw := addresses[0], addresses[1], addresses[2]
	evaluation := `{"context":{"targetingKey":"user-17","plan":"pro"}}`
	rows := []struct {
		name, address, request string
	}{
		{"TCP alone, a constant", raw, httpRequest("GET", "/", "")},
		{"net/http, a constant", bare, httpRequest("GET", "/", "")},
		{"GET /api/features/{name}", agent, httpRequest("GET", "/api/features/web_search", "")},
		{"OFREP, one flag", agent, httpRequest("POST", "/ofrep/v1/evaluate/flags/web_search", evaluation)},
		{"forward-auth, one of 100,000", agent, httpRequest("GET", "/api/guardian/check", "", "X-Forwarded-For: 192.0.2.7")},
	}
	t.Logf("%d requests/s for %s at fixed times over %d connections; from the time a request was due to its answer, in ms",
		flagsRate, flagsFor, flagsConns)
	t.Logf("%-28s %10s %8s %8s %8s %8s %8s", "", "answers/s", "p50", "p99", "p99.9", "max", "CPU µs")
	var floor time.Duration
	for _, r := range rows {
		load(t, r.address, r.request, flagsRate, time.Second) // connections, caches and the heap warm up
		before := cpuOf(t, pid)
		got, took := load(t, r.address, r.request, flagsRate, flagsFor)
		cpu := float64((cpuOf(t, pid) - before).Microseconds()) / float64(len(got)) // of the server, for each answer
		p99 := quantile(got, .99)
		if r.address == bare {
			floor = p99
		}
		beside := "aim: p99 of 1 ms"
		if floor > 0 {
			beside = fmt.Sprintf("p99 %.2f times that of net/http", float64(p99)/float64(floor))
		}
		t.Logf("%-28s %10.0f %8.3f %8.3f %8.3f %8.3f %8.1f   %s", r.name, float64(len(got))/took.Seconds(),
			ms(quantile(got, .5)), ms(p99), ms(quantile(got, .999)), ms(quantile(got, 1)), cpu, beside)
	}
}

func httpRequest(method, path, body string, headers ...string) string {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n", method, path, flagsToken)
	for _, h := range headers {
		head += h + "\r\n"
	}
	if body != "" {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return head + "\r\n" + body
}

// cpuOf returns the time a process has had a CPU.
func cpuOf(t *testing.T, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const ticks = 100 // a second, on every Linux that Go runs on
	var sum time.Duration
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(n) * time.Second / ticks
	}
	return sum
}

// startFlagsServer starts this test's program again to serve, and returns the addresses of the agent's
// interface, of net/http and of TCP alone.
func startFlagsServer(t *testing.T) (addresses []string, pid int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestBenchFlags$", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), flagsServer+"=1")
	cmd.Stderr = os.Stderr
	end, err := cmd.StdinPipe() // the server ends with it
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = end.Close()
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "serving "); ok {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return strings.Fields(text), cmd.Process.Pid
		}
	}
	t.Fatal("the server did not start")
	return nil, 0
}

// serveFlags serves until its standard input ends.
func serveFlags(t *testing.T) {
	cfg := config.Default()
	cfg.Paths.Var, cfg.API.Listen = t.TempDir(), "127.0.0.1:0"
	cfg.API.Tokens = []config.Token{{Name: "load", Role: "app", Token: flagsToken}}
	s, err := api.New(cfg, api.Options{Resilience: steadyHost(cfg), Guardian: busyGuardian(t, cfg), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	constant := []byte("{\"name\":\"web_search\",\"enabled\":true}\n")
	go func() {
		_ = http.Serve(listen, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(constant)
		}))
	}()
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go answerAll(raw)
	fmt.Println("serving", s.Address(), listen.Addr(), raw.Addr())
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}

// answerAll writes a constant for each request, of which it reads no more than where its head ends:
// several may have come by the time it reads.
func answerAll(l net.Listener) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			for in := bufio.NewReader(c); ; {
				line, err := in.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) > len("\r\n") {
					continue
				}
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

// host is one whose level never changes.
type host struct{ snapshot *resilience.Snapshot }

func steadyHost(cfg *config.Config) host {
	s := &resilience.Snapshot{Level: shivx.LevelNormal}
	for _, f := range cfg.Resilience.Features {
		s.List = append(s.List, shivx.Feature{Name: f.Name, OffAt: shivx.Level(f.OffAt), Enabled: true, Reason: "on: the host is at NORMAL"})
	}
	return host{s}
}

func (h host) Status() resilience.Status      { return resilience.Status{} }
func (h host) Features() *resilience.Snapshot { return h.snapshot }
func (h host) Override(context.Context, string, shivx.OverrideRequest) (shivx.LevelChange, error) {
	return shivx.LevelChange{}, errors.New("nothing changes here")
}
