package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// isolate takes the component out of traffic. A failure here does not stop the run, for a
// service that is down must come back; it does rule out strategies that change data.
func (h *selfHeal) isolate(ctx workflow.Context) {
	if h.policy.IsolatedBy == "" {
		h.skip(ctx, shivx.StepIsolate, "no traffic path configured")
		return
	}
	h.doStep(ctx, shivx.StepIsolate, "", 0, func() (activities.StepResult, error) {
		// Whatever becomes of the call, traffic may be cut off from now on.
		h.isolated = !h.in.Plan
		return activities.Isolate.Execute(
			hostChange(ctx, h.target.Host, "take "+h.target.Component+" out of traffic", h.policy.IsolateTimeout.Std()),
			h.trafficInput())
	})
}

// checkpoint keeps a copy of the state, so that the fault can be studied and undone.
func (h *selfHeal) checkpoint(ctx workflow.Context) {
	h.doStep(ctx, shivx.StepCheckpoint, "", 0, func() (activities.StepResult, error) {
		c, err := activities.Checkpoint.Execute(
			hostChange(ctx, h.target.Host, "copy the state of "+h.target.Component, checkpointTimeout),
			activities.CheckpointInput{StepInput: h.input("", 0)})
		h.checkpt = c.ID
		return c.StepResult, err
	})
}

// recover runs one strategy and says whether it reported success.
func (h *selfHeal) recover(ctx workflow.Context, rung activities.Strategy, attempt int) bool {
	if h.stopped() {
		return false
	}
	if !h.in.Plan {
		defer func() { h.recovered = workflow.Now(ctx) }()
	}
	return h.doStep(ctx, shivx.StepRecover, rung.Name, attempt, func() (activities.StepResult, error) {
		h.acted = !h.in.Plan
		h.unsettled = &rungAttempt{rung, attempt}
		return activities.Recover.Execute(
			hostChange(ctx, h.target.Host, rung.Name+": recover by the plugin "+rung.Plugin, rung.Timeout.Std()),
			h.input(rung.Name, attempt))
	})
}

// validate says whether the component is fit for service after a recovery.
func (h *selfHeal) validate(ctx workflow.Context, rung activities.Strategy, attempt int) bool {
	return h.doStep(ctx, shivx.StepValidate, rung.Name, attempt, func() (activities.StepResult, error) {
		o := h.policy.Observe
		v, err := activities.Validate.Execute(
			hostChange(ctx, h.target.Host, "watch the checks for "+o.Window.String(), h.policy.ValidateTimeout.Std()),
			activities.ValidateInput{StepInput: h.input(rung.Name, attempt), Observe: o})
		if err == nil && !v.Fit {
			err = notFit(v)
		}
		return v.StepResult, err
	})
}

// undo takes back a recovery that did not help. A failure is told and does not end the run.
func (h *selfHeal) undo(ctx workflow.Context, rung activities.Strategy, attempt int) {
	if h.unsettled == nil || h.in.Plan {
		return
	}
	if !rung.CanUndo {
		h.unsettled = nil
		return
	}
	h.doStep(ctx, shivx.StepUndo, rung.Name, attempt, func() (activities.StepResult, error) {
		h.unsettled = nil
		return activities.Undo.Execute(
			hostChange(ctx, h.target.Host, rung.Name+": take it back", rung.Timeout.Std()+undoGrace),
			h.input(rung.Name, attempt))
	})
}

// reintegrate puts a component that is fit back into traffic and ends the run.
func (h *selfHeal) reintegrate(ctx workflow.Context, rung activities.Strategy) ending {
	end := ending{outcome: shivx.OutcomeHealed, strategy: rung, message: "healed by " + rung.Name}
	if h.in.Plan {
		end.outcome, end.message = shivx.OutcomePlanned, "nothing was changed"
	}
	h.unsettled = nil
	if err := h.putBack(ctx); err != nil {
		return ending{outcome: shivx.OutcomeFailed, strategy: rung, escalate: true,
			message: "fit again, but not back in traffic: " + reason(err),
			hint:    "put it back by hand, or start SelfHeal with verify_only once the cause is gone"}
	}
	return end
}

// putBack ends the isolation.
func (h *selfHeal) putBack(ctx workflow.Context) error {
	if h.policy.IsolatedBy == "" {
		h.skip(ctx, shivx.StepReintegrate, "no traffic path configured")
		return nil
	}
	failure := errNotTried
	for try := 1; try <= putBackTries && failure != nil; try++ {
		if try > 1 && (workflow.Sleep(ctx, putBackPause) != nil || h.vanished != nil) {
			break
		}
		h.doStep(ctx, shivx.StepReintegrate, "", 0, func() (activities.StepResult, error) {
			r, err := activities.Reintegrate.Execute(
				hostChange(ctx, h.target.Host, "put "+h.target.Component+" back into traffic", h.policy.IsolateTimeout.Std()),
				h.trafficInput())
			failure = err
			return r, err
		})
	}
	if failure == nil {
		h.isolated = false
	}
	return failure
}

// errNotTried: a step was not begun because the run was stopped.
var errNotTried = errors.New("the run was stopped before it could be tried")

// verifyAndReturn validates without a recovery; a component that is fit goes back into traffic.
func (h *selfHeal) verifyAndReturn(ctx workflow.Context, outcome shivx.Outcome) ending {
	h.skip(ctx, shivx.StepRecover, "nothing to recover")
	if !h.validate(ctx, activities.Strategy{}, 0) {
		if h.isolated && !h.policy.StayIsolated {
			if err := h.putBack(ctx); err != nil {
				workflow.GetLogger(ctx).Warn("it could not be put back into traffic", "error", reason(err))
			}
		}
		return ending{outcome: shivx.OutcomeFailed, escalate: true,
			message: "not fit: " + h.last(shivx.StepValidate).Summary}
	}
	if err := h.putBack(ctx); err != nil {
		return ending{outcome: shivx.OutcomeFailed, escalate: true, message: "fit, but not back in traffic: " + reason(err)}
	}
	return ending{outcome: outcome, message: "verified"}
}

// giveUp ends a run whose ladder is used up.
func (h *selfHeal) giveUp(ctx workflow.Context) ending {
	if h.in.Plan {
		h.skip(ctx, shivx.StepValidate, "would watch the checks for "+h.policy.Observe.Window.String())
		return h.reintegrate(ctx, activities.Strategy{})
	}
	if h.vanished != nil {
		return h.failed(h.vanished)
	}
	end := ending{outcome: shivx.OutcomeFailed, escalate: true,
		message: fmt.Sprintf("no strategy of %d helped; last: %s", len(h.ladder()), h.lastFailure()),
		hint:    "see the steps of the run"}
	if len(h.ladder()) == 0 {
		end.message = "it has no strategy to recover it: " + h.why()
		end.hint = "repair it; once its checks pass it is verified and in service again by itself"
	}
	if h.checkpt != "" {
		end.hint += "; the state before the recovery is in checkpoint " + h.checkpt
	}
	if !h.stopped() && h.isolated && !h.policy.StayIsolated {
		if err := h.putBack(ctx); err != nil {
			end.message += "; and it could not be put back into traffic: " + reason(err)
		}
	}
	return end
}

// trafficInput is the input of isolate and reintegrate: each call is an effect of its own.
func (h *selfHeal) trafficInput() activities.StepInput {
	h.traffic++
	return h.input("", h.traffic)
}

func (h *selfHeal) input(strategy string, attempt int) activities.StepInput {
	return activities.StepInput{
		Target: h.target, Run: h.runKey, Strategy: strategy, Attempt: attempt,
		CheckpointID: h.checkpt, Reason: h.why(), Plan: h.in.Plan,
	}
}
