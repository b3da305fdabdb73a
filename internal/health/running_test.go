package health

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

func TestTimeThatTheProcessRan(t *testing.T) {
	r := newRunning()
	r.use()
	r.timer.Stop() // the test looks itself
	at := r.last
	before := r.ran
	for _, c := range []struct{ since, counts time.Duration }{
		{runStep, runStep}, {0, 0}, {runStep + 40*time.Millisecond, runStep + 40*time.Millisecond}, {runStall, runStall},
		{runStall + 1, runStep}, {time.Hour, runStep}, {runStep, runStep},
	} {
		at = at.Add(c.since)
		r.step(at)
		if got := r.ran - before; got != c.counts {
			t.Errorf("%s after the last look %s count, not %s", c.since, got, c.counts)
		}
		before = r.ran
	}
}

// listener is set for the process that TestStoppedAgentBlamesNobody stops.
const listener = "SHIVX_TEST_LISTENER"

// TestListener is that process: it takes each byte from its input for a heartbeat, and prints findings.
func TestListener(t *testing.T) {
	if os.Getenv(listener) == "" {
		t.Skip("it is run by TestStoppedAgentBlamesNobody")
	}
	m := run(t, []config.Component{registered("app", 2*time.Second, false)}, Options{
		Report: func(_ context.Context, f shivx.Finding) { fmt.Println("finding:", f.Reason) }})
	in := bufio.NewReader(os.Stdin)
	for {
		if _, err := in.ReadByte(); err != nil {
			return
		}
		if err := m.Heartbeat("app", ""); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStoppedAgentBlamesNobody stops a whole process for longer than a lease.
func TestStoppedAgentBlamesNobody(t *testing.T) {
	child := exec.Command(os.Args[0], "-test.run=^TestListener$")
	child.Env = append(os.Environ(), listener+"=1")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	found := make(chan time.Time, 100)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			found <- time.Now()
		}
	}()
	beats := func(n int) {
		for range n {
			if _, err := io.WriteString(in, "."); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond) // the pace of the program
		}
	}
	beats(3)
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := child.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if s == syscall.SIGSTOP {
			time.Sleep(3 * time.Second) // longer than the lease
		}
	}
	time.Sleep(500 * time.Millisecond) // the program was stopped, too, and needs a moment
	beats(3)
	select {
	case <-found:
		t.Fatal("the pause of the agent was taken for a fault of the program")
	default:
	}
	silent := time.Now()
	select {
	case at := <-found:
		if d := at.Sub(silent); d < time.Second {
			t.Errorf("a fault after %s", d)
		}
	case <-time.After(20 * time.Second):
		t.Error("a program that is silent is not found")
	}
}
