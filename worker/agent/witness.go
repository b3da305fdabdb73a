package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/ledger"
)

// witness keeps the latest signed head of a ledger outside this host, in Temporal.
func (a *Agent) witness(ctx context.Context, heads <-chan ledger.Head) {
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-heads:
			a.anchor(ctx, h, heads)
		}
	}
}

// anchor tries until the witness has the head, or a later one is there to be kept instead.
func (a *Agent) anchor(ctx context.Context, h ledger.Head, later <-chan ledger.Head) {
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		err := a.keepHead(ctx, outside(a.cfg.Host, h))
		var app *temporal.ApplicationError
		switch {
		case err == nil:
			return
		case errors.As(err, &app):
			a.log.Error("the witness refuses the ledger's head: the ledger was tampered with or replaced",
				"ledger", h.Ledger, "reason", app.Message(), "hint", "run: shivx ledger verify")
			return
		case len(later) > 0:
			return
		}
		a.log.Debug("the ledger's head waits for Temporal", "error", err)
		pause(ctx, wait)
	}
}

func (a *Agent) keepHead(ctx context.Context, h shivx.LedgerHead) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	handle, err := a.client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: a.client.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
			ID: shivx.WitnessID(h.Host), TaskQueue: a.cfg.Temporal.TaskQueue, WorkflowTaskTimeout: shivx.TaskTimeout,
			WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
			TypedSearchAttributes:    activities.SearchAttributes(shivx.RunbookWitness, shivx.Target{Host: h.Host}),
			StaticSummary:            "Witness of the ledgers of " + h.Host,
			StaticDetails:            "Keeps the signed heads of the host's ledgers, so that a ledger cut, rewritten or replaced there is found out.",
		}, shivx.TypeLedgerWitness, map[string]string{"host": h.Host}),
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateID: fmt.Sprintf("%s-%d", h.Ledger, h.Seq), UpdateName: shivx.UpdateWitness, Args: []any{h},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}

// outside is the head in the form in which it leaves the host.
func outside(host string, h ledger.Head) shivx.LedgerHead {
	return shivx.LedgerHead{
		Host: host, Ledger: h.Ledger, Genesis: h.Genesis, Epoch: h.Epoch, Seq: h.Seq, Hash: h.Hash,
		Time: h.Time, Key: h.Key, Next: h.Next, Sig: h.Sig,
	}
}
