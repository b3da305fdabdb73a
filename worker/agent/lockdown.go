package agent

import (
	"fmt"
	"log/slog"
	"strings"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// lockdown lets no runbook start in DefenseLockdown but the critical ones.
type lockdown struct {
	interceptor.WorkerInterceptorBase
	mode func() shivx.DefenseMode
	log  *slog.Logger
}

var _ interceptor.WorkerInterceptor = (*lockdown)(nil)

// newLockdown makes a worker refuse the start of runbooks that are not critical (shivx.CriticalRunbook)
// while mode says LOCKDOWN. Runs that have begun go on, also as new ones.
func newLockdown(mode func() shivx.DefenseMode, log *slog.Logger) interceptor.WorkerInterceptor {
	return &lockdown{mode: mode, log: log}
}

// InterceptWorkflow wraps the runs of runbooks that are not critical; the others do not change.
func (l *lockdown) InterceptWorkflow(ctx workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	info := workflow.GetInfo(ctx)
	// A run of a cron schedule, and another attempt, name a run before them, too, but start anew.
	goesOn := info.ContinuedExecutionRunID != "" && info.CronSchedule == "" && info.Attempt <= 1
	if shivx.CriticalRunbook(info.WorkflowType.Name) || goesOn {
		return next
	}
	in := &lockdownInbound{lockdown: l}
	in.Next = next
	return in
}

// lockdownInbound is one run that may be refused.
type lockdownInbound struct {
	interceptor.WorkflowInboundInterceptorBase
	lockdown *lockdown
}

// ExecuteWorkflow asks for the mode once, at the start, and keeps the answer in the run's history: a
// replay, also on another host, gets the same.
func (i *lockdownInbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	var mode shivx.DefenseMode
	err := workflow.SideEffect(ctx, func(workflow.Context) any { return i.lockdown.mode() }).Get(&mode)
	if err != nil {
		return nil, fmt.Errorf("read the defense mode: %w", err)
	}
	if mode != shivx.DefenseLockdown {
		return i.Next.ExecuteWorkflow(ctx, in)
	}
	info := workflow.GetInfo(ctx)
	name := info.WorkflowType.Name
	if !workflow.IsReplaying(ctx) {
		i.lockdown.log.Warn("a runbook was refused in LOCKDOWN", "runbook", name, "run", info.WorkflowExecution.ID)
	}
	workflow.SetCurrentDetails(ctx, "### Refused: the mode is "+string(mode)+"\n\nOnly critical runbooks start.\n")
	return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf(
		"%s may not start in the mode %s, in which only critical runbooks do (%s) — end the lockdown (shivx guardian restore --lockdown), then start it again",
		name, mode, strings.Join(shivx.CriticalRunbooks(), ", ")), activities.ErrLockdown, nil)
}
