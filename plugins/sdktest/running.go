package sdktest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// progress: a listener changes nothing.
func (b *bench) progress(ctx context.Context) error {
	if err := b.needsRecover(); err != nil {
		return err
	}
	var mu sync.Mutex
	empty := false
	err := b.recovered(ctx, b.request().WithProgress(func(text string) {
		mu.Lock()
		defer mu.Unlock()
		empty = empty || strings.TrimSpace(text) == ""
	}))
	if err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	if empty {
		return fault("", "it reports empty lines of progress")
	}
	return nil
}

// cancel: a step stops when its context ends, and the next one works.
func (b *bench) cancel(ctx context.Context) error {
	if err := b.needsRecover(); err != nil {
		return err
	}
	for _, after := range []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond} {
		if err := b.breakTarget(); err != nil {
			return err
		}
		// A plan first, so that the time given is not spent on starting a process.
		plan := b.request()
		plan.Plan = true
		if _, err := b.step(ctx, sdk.StepRecover, plan); err != nil {
			return fault("", "the plan of recover fails: %v", err)
		}
		short, stop := context.WithTimeout(ctx, after)
		_, err, returned := b.bounded(short, sdk.StepRecover, b.request())
		stop()
		if !returned || errors.Is(err, host.ErrKilled) {
			return fault("return when the context ends, and pass it to all that waits",
				"recover did not stop within %s of its cancellation", b.StopWithin)
		}
	}
	if err := b.recovered(ctx, b.request()); err != nil {
		return fault("clean up after a cancelled step", "after a cancelled step: %v", err)
	}
	return nil
}

// concurrency: plans made at once do not get into each other's way.
func (b *bench) concurrency(ctx context.Context) error {
	if err := b.needsRecover(); err != nil {
		return err
	}
	if err := b.breakTarget(); err != nil {
		return err
	}
	const at = 4
	before := b.state()
	errs := make([]error, at)
	var all sync.WaitGroup
	for i := range at {
		req := b.request()
		req.Plan = true
		all.Go(func() {
			limited, cancel := context.WithTimeout(ctx, b.Timeout)
			defer cancel()
			_, errs[i] = b.runner.Run(limited, sdk.StepRecover, req)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fault("keep no state in the plugin, or lock it", "plans made at the same time fail: %v", err)
	}
	if b.state() != before {
		return fault("look at Request.Plan before you change anything", "plans made at the same time changed the target")
	}
	_, err := b.step(ctx, sdk.StepRecover, b.request())
	return err
}
