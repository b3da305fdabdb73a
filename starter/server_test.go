package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/telemetry"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/builtin"
	"github.com/shivx/shivx/worker/agent"
)

// world is one real Temporal server with one agent, shared by the tests of this package.
type world struct {
	dir     string
	address string
	// missing says why there is none.
	missing string
	err     error

	server *exec.Cmd
	stop   context.CancelFunc
	ended  chan error
	client client.Client
}

var (
	shared world
	once   sync.Once
)

// The components of the agent. Each is a file "up" in a folder of its own, kept by scripts.
const agentConfig = `
version: 1
host: here
api: {listen: "off"}
guardian: {nftables: {enabled: "off"}, allow: [198.51.100.0/28]}
defaults: {every: 1h}
golden:
  store: {path: DIR/store}
  sets:
    - {name: site, paths: [DIR/web], schedule: {backup: "0 3 * * *", timezone: Europe/Berlin}}
forecast:
  schedule: 1h
  subsystems:
    - name: space
      model: exhaustion
      series: [{path: DIR/web}]
      mitigations: [{name: tidy, use: script, with: {dir: DIR/tidy}, measure_after: 100ms}]
components:
  - name: web
    critical: true
    checks: [{command: {argv: [test, -e, web/up]}}]
    state: {paths: [web]}
    isolate: {use: script, with: {dir: DIR/web}}
    ladder: [{name: restart, use: script, with: {dir: DIR/web}}]
    validate: {window: 100ms, every: 50ms, settle: 5s}
    limits: {heals: 100, window: 1h, cooldown: 0s}
  - name: broken
    checks: [{command: {argv: [test, -e, broken/up]}}]
    isolate: {use: script, with: {dir: DIR/broken}}
    ladder:
      - {name: first, use: script, with: {dir: DIR/broken}}
      - {name: second, use: script, with: {dir: DIR/broken}}
    validate: {window: 0s, settle: 0s, every: 50ms}
    limits: {heals: 100, window: 1h, cooldown: 1h, max_cooldown: 1h}
  - name: slow
    checks: [{command: {argv: [test, -e, slow/up]}}]
    ladder: [{name: wait, use: script, with: {dir: DIR/slow}, timeout: 60s}]
    validate: {window: 0s, every: 50ms, settle: 5s}
    limits: {heals: 100, window: 1h, cooldown: 0s}
  - name: gated
    checks: [{command: {argv: [test, -e, gated/up]}}]
    ladder:
      - name: careful
        use: script
        with: {dir: DIR/gated}
        approval: {required: 1, of: [ana, bob], ttl: 5m}
    validate: {window: 0s, every: 50ms, settle: 5s}
    limits: {heals: 100, window: 1h, cooldown: 0s}
`

// The scripts of the components.
var agentScripts = map[string]string{
	"web/recover":        "touch up; echo 'brought it up \033[31m\ntouched up'",
	"web/isolate":        "touch isolated; echo out of traffic",
	"web/reintegrate":    "rm -f isolated; echo back in traffic",
	"broken/recover":     "echo 'it cannot be repaired' >&2; exit 1",
	"broken/isolate":     "echo out of traffic",
	"broken/reintegrate": "echo back in traffic",
	"slow/recover":       "echo waiting for go >&2; while [ ! -e go ]; do sleep 0.02; done; rm go; touch up; echo went",
	"gated/recover":      "touch up",
	"tidy/recover":       "echo tidied up",
}

// needServer returns the shared world, with every component healthy and free.
func needServer(t *testing.T) *world {
	t.Helper()
	once.Do(func() { shared.err = shared.start() })
	if shared.missing != "" {
		testenv.Missing(t, shared.missing)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	t.Setenv("TEMPORAL_ADDRESS", shared.address)
	t.Setenv("USER", "ana")
	t.Setenv("SUDO_USER", "")
	return &shared
}

func (w *world) start() error {
	program := os.Getenv("SHIVX_LOCAL")
	if program == "" {
		program = "../bin/shivx-local"
	}
	if _, err := os.Stat(program); err != nil {
		w.missing = "needs the embedded server: make build, or SHIVX_LOCAL=PATH"
		return nil
	}
	var err error
	if w.dir, err = os.MkdirTemp("", "shivx-cli-"); err != nil {
		return err
	}
	if err := w.startServer(program); err != nil {
		return err
	}
	return w.startAgent()
}

func (w *world) startServer(program string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.address = l.Addr().String()
	_, port, err := net.SplitHostPort(w.address)
	if err := errors.Join(err, l.Close()); err != nil {
		return err
	}
	w.server = exec.Command(program, "-server-only", "-dir", filepath.Join(w.dir, "temporal"), "-port", port, "-ui-port", "0")
	w.server.Stderr = os.Stderr
	w.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return w.server.Start()
}

func (w *world) startAgent() error {
	for path, text := range agentScripts {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(w.dir, path)), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(w.dir, path), []byte("#!/bin/sh\n"+text+"\n"), 0o750); err != nil {
			return err
		}
	}
	path := filepath.Join(w.dir, "shivx.yaml")
	text := strings.ReplaceAll(agentConfig, "DIR", w.dir)
	text = strings.ReplaceAll(text, "[test, -e, ", "[test, -e, "+w.dir+"/")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	for _, name := range []string{"web", "broken", "slow", "gated"} {
		if err := os.WriteFile(filepath.Join(w.dir, name, "up"), nil, 0o600); err != nil {
			return err
		}
	}
	cfg, err := config.Load(path, builtin.Known())
	if err != nil {
		return err
	}
	quietLog := slog.New(slog.DiscardHandler)
	w.client, err = client.NewLazyClient(client.Options{HostPort: w.address, Logger: sdklog.NewStructuredLogger(quietLog)})
	if err != nil {
		return err
	}
	a, err := agent.New(cfg, w.client, agent.Options{Namespace: client.DefaultNamespace, Logger: quietLog, Telemetry: telemetry.New()})
	if err != nil {
		return err
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	w.ended = make(chan error, 1)
	go func() { w.ended <- a.Run(ctx) }()
	return w.ready()
}

// ready waits until all entities are there and answer.
func (w *world) ready() error {
	var last result
	for late := time.Now().Add(time.Minute); time.Now().Before(late); time.Sleep(100 * time.Millisecond) {
		last = shivxRun("component", "list", "--address", w.address)
		if strings.Count(last.out, " per 1h") == 4 {
			return nil
		}
	}
	return fmt.Errorf("the agent's components do not show up: %+v", last)
}

func stopServer() {
	if shared.stop != nil {
		shared.stop()
		if err := <-shared.ended; err != nil {
			fmt.Fprintln(os.Stderr, "the agent:", err)
		}
		shared.client.Close()
	}
	if shared.server != nil && shared.server.Process != nil {
		_ = syscall.Kill(-shared.server.Process.Pid, syscall.SIGKILL)
		_ = shared.server.Wait()
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
}

// file is a file of a component.
func (w *world) file(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// awaitOut runs a command until it prints text.
func awaitOut(t *testing.T, text string, args ...string) result {
	t.Helper()
	var last result
	for late := time.Now().Add(30 * time.Second); time.Now().Before(late); time.Sleep(50 * time.Millisecond) {
		if last = shivxRun(args...); strings.Contains(last.out, text) {
			return last
		}
	}
	t.Fatalf("shivx %s does not print %q, but %+v", strings.Join(args, " "), text, last)
	return last
}

// want runs a command, and compares its exit code and what it printed with the texts.
func want(t *testing.T, code int, texts []string, args ...string) result {
	t.Helper()
	r := shivxRun(args...)
	if r.code != code {
		t.Fatalf("shivx %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("shivx %s does not print %q:\n%s%s", strings.Join(args, " "), text, r.out, r.err)
		}
	}
	if strings.Contains(r.out+r.err, "\x1b") {
		t.Errorf("shivx %s prints control characters: %q", strings.Join(args, " "), r.out+r.err)
	}
	return r
}
