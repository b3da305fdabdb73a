package agent

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities/component"
	"github.com/shivx/shivx/activities/recovery/crashpoint"
	"github.com/shivx/shivx/internal/ledger"
)

// How long the dispatcher waits before it tries a finding again.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 3 * time.Second
)

// dispatch tells Temporal of every finding in the ledger, in order, from where it stopped last.
// A finding may be told twice after a crash; the entity counts it once.
func (a *Agent) dispatch(ctx context.Context) {
	for retry := firstRetry; ; {
		from := a.told.next
		err := a.ledger.Follow(ctx, from, func(r ledger.Record) error {
			if err := a.dispatchRecord(ctx, r); err != nil {
				return err
			}
			a.told.next = r.Seq + 1
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		if a.told.next != from {
			retry = firstRetry
		}
		a.log.Warn("a finding waits for Temporal", "error", err, "retry", retry)
		pause(ctx, retry)
		retry = min(2*retry, lastRetry)
	}
}

// dispatchRecord tells a finding and saves the position behind it; other records are passed over.
func (a *Agent) dispatchRecord(ctx context.Context, r ledger.Record) error {
	if !bytes.Contains(r.Raw, []byte(`"event_type":"`+shivx.EventFault+`"`)) &&
		!bytes.Contains(r.Raw, []byte(`"event_type":"`+shivx.EventResolved+`"`)) {
		return nil
	}
	var rec struct {
		EventType string        `json:"event_type"`
		Details   shivx.Finding `json:"details"`
	}
	if err := r.Decode(&rec); err != nil {
		return fmt.Errorf("read record %d: %w", r.Seq, err)
	}
	if rec.EventType != shivx.EventFault && rec.EventType != shivx.EventResolved {
		return nil // the words stand elsewhere in the record
	}
	if rec.Details.ObservedAt.Before(a.told.since) {
		return nil
	}
	crashpoint.Reach("dispatch", crashpoint.Before)
	if err := a.tell(ctx, rec.Details); err != nil {
		return err
	}
	crashpoint.Reach("dispatch", crashpoint.After)
	if err := a.savePosition(r.Seq + 1); err != nil {
		a.log.Error("the dispatcher's position was not saved; findings may be told twice", "error", err)
	}
	return nil
}

// tell signals the component's entity, and starts it if there is none.
func (a *Agent) tell(ctx context.Context, f shivx.Finding) error {
	if f.Host != a.cfg.Host {
		a.log.Warn("a finding of another host is not told", "finding", f.ID, "host", f.Host)
		return nil
	}
	signal := shivx.SignalFault
	if f.Resolved {
		signal = shivx.SignalResolved
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := a.client.SignalWithStartWorkflow(ctx, shivx.ComponentID(f.Target), signal, f,
		component.EntityOptions(a.cfg.Temporal.TaskQueue, f.Target), shivx.TypeComponent, f.Target)
	if err != nil {
		return fmt.Errorf("signal %s: %w", shivx.ComponentID(f.Target), err)
	}
	return nil
}
