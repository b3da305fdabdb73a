package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
)

// reclaimTime bounds reclaim; what it did not get to resumes by itself, only later.
const reclaimTime = 5 * time.Second

// reclaim tells Temporal what the agent's last process has left behind, so that it goes on at
// once: steps it had begun are tried again now instead of when their heartbeat is missed, and
// runs it had in memory are offered to any worker. It must be called before this process has
// taken any work: until then whatever is said to run under this agent's name is cut off, for the lock on the
// ledger lets no second agent run beside this one.
func (a *Agent) reclaim(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reclaimTime)
	defer cancel()
	for _, run := range a.openRuns(ctx) {
		if err := a.reclaimRun(ctx, run); err != nil {
			a.log.Warn("what was under way in a run goes on only after its heartbeat is missed", "run", run.GetWorkflowId(), "error", err)
		}
	}
}

// openRuns lists the runs that may have something under way here: those of the configured
// components and subsystems by their ids, since the list of runs lags, and all others that touch this host.
func (a *Agent) openRuns(ctx context.Context) []*commonpb.WorkflowExecution {
	var out []*commonpb.WorkflowExecution
	seen := map[string]bool{}
	add := func(id string) {
		if !seen[id] {
			seen[id] = true
			out = append(out, &commonpb.WorkflowExecution{WorkflowId: id})
		}
	}
	for _, c := range a.cfg.Components {
		t := c.Target(a.cfg.Host)
		add(shivx.SelfHealID(t))
		add(shivx.ComponentID(t))
	}
	for _, s := range a.cfg.Forecast.Subsystems {
		if len(s.Mitigations) > 0 {
			add(shivx.MitigationID(shivx.SubsystemTarget{Subsystem: s.Name, Host: a.cfg.Host}))
		}
	}
	list, err := a.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Query: fmt.Sprintf("%s = '%s' AND ExecutionStatus = 'Running'", shivx.AttrHost, a.cfg.Host),
	})
	if err != nil {
		a.log.Debug("the open runs of this host are not known", "error", err)
		return out
	}
	for _, e := range list.Executions {
		add(e.Execution.GetWorkflowId())
	}
	return out
}

func (a *Agent) reclaimRun(ctx context.Context, run *commonpb.WorkflowExecution) error {
	d, err := a.client.DescribeWorkflowExecution(ctx, run.GetWorkflowId(), "")
	if _, none := errors.AsType[*serviceerror.NotFound](err); none {
		return nil
	}
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	if d.WorkflowExecutionInfo.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return nil
	}
	run = d.WorkflowExecutionInfo.Execution
	_, err = a.client.WorkflowService().ResetStickyTaskQueue(ctx, &workflowservice.ResetStickyTaskQueueRequest{
		Namespace: a.namespace, Execution: run})
	for _, p := range d.PendingActivities {
		if a.cutOff(p) {
			err = errors.Join(err, a.client.CompleteActivityByID(ctx, a.namespace, run.WorkflowId, run.RunId, p.ActivityId, nil,
				temporal.NewApplicationError("the agent was restarted while it was at work", "CutOff")))
		}
	}
	return err
}

// cutOff says whether the activity was begun by this agent's last process.
func (a *Agent) cutOff(p *workflowpb.PendingActivityInfo) bool {
	return p.State == enumspb.PENDING_ACTIVITY_STATE_STARTED && p.LastWorkerIdentity == a.identity()
}

// identity is the name under which this agent takes work from Temporal.
func (a *Agent) identity() string { return "shivx@" + a.cfg.Host }
