package activities

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
)

// Beat tells Temporal every second that an activity lives, until stop is called. The end of ctx
// does not end it: what was stopped lives while it winds down. What was told last by Tell under
// the context returned is told again, for a heartbeat replaces the details of the one before it.
func Beat(ctx context.Context) (inside context.Context, stop func()) {
	p := &pulse{}
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
				activity.RecordHeartbeat(alive, p.last()...)
			}
		}
	}()
	return context.WithValue(ctx, pulseKey{}, p), func() { close(done) }
}

// Tell tells Temporal how far an activity is, and that it lives, also while it winds down. Outside of
// an activity it does nothing.
func Tell(ctx context.Context, details any) {
	if !activity.IsActivity(ctx) {
		return
	}
	if p, ok := ctx.Value(pulseKey{}).(*pulse); ok {
		p.tell(details)
	}
	activity.RecordHeartbeat(context.WithoutCancel(ctx), details)
}

// pulseKey is the key of a pulse in a context.
type pulseKey struct{}

// pulse remembers what was told last.
type pulse struct {
	mu      sync.Mutex
	details []any
}

func (p *pulse) tell(details any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.details = []any{details}
}

func (p *pulse) last() []any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.details
}
