package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
)

// Beat tells Temporal every second that an activity lives, until stop is called. The end of ctx
// does not end it: what was stopped lives while it winds down.
func Beat(ctx context.Context) (stop func()) {
	alive := context.WithoutCancel(ctx)
	done := make(chan struct{})
	go func() {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
				activity.RecordHeartbeat(alive)
			}
		}
	}()
	return func() { close(done) }
}
