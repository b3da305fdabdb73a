package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/ledger"
)

// snapshotWithin is how long after a lockdown a snapshot for it still makes sense. Temporal may be away
// meanwhile, and the agent too.
const snapshotWithin = 72 * time.Hour

// NewSnapshots returns the outbox of the guardian's audit that starts a SafeSnapshot of each set that asks
// for one when this host locks down, be it by itself or with the fleet; nil when no set does.
func (a *Agent) NewSnapshots(audit *ledger.Ledger) *Outbox {
	if len(a.setsAtLockdown()) == 0 {
		return nil
	}
	o := &Outbox{
		what: "lockdown", ledger: audit, log: a.log,
		path:   filepath.Join(a.cfg.Paths.Var, "security", "dispatched-snapshots"),
		events: []string{shivx.EventMode},
		tell:   a.snapshotAtLockdown,
	}
	o.told = o.openPosition()
	return o
}

// setsAtLockdown names the sets of which a lockdown takes a snapshot.
func (a *Agent) setsAtLockdown() (names []string) {
	for _, s := range a.cfg.Golden.Sets {
		if s.Snapshots.AtLockdown {
			names = append(names, s.Name)
		}
	}
	return names
}

// snapshotAtLockdown starts the snapshots when a record begins a lockdown. One that was started before is
// not started again: its id says which lockdown it is for.
func (a *Agent) snapshotAtLockdown(ctx context.Context, r ledger.Record, _ time.Time) (bool, error) {
	rec, err := guardian.Decode(r)
	if err == nil && rec.Mode == nil {
		err = errors.New("it names no mode")
	}
	if err != nil {
		return false, unreadable(err)
	}
	m := *rec.Mode
	if m.To != shivx.DefenseLockdown || m.From == shivx.DefenseLockdown { // confirmed, or seen in the fleet as well
		return false, nil
	}
	if time.Since(rec.At) > snapshotWithin {
		a.log.Warn("no snapshot is taken for a lockdown that long ago", "lockdown", m.At, "reason", m.Reason)
		return false, nil
	}
	for _, set := range a.setsAtLockdown() {
		if err := a.startSnapshot(ctx, shivx.GoldenTarget{Set: set, Host: a.cfg.Host}, m); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (a *Agent) startSnapshot(ctx context.Context, t shivx.GoldenTarget, m shivx.ModeChange) error {
	ctx, cancel := context.WithTimeout(ctx, guardTimeout)
	defer cancel()
	at := m.At.UTC()
	in := shivx.SafeSnapshotInput{
		GoldenRequest: shivx.GoldenRequest{GoldenTarget: t, Reason: "LOCKDOWN: " + m.Reason, RequestedBy: m.By},
		Name:          "lockdown-" + at.Format("20060102T150405Z"),
		KeepOlder:     true, // those from before an attack are worth more than this one
	}
	id := shivx.GoldenID(shivx.GoldenSnapshot, t) + "/lockdown/" + at.Format(time.RFC3339Nano)
	_, err := a.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: a.cfg.Temporal.TaskQueue, WorkflowTaskTimeout: shivx.TaskTimeout,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		TypedSearchAttributes:    activities.GoldenAttributes(shivx.GoldenSnapshot, t),
		StaticSummary:            activities.GoldenSummary(shivx.GoldenSnapshot, t),
		StaticDetails:            activities.GoldenDetails(shivx.GoldenSnapshot),
	}, shivx.TypeSafeSnapshot, in)
	if err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	return nil
}
