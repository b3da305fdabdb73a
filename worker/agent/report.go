package agent

import (
	"context"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
)

// report records what a sensor found, which wakes the outbox.
func (a *Agent) report(ctx context.Context, f shivx.Finding) {
	if err := a.record(ctx, f); err != nil {
		// Availability first: a fault that cannot be recorded, say because the disk is full, is
		// still healed if Temporal answers.
		a.log.Error("a finding could not be recorded; telling Temporal directly", "component", f.Component, "error", err)
		if err := a.tell(ctx, f); err != nil {
			a.log.Error("a finding is lost until its reminder", "component", f.Component, "finding", f.ID, "error", err)
		}
	}
}

// alert records what an alert says; unlike a sensor, its sender can be asked to try again.
func (a *Agent) alert(ctx context.Context, f shivx.Finding) error { return a.record(ctx, f) }

func (a *Agent) record(ctx context.Context, f shivx.Finding) error {
	event := shivx.EventFault
	if f.Resolved {
		event = shivx.EventResolved
	}
	_, err := a.ledger.Append(ctx, f.ID, shivx.RecoveryRecord{
		EventID: f.ID, Timestamp: f.ObservedAt.UTC(), EventType: event, Component: f.Component, Host: f.Host,
		Severity: f.Severity, Message: f.Reason, Details: f,
	})
	return err
}

// keepLatest hands a signed head to the witness; an older one that still waits is dropped.
func keepLatest(heads chan ledger.Head, h ledger.Head) {
	for {
		select {
		case heads <- h:
			return
		default:
		}
		select {
		case <-heads:
		default:
		}
	}
}
