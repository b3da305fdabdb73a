package activities

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Attempts keeps two attempts at the same thing from running at once. Temporal starts a second
// one when the heartbeat of the first did not arrive, although it may still be at work here:
// after the server was away, or on a host too busy to send it in time. The run may even have
// gone on to the next step by then. The zero value is ready.
type Attempts struct {
	underWay sync.Map // key → *attempt
}

// attempt is one that is under way.
type attempt struct {
	cancel context.CancelCauseFunc
	done   chan struct{} // closed at its end
}

// Enter waits until no attempt of that key is under way. The attempt works under the context
// returned and must call leave at its end. One that is stopped while it waits passes that on to
// the one it waits for, which may have lost touch with Temporal and would not hear of it.
func (a *Attempts) Enter(ctx context.Context, key string) (inside context.Context, leave func(), err error) {
	inside, cancel := context.WithCancelCause(ctx)
	self := &attempt{cancel: cancel, done: make(chan struct{})}
	for {
		other, busy := a.underWay.LoadOrStore(key, self)
		if !busy {
			return inside, func() {
				a.underWay.Delete(key)
				close(self.done)
				cancel(nil)
			}, nil
		}
		first := other.(*attempt)
		select {
		case <-first.done:
		case <-ctx.Done():
			cancel(nil)
			cause := context.Cause(ctx)
			if errors.Is(ctx.Err(), context.Canceled) {
				first.cancel(cause)
			}
			return ctx, nil, fmt.Errorf("wait for the attempt under way: %w", cause)
		}
	}
}
