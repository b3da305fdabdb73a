package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

// waitUntil waits until due, or until changed says yes; zero: for that alone. A timer that is not needed
// any more is taken back, so that nobody sees it in the Temporal UI, for which what is its name.
func waitUntil(ctx workflow.Context, due time.Time, what string, changed func() bool) error {
	if due.IsZero() {
		return workflow.Await(ctx, changed)
	}
	ctx, takeBack := workflow.WithCancel(ctx)
	defer takeBack()
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout: due.Sub(workflow.Now(ctx)), TimerOptions: workflow.TimerOptions{Summary: what},
	}, changed)
	return err
}

// giveTurn lets every other coroutine of the run go on until it waits again. A run must do so before it
// ends or continues as new: a signal that was handed to a waiting selector is in no channel any more,
// so that draining the channels does not find it.
func giveTurn(ctx workflow.Context) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx) // a cancelled one does not wait
	defer cancel()
	given := false
	_ = workflow.Await(ctx, func() bool {
		before := given
		given = true
		return before
	})
}
