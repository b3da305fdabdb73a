package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
)

// Guard bounds a step by its timeout and tells Temporal that it lives until stop is called. It
// ends when the step is to be stopped, and not when a heartbeat got no answer; see Lasting. Outside
// of an activity, where there is nobody to tell, the timeout is all.
func Guard(ctx context.Context, timeout time.Duration) (bound context.Context, stop func()) {
	if !activity.IsActivity(ctx) {
		return context.WithTimeoutCause(ctx, timeout, tooLong(timeout))
	}
	ctx, let := Lasting(ctx, activity.GetWorkerStopChannel(ctx))
	ctx, still := beat(ctx, timeout)
	return ctx, func() { still(); let() }
}

// Lasting returns a context that ends when the step is to be stopped, and not when the agent has
// merely lost touch with Temporal: a step cut off halfway does more harm than one nobody waits
// for, and the next attempt finds its end in the ledger. stopping is closed when the agent
// stops, which a context that has lost touch does not tell any more.
func Lasting(ctx context.Context, stopping <-chan struct{}) (context.Context, func()) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !lostTouch(cause) {
			cancel(cause)
			return
		}
		select {
		case <-stopping:
			cancel(worker.ErrWorkerShutdown)
		case <-out.Done():
		}
	})
	return out, func() {
		unhook()
		cancel(nil)
	}
}

// lostTouch says whether an activity was cancelled because a heartbeat did not arrive: the
// server did not answer, or had given the attempt up by then.
func lostTouch(cause error) bool {
	var notFound *serviceerror.NotFound
	var away *serviceerror.Unavailable
	var late *serviceerror.DeadlineExceeded
	return errors.As(cause, &notFound) || errors.As(cause, &away) || errors.As(cause, &late) ||
		errors.Is(cause, context.DeadlineExceeded)
}

// beat bounds a step by its timeout and tells Temporal that it lives until stop is called, also
// while what was stopped winds down.
func beat(ctx context.Context, timeout time.Duration) (bound context.Context, stop func()) {
	ctx, still := Beat(ctx)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, tooLong(timeout))
	return ctx, func() { still(); cancel() }
}

func tooLong(timeout time.Duration) error {
	return fmt.Errorf("the step took longer than its timeout of %s", timeout)
}

// Stopped returns why ctx was cancelled; nil when it goes on or has only run out of time.
func Stopped(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Cause(ctx)
	}
	return nil
}

// ToBeResumed says whether a step was ended to be taken up again later, as after a crash:
// by the stop of the agent, or by a person who paused or reset the activity.
func ToBeResumed(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, worker.ErrWorkerShutdown) ||
		errors.Is(cause, activity.ErrActivityPaused) || errors.Is(cause, activity.ErrActivityReset)
}

// TimedOut adds to the error of a step that its own timeout has ended how long that is.
func TimedOut(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}
