package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// How long an activity may wait for the agent of its host before the host counts as vanished.
const hostPatience = 2 * time.Minute

// How often a long step tells that it is alive; a step cut off by a crash resumes after this time.
const heartbeat = 3 * time.Second

// quickRead is for activities that change nothing and answer at once.
func quickRead(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		ScheduleToStartTimeout: hostPatience,
		StartToCloseTimeout:    20 * time.Second,
		HeartbeatTimeout:       heartbeat,
		Summary:                summary,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 200 * time.Millisecond, MaximumInterval: 5 * time.Second, MaximumAttempts: 5,
		},
	})
}

// hostChange is for activities that change a host. A step that fails is not retried: the run
// decides. A step that a crash cut off is retried; it finds out by itself whether its effect
// took place.
func hostChange(ctx workflow.Context, host, summary string, timeout time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              shivx.HostQueue(host),
		ScheduleToStartTimeout: hostPatience,
		// The agent ends the step itself at timeout; the rest is for the answer to arrive.
		StartToCloseTimeout: timeout + 15*time.Second,
		HeartbeatTimeout:    heartbeat,
		WaitForCancellation: true,
		Summary:             summary,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 100 * time.Millisecond, MaximumInterval: 5 * time.Second, MaximumAttempts: 20,
			NonRetryableErrorTypes: nonRetryable,
		},
	})
}

// How often a step that copies much tells that it is alive: it may have little of the processor, and two
// attempts at once would be worse than a late one.
const copyHeartbeat = 10 * time.Second

// longCopy is hostChange for activities that read or write much. They go on where they were when they are
// tried again.
func longCopy(ctx workflow.Context, host, summary string, timeout time.Duration) workflow.Context {
	ctx = hostChange(ctx, host, summary, timeout)
	o := workflow.GetActivityOptions(ctx)
	o.HeartbeatTimeout = copyHeartbeat
	return workflow.WithActivityOptions(ctx, o)
}

// hostApply is hostChange for the hooks of a host. The host does what is newest by then: when a newer
// change calls this one off, nobody waits for its end.
func hostApply(ctx workflow.Context, host, summary string) workflow.Context {
	ctx = hostChange(ctx, host, summary, applyTimeout)
	o := workflow.GetActivityOptions(ctx)
	o.WaitForCancellation = false
	return workflow.WithActivityOptions(ctx, o)
}

// record is for activities that write to a ledger or tell people; they are idempotent and
// are tried for as long as the host is there.
func record(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		ScheduleToStartTimeout: hostPatience,
		StartToCloseTimeout:    time.Minute,
		HeartbeatTimeout:       heartbeat,
		Summary:                summary,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 200 * time.Millisecond, MaximumInterval: 10 * time.Second, MaximumAttempts: 30,
			NonRetryableErrorTypes: nonRetryable,
		},
	})
}
