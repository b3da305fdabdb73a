package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/config"
)

const (
	// maxOutput is how much of a command's output is kept, the last of it.
	maxOutput = 4 << 10
	// maxQuoted is how much of that stands in a reason.
	maxQuoted = 400
	// afterKill is how long a killed command may take to vanish.
	afterKill = time.Second
)

// commandProbe passes when the command exits with 0. The command gets a process group of its
// own, which is killed as a whole when the command ends (unlike by internal/command, which may
// start what is to stay) or its time is up, so that a check leaves nothing behind. Only the
// program's name stands in reasons: arguments may be secret.
type commandProbe struct {
	c    config.Command
	name string
	// immortal counts commands that a kill did not end (uninterruptible sleep); while there
	// is one no other is started, lest they pile up.
	immortal atomic.Int32
}

func newCommandProbe(c config.Command) (Probe, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return nil, shivx.Hint(errors.New("the command is empty"), "write argv: [PROGRAM, ARGUMENT, …]")
	}
	return &commandProbe{c: c, name: filepath.Base(c.Argv[0])}, nil
}

func (p *commandProbe) Check(ctx context.Context) error {
	if n := p.immortal.Load(); n > 0 {
		return fmt.Errorf("%s: a killed command of an earlier check still hangs in the kernel", p.name)
	}
	if p.c.Timeout > 0 {
		var cancel context.CancelFunc
		late := fmt.Errorf("no answer within %s", p.c.Timeout)
		ctx, cancel = context.WithTimeoutCause(ctx, p.c.Timeout, late)
		defer cancel()
	}
	out := &tail{}
	cmd, err := p.start(out)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- reap(cmd) }()
	return p.wait(ctx, cmd, ended, out)
}

func (p *commandProbe) start(out *tail) (*exec.Cmd, error) {
	cmd := exec.Command(p.c.Argv[0], p.c.Argv[1:]...)
	cmd.Dir, cmd.Env = p.c.Dir, command.Environ(p.c.Env)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A child that left the group may hold the output open; it is not waited for.
	cmd.WaitDelay = 100 * time.Millisecond
	if err := cmd.Start(); err != nil {
		return nil, shivx.Hint(fmt.Errorf("%s cannot be started: %w", p.name, reasonOf(err)),
			"argv[0] must be a program on the agent's PATH or an absolute path; there is no shell")
	}
	return cmd, nil
}

// reap waits for the command's end, kills what is left of its group while its id is still
// reserved by the unreaped leader, and reaps it.
func reap(cmd *exec.Cmd) error {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	return cmd.Wait()
}

func (p *commandProbe) wait(ctx context.Context, cmd *exec.Cmd, ended <-chan error, out *tail) error {
	select {
	case err := <-ended:
		return p.verdict(err, out)
	case <-ctx.Done():
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	patience := time.NewTimer(afterKill)
	defer patience.Stop()
	select {
	case <-ended: //nolint:errcheck // how a killed program ended says nothing
		return fmt.Errorf("%s: %w, killed%s", p.name, context.Cause(ctx), out.quoted())
	case <-patience.C:
	}
	p.immortal.Add(1)
	go func() {
		<-ended //nolint:errcheck // how a killed program ended says nothing
		p.immortal.Add(-1)
	}()
	return fmt.Errorf("%s: %w, and it does not die (uninterruptible sleep)", p.name, context.Cause(ctx))
}

func (p *commandProbe) verdict(err error, out *tail) error {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case errors.As(err, &exit) && exit.Exited():
		return fmt.Errorf("%s exited with %d%s", p.name, exit.ExitCode(), out.quoted())
	case errors.As(err, &exit):
		return fmt.Errorf("%s: %s%s", p.name, exit.String(), out.quoted())
	}
	return fmt.Errorf("%s: %w", p.name, err)
}

// reasonOf drops the path from a start error; the caller names the program.
func reasonOf(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	if notFound, ok := errors.AsType[*exec.Error](err); ok {
		return notFound.Err
	}
	return err
}

// tail keeps the last maxOutput bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write never fails and never blocks the command.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	if n > maxOutput {
		b = b[n-maxOutput:]
	}
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - maxOutput; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return n, nil
}

// quoted returns the end of the output as `: "…"`, or "" when there was none.
func (t *tail) quoted() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := string(bytes.TrimSpace(t.buf))
	if s == "" {
		return ""
	}
	if over := len(s) - maxQuoted; over > 0 {
		s = "…" + strings.ToValidUTF8(s[over:], "")
	}
	return fmt.Sprintf(": %q", s)
}
