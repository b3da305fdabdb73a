package workflows

import (
	"errors"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// listenForAbort ends the work of a run by stop on the signal abort, described by what, and when the run is cancelled.
// It goes on for as long as the run lives; heard is called at each signal.
func (c *control) listenForAbort(ctx workflow.Context, what string, stop workflow.CancelFunc, heard func()) {
	aborts := workflow.GetSignalChannelWithOptions(ctx, shivx.SignalAbort, workflow.SignalChannelOptions{Description: what})
	workflow.GoNamed(ctx, "cancellation", func(ctx workflow.Context) {
		ctx.Done().Receive(ctx, nil)
		c.halt(cancelled, stop)
	})
	workflow.GoNamed(ctx, "signals", func(ctx workflow.Context) {
		for {
			var a Abort
			aborts.Receive(ctx, &a)
			heard()
			c.halt(a, stop)
		}
	})
}

// halt stops a run, once; a paused one, too.
func (c *control) halt(a Abort, stop workflow.CancelFunc) {
	if c.stop == nil {
		c.stop = &a
		c.paused = ""
		stop()
	}
}

// cancelled stops a run that somebody has cancelled in Temporal.
var cancelled = Abort{Reason: "the run was cancelled"}

// awaitResume holds a run while it is paused. note tells people that it is.
func (c *control) awaitResume(ctx workflow.Context, note func(workflow.Context, string)) {
	if c.paused == "" {
		return
	}
	note(ctx, "paused by "+c.paused)
	// Await ends with an error only when the run is cancelled, which the caller sees by itself.
	_ = workflow.Await(ctx, func() bool { return c.paused == "" || c.stop != nil })
	note(ctx, "")
}

// serveApproval registers the update by which people approve; asks describes it, and answer is what they get.
func serveApproval[S any](ctx workflow.Context, c *control, asks string, answer func(workflow.Context) S) error {
	return workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateApprove, func(ctx workflow.Context, d Decision) (S, error) {
		c.decide(d)
		return answer(ctx), nil
	}, workflow.UpdateHandlerOptions{Description: asks, Validator: c.mayApprove})
}

// servePause registers the updates by which people hold a run and let it go on. may says what is wrong with a pause.
func servePause[S any](ctx workflow.Context, c *control, may func(By) error, answer func(workflow.Context) S) error {
	return errors.Join(
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdatePause, func(ctx workflow.Context, by By) (S, error) {
			c.paused = by.By
			return answer(ctx), nil
		}, workflow.UpdateHandlerOptions{Description: `Hold the run before its next step. {"by":"ana"}`, Validator: may}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateResume, func(ctx workflow.Context, _ By) (S, error) {
			c.paused = ""
			return answer(ctx), nil
		}, workflow.UpdateHandlerOptions{Description: `Let a paused run go on. {"by":"ana"}`, Validator: named}),
	)
}

// finish ends a run whose outcome people search for. It shows as failed in the Temporal UI when it is none that a run
// is wanted for: those that every run may have, and others of this runbook.
func finish(ctx workflow.Context, end ending, result any, others ...shivx.Outcome) error {
	if err := workflow.UpsertTypedSearchAttributes(ctx, activities.AttrOutcome.ValueSet(string(end.outcome))); err != nil {
		workflow.GetLogger(ctx).Warn("the outcome cannot be searched for", "error", err)
	}
	if slices.Contains(others, end.outcome) ||
		slices.Contains([]shivx.Outcome{shivx.OutcomeFailed, shivx.OutcomeUnreachable, shivx.OutcomeRefused}, end.outcome) {
		return temporal.NewNonRetryableApplicationError(string(end.outcome)+": "+end.message, string(end.outcome), nil, result)
	}
	return nil
}
