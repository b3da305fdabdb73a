package builtin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/plugins/sdk"
)

const (
	// scriptGrace is the time a script has from SIGTERM to SIGKILL, and that children it left
	// behind may hold its output open.
	scriptGrace = time.Second
	// scriptOutput is how many bytes a script may print to standard output.
	scriptOutput = 256 << 10
	// scriptLine is the length a line of standard error is cut to.
	scriptLine = 500
	// scriptLast is how many lines of standard error a failure shows.
	scriptLast = 5
	// exTempFail of sysexits.h: try again later.
	exTempFail = 75
)

// scriptCall is one script to be run.
type scriptCall struct {
	argv []string
	dir  string
	step sdk.Step
	req  sdk.Request
}

// runScript runs a script in a process group of its own, which is ended with ctx, and returns
// what it printed.
func runScript(ctx context.Context, call scriptCall) ([]byte, error) {
	// The kernel kills the script when the thread that started it ends; see prctl(2).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, call.argv[0], call.argv[1:]...)
	input, err := json.Marshal(call.input())
	if err != nil {
		return nil, fmt.Errorf("request of step %s: %w", call.step, err)
	}
	out, errs := &boundedOutput{}, &stderrLines{progress: call.req.Progress}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), out, errs
	cmd.Dir = "/"
	if call.dir != "" {
		cmd.Dir = call.dir
	}
	cmd.Env = command.Environ(call.environment())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = scriptGrace
	err = cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	errs.flush()
	return out.kept, call.verdict(ctx, err, out, errs)
}

// verdict turns the end of a script into nil or a failure for people.
func (c scriptCall) verdict(ctx context.Context, err error, out *boundedOutput, errs *stderrLines) error {
	name := c.argv[0]
	hint := "it said nothing on standard error"
	if len(errs.last) > 0 {
		hint = "it said: " + strings.Join(errs.last, " / ")
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return &sdk.Fail{Message: fmt.Sprintf("%s did not end in time and was stopped", name), Hint: hint, Err: ctx.Err()}
	case out.over:
		return &sdk.Fail{Message: fmt.Sprintf("%s printed more than %d bytes", name, scriptOutput), Hint: "write logs to standard error or to a file"}
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	case errors.As(err, &exit):
		return &sdk.Fail{
			Message: fmt.Sprintf("%s failed with %s", name, exit), Hint: hint,
			Retryable: exit.ExitCode() == exTempFail, Err: err,
		}
	}
	return &sdk.Fail{Message: fmt.Sprintf("cannot run %s: %v", name, err), Hint: "is its interpreter installed?", Err: err}
}

// scriptInput is the request as a script reads it.
type scriptInput struct {
	Step          sdk.Step `json:"step"`
	Of            sdk.Step `json:"of,omitempty"`
	Key           string   `json:"key"`
	Component     string   `json:"component"`
	Host          string   `json:"host,omitempty"`
	Run           string   `json:"run,omitempty"`
	Attempt       int      `json:"attempt,omitempty"`
	Reason        string   `json:"reason,omitempty"`
	Plan          bool     `json:"plan"`
	CheckpointDir string   `json:"checkpoint_dir,omitempty"`
	HealthyDir    string   `json:"healthy_dir,omitempty"`
	WorkDir       string   `json:"work_dir,omitempty"`
	Mark          string   `json:"mark,omitempty"`
}

func (c scriptCall) input() scriptInput {
	r := c.req
	return scriptInput{
		Step: c.step, Of: r.Of, Key: r.Key, Component: r.Component, Host: r.Host, Run: r.Run, Attempt: r.Attempt,
		Reason: r.Reason, Plan: r.Plan, CheckpointDir: r.CheckpointDir, HealthyDir: r.HealthyDir,
		WorkDir: r.WorkDir, Mark: r.Mark,
	}
}

// environment is the request as variables; SHIVX_PLAN is 1 or empty.
func (c scriptCall) environment() map[string]string {
	r, plan := c.req, ""
	if r.Plan {
		plan = "1"
	}
	return map[string]string{
		"SHIVX_STEP": string(c.step), "SHIVX_OF": string(r.Of), "SHIVX_KEY": r.Key,
		"SHIVX_COMPONENT": r.Component, "SHIVX_HOST": r.Host, "SHIVX_RUN": r.Run,
		"SHIVX_ATTEMPT": strconv.Itoa(r.Attempt), "SHIVX_REASON": strings.ReplaceAll(r.Reason, "\x00", ""),
		"SHIVX_PLAN": plan, "SHIVX_CHECKPOINT_DIR": r.CheckpointDir, "SHIVX_HEALTHY_DIR": r.HealthyDir,
		"SHIVX_WORK_DIR": r.WorkDir, "SHIVX_MARK": r.Mark,
	}
}

// boundedOutput keeps the first scriptOutput bytes and notes when there were more.
type boundedOutput struct {
	kept []byte
	over bool
}

// Write never fails, so that the script is not ended by what it prints.
func (o *boundedOutput) Write(data []byte) (int, error) {
	room := min(len(data), scriptOutput-len(o.kept))
	o.kept = append(o.kept, data[:room]...)
	o.over = o.over || room < len(data)
	return len(data), nil
}

// stderrLines passes a script's lines on as progress and keeps the last ones.
type stderrLines struct {
	progress func(string, ...any)
	held     []byte
	last     []string
}

// Write never fails.
func (s *stderrLines) Write(data []byte) (int, error) {
	n := len(data)
	for len(data) > 0 {
		part, rest, ended := bytes.Cut(data, []byte{'\n'})
		s.held = append(s.held, part[:min(len(part), scriptLine-len(s.held))]...)
		if ended {
			s.flush()
		}
		data = rest
	}
	return n, nil
}

func (s *stderrLines) flush() {
	text := strings.TrimSpace(strings.ToValidUTF8(string(s.held), "\uFFFD"))
	s.held = s.held[:0]
	if text == "" {
		return
	}
	s.progress("%s", text)
	s.last = append(s.last, text)
	if len(s.last) > scriptLast {
		s.last = s.last[1:]
	}
}
