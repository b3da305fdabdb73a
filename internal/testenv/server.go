package testenv

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long a server may take to answer or to end.
const startTimeout = 30 * time.Second

// Server is a real server program on a port of its own, in a folder of its own. It is a child
// of the test, in the foreground and in a process group of its own, and ends with the test.
type Server struct {
	// Dir is the server's folder: configuration, data, log and pid file.
	Dir string
	// Addr is where it listens, 127.0.0.1:PORT.
	Addr string
	// Argv starts it in the foreground, also for a plugin under test.
	Argv []string
	// PIDFile holds its process number while it runs.
	PIDFile string

	ready func(ctx context.Context) error
	quit  syscall.Signal

	mu   sync.Mutex
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{}
}

// Start starts the server and returns when it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	s.out.Reset()
	s.cmd = exec.Command(s.Argv[0], s.Argv[1:]...)
	s.cmd.Dir = s.Dir
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd, done := s.cmd, make(chan struct{})
	s.done = done
	s.mu.Unlock()
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", s.Argv[0], err)
	}
	go func() { // reaps it at once, so that it never stays a zombie
		_ = cmd.Wait()
		close(done)
	}()
	if err := s.Ready(done); err != nil {
		t.Fatalf("%s does not answer: %v\n%s", s.Argv[0], err, s.log())
	}
}

// Ready waits until the server answers, whoever has started it; stop, which may be nil, ends the wait.
func (s *Server) Ready(stop <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		err := s.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-stop:
			return fmt.Errorf("it ended: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// PID is the process number of the server as started by Start.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// Kill ends the server and its children with SIGKILL and waits for its end.
func (s *Server) Kill(t testing.TB) { t.Helper(); s.end(t, syscall.SIGKILL, true) }

// Stop ends the server in order.
func (s *Server) Stop(t testing.TB) { t.Helper(); s.end(t, s.quit, false) }

func (s *Server) end(t testing.TB, sig syscall.Signal, group bool) {
	t.Helper()
	s.mu.Lock()
	cmd, done := s.cmd, s.done
	s.mu.Unlock()
	if cmd == nil || cmd.Process == nil {
		return
	}
	pid := cmd.Process.Pid
	if group {
		pid = -pid
	}
	select {
	case <-done:
		return
	default:
		_ = syscall.Kill(pid, sig)
	}
	select {
	case <-done:
	case <-time.After(startTimeout):
		t.Errorf("%s does not end after %v", s.Argv[0], sig)
	}
}

// close ends what runs of the server: its own process and one a plugin has started from its pid file.
func (s *Server) close(t testing.TB) {
	s.end(t, syscall.SIGKILL, true)
	if pid := s.FilePID(); pid > 1 && s.owns(pid) {
		if group, err := syscall.Getpgid(pid); err == nil && group == pid {
			pid = -pid // with its workers, which a killed master leaves behind
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// FilePID is the process number in the pid file, 0 if there is none.
func (s *Server) FilePID() int {
	data, err := os.ReadFile(s.PIDFile)
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data))
	if len(fields) == 0 {
		return 0
	}
	pid, _ := strconv.Atoi(fields[0])
	return pid
}

// owns says whether the process works in this server's folder, so that no stranger is killed.
func (s *Server) owns(pid int) bool {
	cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.HasPrefix(cwd, s.Dir) || bytes.Contains(line, []byte(s.Dir))
}

// log is what the server has said; it is read after its end.
func (s *Server) log() string {
	select {
	case <-s.done:
	case <-time.After(100 * time.Millisecond):
		return "(it still runs)"
	}
	return s.out.String()
}

// Addr returns a free address on the loopback.
func Addr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Port returns the port of an address.
func Port(t testing.TB, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// WriteFile writes a file of a test.
func WriteFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// connects returns nil when something listens at addr.
func connects(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}
