package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// Abort stops a run.
type Abort struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func (a Abort) message() string {
	switch {
	case a.By == "" && a.Reason == "":
		return "stopped"
	case a.By == "":
		return "stopped: " + a.Reason
	case a.Reason == "":
		return "stopped by " + a.By
	default:
		return "stopped by " + a.By + ": " + a.Reason
	}
}

// By says who asks for something.
type By struct {
	By string `json:"by"`
}

// Decision answers a run that waits for approval.
type Decision struct {
	By string `json:"by"`
	// Deny refuses; otherwise the decision approves.
	Deny bool   `json:"deny,omitempty"`
	Note string `json:"note,omitempty"`
	// For is how what is decided on begins, such as the name of the action. When the run waits for something else by now the
	// decision is refused. "": whatever waits.
	For string `json:"for,omitempty"`
}

// control is what people have asked of a run.
type control struct {
	stop     *Abort
	resolved bool
	paused   string // by whom
	// waiting is the strategy that needs approval now; "" if none does.
	waiting   string
	approval  shivx.Approval
	decisions []Decision
}

// stopped says whether the run must end and compensate.
func (h *selfHeal) stopped() bool { return h.control.stop != nil }

// goesOn says whether further strategies may be tried.
func (h *selfHeal) goesOn() bool { return !h.stopped() && h.vanished == nil }

// listen handles the signals for as long as the run lives. stop cancels the work under way.
func (h *selfHeal) listen(ctx workflow.Context, stop workflow.CancelFunc) {
	aborts := workflow.GetSignalChannelWithOptions(ctx, shivx.SignalAbort, workflow.SignalChannelOptions{
		Description: `Stop this run and put everything back as it was. {"by":"ana","reason":"wrong host"}`})
	resolved := workflow.GetSignalChannelWithOptions(ctx, shivx.SignalResolved, workflow.SignalChannelOptions{
		Description: "The fault is over. Before the recovery this stops the run, which compensates and verifies."})
	workflow.GoNamed(ctx, "signals", func(ctx workflow.Context) {
		sel := workflow.NewSelector(ctx)
		sel.AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) {
			h.control.halt(cancelled, stop)
		})
		sel.AddReceive(aborts, func(c workflow.ReceiveChannel, _ bool) {
			var a Abort
			c.Receive(ctx, &a)
			h.control.halt(a, stop)
		})
		sel.AddReceive(resolved, func(c workflow.ReceiveChannel, _ bool) {
			var f shivx.Finding
			c.Receive(ctx, &f)
			h.onResolved(f, stop)
		})
		for !h.stopped() {
			sel.Select(ctx)
		}
	})
}

// onResolved stops a run that has not begun to recover. Once it has, the fault going away is
// what the recovery was for, and the validation that follows is the verification.
func (h *selfHeal) onResolved(f shivx.Finding, stop workflow.CancelFunc) {
	if h.acted {
		return
	}
	h.control.resolved = true
	h.control.halt(Abort{Reason: "the fault resolved by itself: " + f.Reason}, stop)
}

// serve registers queries and updates.
func (h *selfHeal) serve(ctx workflow.Context) error {
	err := workflow.SetQueryHandlerWithOptions(ctx, shivx.QueryStatus, func() (SelfHealStatus, error) { return h.status(), nil },
		workflow.QueryHandlerOptions{Description: "Where the run is: steps, what it waits for, who paused it."})
	if err != nil {
		return err
	}
	answer := func(ctx workflow.Context) SelfHealStatus {
		h.show(ctx)
		return h.status()
	}
	return errors.Join(
		serveApproval(ctx, &h.control, `Approve the strategy that waits, or refuse it with "deny":true. {"by":"ana"}`, answer),
		servePause(ctx, &h.control, h.mayPause, answer))
}

func named(by By) error {
	if by.By == "" {
		return badInput(`say who asks: {"by":"NAME"}`)
	}
	return nil
}

// mayPause refuses to hold up a run that is putting everything back.
func (h *selfHeal) mayPause(by By) error {
	if h.stopped() || h.result.Outcome != "" {
		return temporal.NewNonRetryableApplicationError("the run is ending", "Ending", nil)
	}
	return named(by)
}

// allowed says whether a strategy may be used: what changes data needs a checkpoint and, where
// there is a traffic path, isolation; and what the configuration says people must approve.
func (h *selfHeal) allowed(ctx workflow.Context, rung activities.Strategy) bool {
	if why := h.unsafe(rung); why != "" && !h.in.Plan {
		h.refuse(ctx, rung, why)
		return false
	}
	if rung.Approval.Required == 0 || h.in.Plan {
		return true
	}
	return h.awaitApproval(ctx, rung)
}

// unsafe says why a strategy that changes data must not be used; "" if it may be.
func (h *selfHeal) unsafe(rung activities.Strategy) string {
	switch {
	case !rung.Destructive || h.checkpt != "" && h.unisolated == "":
		return ""
	case rung.Unavailable != "":
		return "its plugin is not available: " + rung.Unavailable
	case h.checkpt == "":
		return "it changes data and there is no checkpoint to go back to; list its files under state.paths"
	default:
		return "it changes data and the component is still in traffic: " + h.unisolated
	}
}

func (h *selfHeal) awaitApproval(ctx workflow.Context, rung activities.Strategy) bool {
	granted, why, err := h.control.awaitApproval(ctx, rung.Name, rung.Approval, h.note)
	if err != nil || h.stopped() {
		return false
	}
	if !granted {
		h.refuse(ctx, rung, why)
	}
	return granted
}

// refuse notes a rung that was not used.
func (h *selfHeal) refuse(ctx workflow.Context, rung activities.Strategy, why string) {
	h.add(activities.StepReport{Step: shivx.StepRecover, Strategy: rung.Name, State: stateFailed,
		Summary: "not used: " + why, Started: workflow.Now(ctx)})
	h.show(ctx)
}
