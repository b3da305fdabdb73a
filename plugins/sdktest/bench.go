package sdktest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// request makes a request with a key of its own.
func (b *bench) request() sdk.Request {
	b.keys++
	req := sdk.Request{
		Key: fmt.Sprintf("sdktest-%d", b.keys), Component: "sdktest", Host: "localhost", Run: "sdktest", Attempt: 1,
		Reason: "conformance test", Options: b.base,
		WorkDir: filepath.Join(b.work, "work"), CheckpointDir: filepath.Join(b.work, "checkpoint"),
	}
	if b.Adjust != nil {
		b.Adjust(&req)
	}
	return req
}

func (b *bench) can(step sdk.Step) bool { return b.runner.Describe().Can(step) }

// step does one step and waits for it no longer than its timeout and StopWithin.
func (b *bench) step(ctx context.Context, step sdk.Step, req sdk.Request) (sdk.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	reply, err, returned := b.bounded(ctx, step, req)
	if !returned || errors.Is(err, host.ErrKilled) {
		return reply, fault("return when the context ends, and pass it to all that waits",
			"step %s did not finish in %s and did not stop when it was told to", step, b.Timeout)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil {
		return reply, fault("give waits an end of their own, or raise Suite.Timeout", "step %s did not finish in %s", step, b.Timeout)
	}
	return reply, err
}

// bounded runs a step in a goroutine of its own; returned is false when it did not return
// within StopWithin of the end of ctx.
func (b *bench) bounded(ctx context.Context, step sdk.Step, req sdk.Request) (reply sdk.Reply, err error, returned bool) {
	type answer struct {
		reply sdk.Reply
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		reply, err := b.runner.Run(ctx, step, req)
		done <- answer{reply, err}
	}()
	select {
	case a := <-done:
		return a.reply, a.err, true
	case <-ctx.Done():
	}
	// An external plugin that does not stop is killed by the host, which takes its time.
	limit := b.StopWithin
	if b.set != nil {
		limit = max(limit, 10*time.Second)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case a := <-done:
		return a.reply, a.err, true
	case <-timer.C:
		b.stuck = "step " + string(step)
		return sdk.Reply{}, ctx.Err(), false
	}
}

// breakTarget breaks the target and sees that it is broken.
func (b *bench) breakTarget() error {
	if b.Break == nil || b.Healthy == nil {
		return skip("Suite.Break and Suite.Healthy are not set")
	}
	if err := b.Break(); err != nil {
		return fmt.Errorf("the suite's Break failed: %w", err)
	}
	if b.Healthy() == nil {
		return fault("make Break do more, or Healthy look closer", "the target is healthy after the suite's Break")
	}
	return nil
}

// recovered breaks the target, recovers it with req and sees that it is healthy.
func (b *bench) recovered(ctx context.Context, req sdk.Request) error {
	if err := b.breakTarget(); err != nil {
		return err
	}
	if _, err := b.step(ctx, sdk.StepRecover, req); err != nil {
		return fmt.Errorf("recover failed on a target that the suite broke: %w", err)
	}
	return b.mustBeHealthy("recover")
}

// mustBeHealthy waits for the target to be healthy after a step that reported success.
func (b *bench) mustBeHealthy(step string) error {
	var err error
	for end := time.Now().Add(b.Settle); ; time.Sleep(20 * time.Millisecond) {
		if err = b.Healthy(); err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fault("return an error when the repair did not work; look at the target before you report success",
				"%s reports a success that did not happen: %s later the target is still not healthy: %v", step, b.Settle, err)
		}
	}
}

// needsRecover skips a check that means nothing when the plugin cannot recover the target.
func (b *bench) needsRecover() error {
	if b.Break == nil || b.Healthy == nil {
		return skip("Suite.Break and Suite.Healthy are not set")
	}
	if !b.recovers {
		return skip("recover does not work")
	}
	return nil
}

func (b *bench) state() string {
	if b.State == nil {
		return ""
	}
	return b.State()
}

// folders lists the files the plugin was given to write into.
func (b *bench) folders() string {
	var all strings.Builder
	_ = filepath.WalkDir(b.work, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		_, _ = fmt.Fprintf(&all, "%s %x\n", path, data)
		return err
	})
	return all.String()
}
