// Package sdktest checks that a recovery plugin keeps its contract. Authors of Go plugins call
// [Run] in a test; `shivx plugin test` calls [Check] for plugins in any language.
//
// The suite does not take a plugin at its word. It breaks a real target, lets the plugin do its
// steps, and looks at the target: a plugin that reports a success that did not happen, acts while
// it should plan, does a repeated step twice, or does not stop when it is told to, is found out.
package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// Suite says which plugin to check and on what target. Exactly one of Plugin and Command is set.
type Suite struct {
	// Plugin is checked in this process.
	Plugin sdk.Plugin
	// Command is the executable of a plugin in any language, with its arguments; it is started
	// and judged as the agent does it.
	Command []string
	// Options that work on the target: a struct, a map, or JSON as json.RawMessage.
	Options any
	// BadOptions must be refused, each; that an unknown key is refused is always checked.
	BadOptions []any
	// Break makes the target unhealthy in the way the plugin is meant to repair.
	Break func() error
	// Healthy returns nil when the target is healthy.
	Healthy func() error
	// State describes the target: a text that changes when the target is touched, e.g. the
	// contents of its files and how often it was started.
	State func() string
	// Isolated says whether the target gets no traffic; only for plugins that isolate.
	Isolated func() (bool, error)
	// Adjust changes each request before it is sent, e.g. to fill CheckpointDir.
	Adjust func(*sdk.Request)
	// Timeout of one step; default 30s.
	Timeout time.Duration
	// Settle is how long the target may take to be healthy after a recovery; default 5s.
	Settle time.Duration
	// StopWithin is how long a cancelled step may take to return; default 2s.
	StopWithin time.Duration
}

// Verdict is the outcome of one check.
type Verdict string

// The verdicts.
const (
	Passed  Verdict = "passed"
	Skipped Verdict = "skipped"
	Failed  Verdict = "failed"
)

// Finding is what one check found.
type Finding struct {
	// Check is the name of the check, e.g. "recover".
	Check   string
	Verdict Verdict
	// Message says what was found, or why the check was skipped.
	Message string
	// Hint says what the author can do about it.
	Hint string
}

// String returns the finding as one line.
func (f Finding) String() string {
	text := fmt.Sprintf("%s: %s", f.Check, f.Verdict)
	if f.Message != "" {
		text += ": " + f.Message
	}
	if f.Hint != "" {
		text += " (" + f.Hint + ")"
	}
	return text
}

// Run checks the plugin and fails t with each finding of a fault.
func Run(t testing.TB, s Suite) {
	t.Helper()
	for _, f := range Check(t.Context(), s) {
		if f.Verdict == Failed {
			t.Errorf("%s", f)
			continue
		}
		t.Logf("%s", f)
	}
}

// Check does all checks in order and returns a finding for each. The target is left healthy
// if the plugin can make it so.
func Check(ctx context.Context, s Suite) []Finding {
	b, err := newBench(ctx, s)
	if err != nil {
		return []Finding{{Check: "start", Verdict: Failed, Message: err.Error(), Hint: hintOf(err)}}
	}
	defer b.close()
	var findings []Finding
	for _, c := range checks() {
		findings = append(findings, b.perform(ctx, c))
	}
	return findings
}

// check is one thing a plugin must do.
type check struct {
	name string
	do   func(*bench, context.Context) error
}

func checks() []check {
	return []check{
		{"description", (*bench).description},
		{"options", (*bench).options},
		{"unknown-step", (*bench).unknownStep},
		{"plan", (*bench).plan},
		{"recover", (*bench).recover},
		{"repeat", (*bench).repeat},
		{"mark-done", (*bench).markDone},
		{"undo", (*bench).undo},
		{"isolate", (*bench).isolate},
		{"validate", (*bench).validate},
		{"progress", (*bench).progress},
		{"cancel", (*bench).cancel},
		{"concurrency", (*bench).concurrency},
	}
}

// bench is a plugin under test with its target.
type bench struct {
	Suite
	runner host.Runner
	set    *host.Set
	work   string
	base   json.RawMessage
	keys   int
	// recovers says that the check recover passed.
	recovers bool
	stuck    string
}

// skip is the reason why a check does not apply.
type skip string

func (s skip) Error() string { return string(s) }

// faultError is a fault of the plugin with a hint for its author.
type faultError struct{ message, hint string }

func (f *faultError) Error() string { return f.message }

func fault(hint, format string, args ...any) error {
	return &faultError{message: fmt.Sprintf(format, args...), hint: hint}
}

func hintOf(err error) string {
	if f, ok := errors.AsType[*faultError](err); ok {
		return f.hint
	}
	if fail, ok := errors.AsType[*sdk.Fail](err); ok {
		return fail.Hint
	}
	return ""
}

func newBench(ctx context.Context, s Suite) (*bench, error) {
	if (s.Plugin == nil) == (len(s.Command) == 0) {
		return nil, fault("", "exactly one of Suite.Plugin and Suite.Command must be set")
	}
	s.Timeout = defaultTo(s.Timeout, 30*time.Second)
	s.Settle = defaultTo(s.Settle, 5*time.Second)
	s.StopWithin = defaultTo(s.StopWithin, 2*time.Second)
	b := &bench{Suite: s}
	var err error
	if b.base, err = marshal(s.Options); err != nil {
		return nil, fault("", "Suite.Options: %v", err)
	}
	if b.work, err = os.MkdirTemp("", "shivx-sdktest-"); err != nil {
		return nil, fmt.Errorf("work folder: %w", err)
	}
	for _, dir := range []string{"work", "checkpoint"} {
		if err := os.Mkdir(filepath.Join(b.work, dir), 0o700); err != nil {
			return nil, fmt.Errorf("work folder: %w", err)
		}
	}
	if s.Plugin != nil {
		b.runner = host.InProcess(s.Plugin)
		return b, nil
	}
	if err := b.startCommand(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) startCommand(ctx context.Context) error {
	path, err := filepath.Abs(b.Command[0])
	if err != nil {
		return fmt.Errorf("plugin: %w", err)
	}
	sum, err := host.Sum(path)
	if err != nil {
		return err
	}
	spec := host.Spec{Name: "under-test", Path: path, Args: b.Command[1:], SHA256: sum}
	b.set = host.New(nil, []host.Spec{spec}, nil)
	b.runner, err = b.set.Get(ctx, spec.Name)
	return err
}

func (b *bench) close() {
	if b.set != nil {
		b.set.Close()
	}
	_ = os.RemoveAll(b.work)
}

// perform does one check, unless a step of an earlier one never returned.
func (b *bench) perform(ctx context.Context, c check) Finding {
	if b.stuck != "" {
		return Finding{Check: c.name, Verdict: Skipped, Message: b.stuck + " is still running"}
	}
	if err := ctx.Err(); err != nil {
		return Finding{Check: c.name, Verdict: Skipped, Message: err.Error()}
	}
	err := c.do(b, ctx)
	var not skip
	switch {
	case err == nil:
		return Finding{Check: c.name, Verdict: Passed}
	case errors.As(err, &not):
		return Finding{Check: c.name, Verdict: Skipped, Message: string(not)}
	}
	return Finding{Check: c.name, Verdict: Failed, Message: err.Error(), Hint: hintOf(err)}
}

func defaultTo(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// marshal returns options as JSON; raw JSON, also broken, stays as it is.
func marshal(options any) (json.RawMessage, error) {
	switch o := options.(type) {
	case nil:
		return json.RawMessage("{}"), nil
	case json.RawMessage:
		return o, nil
	}
	return json.Marshal(options)
}
