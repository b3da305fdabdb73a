// Package stand builds test stands of real parts: a Temporal server process, agent processes,
// and what a test needs to kill them and to see what became of a run.
//
// The programs come from bin/ (`make build`); without them a test is skipped, or fails where
// SHIVX_TEST_STRICT=1 is set.
package stand

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/testenv"
)

// Bin returns the path of a program built by make.
func Bin(t testing.TB, name string) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "..", "..", "bin", name)
	if _, err := os.Stat(path); err != nil {
		testenv.Missing(t, "needs bin/"+name+"; run make build")
	}
	return path
}

// FreePort returns a port of the loopback nobody listens on just now. It is below those that the kernel
// gives to outgoing connections, one of which could have it before the program that is to listen there.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 10000 + rand.IntN(10000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port from 10000 to 19999")
	return 0
}

// Process is a program under test that can be killed and started again.
type Process struct {
	t    testing.TB
	argv []string
	env  []string
	log  string

	mu   sync.Mutex
	cmd  *exec.Cmd
	gone chan struct{}
}

// NewProcess describes a program; its output goes to log, which is shown when the test fails.
func NewProcess(t testing.TB, log string, env []string, argv ...string) *Process {
	p := &Process{t: t, argv: argv, env: env, log: log}
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			b, _ := os.ReadFile(log)
			t.Logf("%s said:\n%s", filepath.Base(argv[0]), tail(string(b), 6000))
		}
	})
	return p
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// Start starts the program.
func (p *Process) Start() {
	p.t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	gone := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.gone = cmd, gone
	p.mu.Unlock()
	go func() {
		_ = cmd.Wait()
		close(gone)
	}()
}

// PID returns the process id of the program started last.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Gone is closed when the program started last has ended.
func (p *Process) Gone() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// Setenv sets a variable for the next start.
func (p *Process) Setenv(kv string) { p.env = append(p.env, kv) }

// Kill ends the program at once, as a crash does, and waits until it is gone.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Stop asks the program to end and waits; one that does not is killed.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

func (p *Process) end(sig syscall.Signal) {
	p.mu.Lock()
	cmd, gone := p.cmd, p.gone
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(sig)
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-gone
	}
}

// Server is a Temporal server in a process of its own, on a SQLite file.
type Server struct {
	*Process
	Address string
	client  client.Client
}

// NewServer starts a server and waits until it answers.
func NewServer(t testing.TB) *Server {
	t.Helper()
	dir, port := t.TempDir(), FreePort(t)
	s := &Server{Address: fmt.Sprintf("127.0.0.1:%d", port)}
	t.Cleanup(func() {
		if said, _ := os.ReadFile(filepath.Join(dir, "temporal.log")); t.Failed() {
			t.Logf("the Temporal server's own log:\n%s", tail(string(said), 6000))
		}
	})
	s.Process = NewProcess(t, filepath.Join(dir, "server.log"), nil,
		Bin(t, "shivx-local"), "-server-only", "-dir", dir, "-port", fmt.Sprint(port), "-ui-port", "0")
	s.Start()
	var err error
	s.client, err = client.NewLazyClient(client.Options{HostPort: s.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	s.Await()
	return s
}

// Await waits until the server answers.
func (s *Server) Await() {
	s.t.Helper()
	Await(s.t, time.Minute, "the Temporal server to answer", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := s.client.CheckHealth(ctx, &client.CheckHealthRequest{})
		return err == nil
	})
}

// Client returns a client of the server; it survives a restart of the server.
func (s *Server) Client() client.Client { return s.client }

// Agent is an agent in a process of its own.
type Agent struct {
	*Process
	// Dir holds its configuration; Var is the folder it writes to.
	Dir, Var string
}

// NewAgent writes the configuration, in which {dir} stands for the agent's folder, and starts
// the agent. The configuration must set paths.var to {dir}/var and a host name.
func NewAgent(t testing.TB, s *Server, program, yaml string) *Agent {
	t.Helper()
	dir := t.TempDir()
	a := &Agent{Dir: dir, Var: filepath.Join(dir, "var")}
	cfg := filepath.Join(dir, "shivx.yaml")
	if err := os.WriteFile(cfg, []byte(strings.ReplaceAll(yaml, "{dir}", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	a.Process = NewProcess(t, filepath.Join(dir, "agent.log"), []string{"TEMPORAL_ADDRESS=" + s.Address},
		Bin(t, program), "-config", cfg)
	a.Start()
	return a
}

// Ledger is the path of the agent's operational ledger.
func (a *Agent) Ledger() string {
	return filepath.Join(a.Var, "recovery", "operational_ledger.ndjson")
}

// Records returns the ledger's records so far.
func (a *Agent) Records() []shivx.RecoveryRecord {
	a.t.Helper()
	var out []shivx.RecoveryRecord
	err := ledger.Read(a.Ledger(), 1, func(r ledger.Record) error {
		var rec shivx.RecoveryRecord
		if err := r.Decode(&rec); err != nil {
			return err
		}
		out = append(out, rec)
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		a.t.Fatal(err)
	}
	return out
}

// AwaitRecord waits for a record of the ledger that matches.
func (a *Agent) AwaitRecord(limit time.Duration, what string, match func(shivx.RecoveryRecord) bool) shivx.RecoveryRecord {
	a.t.Helper()
	var found shivx.RecoveryRecord
	Await(a.t, limit, what, func(context.Context) bool {
		for _, r := range a.Records() {
			if match(r) {
				found = r
				return true
			}
		}
		return false
	})
	return found
}

// AwaitRecovery waits until the n-th run of a component has ended, 1-based, and returns its record.
func (a *Agent) AwaitRecovery(component string, n int, limit time.Duration) shivx.RecoveryRecord {
	a.t.Helper()
	seen := map[string]bool{}
	return a.AwaitRecord(limit, fmt.Sprintf("run %d of %s to end", n, component), func(r shivx.RecoveryRecord) bool {
		if r.EventType != shivx.EventRecovery || r.Component != component {
			return false
		}
		seen[r.EventID] = true
		return len(seen) == n
	})
}

// VerifyLedger fails the test when the ledger does not verify.
func (a *Agent) VerifyLedger() {
	a.t.Helper()
	verify(a.t, a.Ledger())
}

func verify(t testing.TB, path string) {
	t.Helper()
	report, err := ledger.Verify(context.Background(), path, ledger.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK {
		t.Fatalf("%s does not verify: %+v", filepath.Base(path), report.Findings)
	}
}

// Await asks again and again until ok says yes, and fails the test after limit.
func Await(t testing.TB, limit time.Duration, what string, ok func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s in vain for %s", limit, what)
		case <-tick.C:
		}
	}
}
