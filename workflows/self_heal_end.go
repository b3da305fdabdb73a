package workflows

import (
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// compensate leaves a component behind as it was found when a run was stopped: what was begun
// is taken back and traffic restored. When the fault resolved by itself, that is verified.
func (h *selfHeal) compensate(ctx workflow.Context, end ending) ending {
	if end.outcome == shivx.OutcomeHealed || end.outcome == shivx.OutcomeUnreachable || end.outcome == shivx.OutcomeRefused {
		return end
	}
	if u := h.unsettled; u != nil {
		h.undo(ctx, u.rung, u.attempt)
	}
	if h.control.resolved {
		if !h.inspected {
			if end := h.inspect(ctx); !h.inspected {
				return end
			}
		}
		return h.verifyAndReturn(ctx, shivx.OutcomeResolved)
	}
	stopped := ending{outcome: shivx.OutcomeAborted, message: h.control.stop.message()}
	if h.isolated {
		if err := h.putBack(ctx); err != nil {
			stopped.escalate = true
			stopped.message += "; it could not be put back into traffic: " + reason(err)
		}
	}
	return stopped
}

// escalate tells people. That nobody could be reached becomes part of the result.
func (h *selfHeal) escalate(ctx workflow.Context, end ending) ending {
	if h.in.Plan {
		return end
	}
	told := tell(ctx, activities.EscalateInput{
		Target: h.target, Run: h.runKey, Outcome: end.outcome, Message: end.message, Hint: end.hint, Key: string(end.outcome),
	}, h.vanished != nil)
	if !told {
		end.message += " (nobody could be told)"
	}
	return end
}

// tell reaches people through the component's host or, when that is gone, through any other
// agent. It says whether somebody was told.
func tell(ctx workflow.Context, in activities.EscalateInput, gone bool) bool {
	if !gone {
		_, err := activities.Escalate.Execute(record(ctx, shivx.HostQueue(in.Host), "tell people"), in)
		if err == nil {
			return true
		}
		workflow.GetLogger(ctx).Error("people could not be told through the host", "error", reason(err))
	}
	queue := workflow.GetInfo(ctx).TaskQueueName
	if _, err := activities.Escalate.Execute(record(ctx, queue, "tell people through any agent"), in); err != nil {
		workflow.GetLogger(ctx).Error("nobody could be told", "error", reason(err))
		return false
	}
	return true
}

// log writes the end of the run to the operational ledger.
func (h *selfHeal) log(ctx workflow.Context, end ending) {
	h.fill(ctx, end)
	if h.in.Plan || h.target.Host == "" || isRefusal(end) || h.vanished != nil {
		why := "nothing was done"
		if h.vanished != nil {
			why = "the ledger is on the host that is gone; this run is on record in Temporal alone"
		}
		h.skip(ctx, shivx.StepLog, why)
		h.fill(ctx, end)
		return
	}
	h.doStep(ctx, shivx.StepLog, "", 0, func() (activities.StepResult, error) {
		r, err := activities.Log.Execute(record(ctx, shivx.HostQueue(h.target.Host), "write the run to the operational ledger"), activities.LogInput{
			Target: h.target, Run: h.runKey, Outcome: end.outcome, RecoveryType: end.strategy.Type,
			Strategy: end.strategy.Name, Message: end.message, Started: h.started, Duration: h.result.Took,
			Steps: h.steps, Finding: h.in.Finding, RequestedBy: h.in.RequestedBy, CheckpointID: h.checkpt,
		})
		h.result.LedgerSeq = r.Seq
		return activities.StepResult{Summary: "recorded"}, err
	})
	h.fill(ctx, end)
}

func isRefusal(end ending) bool { return end.outcome == shivx.OutcomeRefused }

func (h *selfHeal) fill(ctx workflow.Context, end ending) {
	seq := h.result.LedgerSeq
	h.result = SelfHealResult{
		Target: h.target, Outcome: end.outcome, Strategy: end.strategy.Name, Message: end.message,
		Isolated: h.isolated, Acted: h.acted, Recovered: h.recovered, Took: since(ctx, h.started),
		Checkpoint: h.checkpt, Steps: h.steps, LedgerSeq: seq,
	}
	h.show(ctx)
}

// release gives the lock back and tells the entity how the run ended. The entity's own child
// need not: the entity waits for its end.
func (h *selfHeal) release(ctx workflow.Context, end ending) {
	// A run that was cancelled while it asked may hold the lock without knowing; the entity
	// ignores a release by anybody but its holder.
	if h.in.Plan || h.target.Host == "" || h.ownedByEntity(ctx) {
		return
	}
	info := workflow.GetInfo(ctx)
	err := workflow.SignalExternalWorkflow(ctx, shivx.ComponentID(h.target), "", shivx.SignalReleased, Released{
		Holder:  activities.RunRef{WorkflowID: info.WorkflowExecution.ID, RunID: info.WorkflowExecution.RunID},
		Outcome: end.outcome, Isolated: h.isolated, Message: end.message, Acted: h.acted, Recovered: h.recovered,
	}).Get(ctx, nil)
	if err != nil {
		// The entity looks after a holder that is gone; the run itself is done.
		workflow.GetLogger(ctx).Warn("the lock was not handed back", "error", err)
	}
}

// finish sets the outcome people search for and decides how the run shows in the Temporal UI:
// completed unless the component is still broken.
func (h *selfHeal) finish(ctx workflow.Context, end ending) error {
	if err := workflow.UpsertTypedSearchAttributes(ctx, activities.AttrOutcome.ValueSet(string(end.outcome))); err != nil {
		workflow.GetLogger(ctx).Warn("the outcome cannot be searched for", "error", err)
	}
	switch end.outcome {
	case shivx.OutcomeFailed, shivx.OutcomeUnreachable, shivx.OutcomeRefused:
		return temporal.NewNonRetryableApplicationError(
			strings.TrimSpace(string(end.outcome)+": "+end.message), string(end.outcome), nil, h.result)
	default:
		return nil
	}
}

func notFit(v activities.Validation) error {
	msg := "not fit"
	if len(v.Reasons) > 0 {
		msg = strings.Join(v.Reasons, "; ")
	}
	return temporal.NewNonRetryableApplicationError(msg, "NotFit", nil)
}
