// Package command runs a program to its end, without a shell.
//
// The program gets a process group of its own, which is killed as a whole when its time is
// up; its output is bounded and quoted in the error; and its environment is built from
// scratch, so that secrets in the agent's own environment do not leak into what it starts.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// DefaultTimeout is used when a command has none of its own.
const DefaultTimeout = 30 * time.Second

// outputLimit is how many bytes of output are kept, from the end.
const outputLimit = 4 << 10

// pipeGrace is how long a pipe held open by a grandchild may delay the return.
const pipeGrace = 300 * time.Millisecond

// Spec is one program with its arguments.
type Spec struct {
	Argv []string
	Dir  string
	// Env is added to the basic environment; see [Environ].
	Env map[string]string
	// Timeout; default [DefaultTimeout].
	Timeout time.Duration
	// Stdin is given to the program; none is an empty input.
	Stdin []byte
}

// String returns the command line, quoted where needed, for messages.
func (s Spec) String() string { return Line(s.Argv) }

// Line joins argv for messages and quotes what would be ambiguous.
func Line(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\") {
			a = strconv.Quote(a)
		}
		words[i] = a
	}
	return strings.Join(words, " ")
}

// Run runs the program and returns the end of its standard output and error. The error names
// the command line, how it ended and what it last said.
func Run(ctx context.Context, s Spec) (string, error) {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return "", errors.New("run command: empty argument list")
	}
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out := &tail{limit: outputLimit}
	cmd := exec.CommandContext(limited, s.Argv[0], s.Argv[1:]...)
	cmd.Dir, cmd.Env = s.Dir, Environ(s.Env)
	cmd.Stdin = bytes.NewReader(s.Stdin)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeGrace
	err := cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return out.String(), nil
	case ctx.Err() != nil:
		return out.String(), fmt.Errorf("run %s: %w", s, ctx.Err())
	case limited.Err() != nil:
		return out.String(), fmt.Errorf("run %s: killed after %s%s", s, timeout, quoted(out))
	}
	return out.String(), fmt.Errorf("run %s: %w%s", s, err, quoted(out))
}

// Environ returns the basic environment (PATH, HOME, locale, time zone) with extra added,
// sorted by name.
func Environ(extra map[string]string) []string {
	all := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			all[name] = v
		}
	}
	maps.Copy(all, extra)
	env := make([]string, 0, len(all))
	for k, v := range all {
		env = append(env, k+"="+v)
	}
	sort.Strings(env)
	return env
}

func quoted(out *tail) string {
	text := strings.TrimSpace(out.String())
	if text == "" {
		return ""
	}
	return "; it said " + strconv.Quote(text)
}

// tail keeps the last limit bytes written to it.
type tail struct {
	limit int
	data  []byte
	cut   bool
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - t.limit; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
		t.cut = true
	}
	return len(p), nil
}

// String returns what was kept, marked when the beginning is missing.
func (t *tail) String() string {
	if t.cut {
		return "…" + string(t.data)
	}
	return string(t.data)
}
