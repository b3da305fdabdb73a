package recovery

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.temporal.io/api/serviceerror"
)

// attempts keeps two attempts of the same effect from running at once. Temporal starts a second
// one when the heartbeat of the first did not arrive, although it may still be at work here:
// after the server was away, or on a host too busy to send it in time.
type attempts struct {
	underWay sync.Map // effect key → chan struct{}, closed at the end of the attempt
}

// enter waits until no attempt of the effect is under way; leave must be called at its end.
func (a *attempts) enter(ctx context.Context, key string) (leave func(), err error) {
	done := make(chan struct{})
	for {
		other, busy := a.underWay.LoadOrStore(key, done)
		if !busy {
			return func() {
				a.underWay.Delete(key)
				close(done)
			}, nil
		}
		select {
		case <-other.(chan struct{}):
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the attempt under way: %w", context.Cause(ctx))
		}
	}
}

// lasting returns a context that ends when the step is to be stopped, and not when the agent has
// merely lost touch with Temporal: a step cut off halfway does more harm than one nobody waits
// for, and the next attempt finds its end in the ledger.
func lasting(ctx context.Context) (context.Context, func()) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !lostTouch(cause) {
			cancel(cause)
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
