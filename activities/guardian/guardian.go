// Package guardian is how agents start and read the runbooks ThreatIsolation and DefenseMode, and
// implements what these ask for. Neither touches a host: hosts follow the memos of the runs.
package guardian

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// Activities talks to Temporal on behalf of runs.
type Activities struct {
	Client client.Client
}

// Register binds every activity to its wire name.
func (a *Activities) Register(r worker.ActivityRegistry) {
	activities.LastLift.Register(r, a.LastLift)
}

// runsRead is in how many runs of a source a lift is looked for, the newest first.
const runsRead = 20

// LastLift looks in the other runs of a source for the latest time that it was let go.
func (a *Activities) LastLift(ctx context.Context, in activities.LastLiftInput) (activities.LastLiftResult, error) {
	p, err := shivx.ParseSource(in.Source)
	if err != nil {
		return activities.LastLiftResult{}, temporal.NewNonRetryableApplicationError(err.Error(), "BadInput", err)
	}
	list, err := a.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: runsRead,
		Query:    fmt.Sprintf("WorkflowType = '%s' AND WorkflowId = '%s'", shivx.TypeThreatIsolation, shivx.IsolationID(shivx.SourceString(p))),
	})
	if err != nil {
		return activities.LastLiftResult{}, fmt.Errorf("list the runs of %s: %w", in.Source, err)
	}
	var out activities.LastLiftResult
	for _, run := range list.GetExecutions() {
		i, err := IsolationOf(run)
		switch {
		case err != nil, !i.Lifted, run.GetExecution().GetRunId() == in.RunID:
		case out.Lift == nil || i.Changed.After(out.Lift.Changed):
			out.Lift = &i
		}
	}
	return out, nil
}

// IsolationOptions says how the ThreatIsolation of i is started, which must have its source in the form
// of shivx.SourceString.
func IsolationOptions(queue string, i shivx.Isolation) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: shivx.IsolationID(i.Source), TaskQueue: queue, WorkflowTaskTimeout: shivx.TaskTimeout,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		TypedSearchAttributes:    activities.IsolationAttributes(i),
		Memo:                     map[string]any{shivx.MemoIsolation: i},
		StaticSummary:            activities.IsolationSummary(i.Source),
		StaticDetails:            activities.IsolationDetails,
	}
}

// DefenseOptions says how the DefenseMode of the fleet is started.
func DefenseOptions(queue string) client.StartWorkflowOptions {
	now := time.Now().UTC()
	normal := shivx.FleetMode{ModeChange: shivx.ModeChange{
		From: shivx.DefenseNormal, To: shivx.DefenseNormal, By: shivx.Guardian, Reason: "nothing has happened yet", At: now}}
	return client.StartWorkflowOptions{
		ID: shivx.DefenseModeID, TaskQueue: queue, WorkflowTaskTimeout: shivx.TaskTimeout,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			activities.AttrRunbook.ValueSet(shivx.RunbookDefense), activities.AttrChanged.ValueSet(now)),
		Memo:          map[string]any{shivx.MemoMode: normal},
		StaticSummary: "Defense mode of the fleet",
		StaticDetails: "Counts the serious threats of all hosts, ends lockdowns that nobody confirms, and tells people. The hosts decide " +
			"by themselves, also while Temporal is away, and follow this run's memo. " +
			"Signals: `lockdown`, `restore`. Updates: `set-mode`, `confirm`. Query: `status`.",
	}
}

// RunningIsolations is the query for all isolations that hold.
func RunningIsolations() string {
	return fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", shivx.TypeThreatIsolation)
}

// ChangedIsolations is the query for isolations that have changed after t, those that have ended among
// them. Times are those of the server, which keeps them to the millisecond: take the newest one that was
// seen, less what the visibility store may lag.
func ChangedIsolations(t time.Time) string {
	return fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus != 'ContinuedAsNew' AND %s > '%s'",
		shivx.TypeThreatIsolation, shivx.AttrChanged, t.UTC().Format(time.RFC3339Nano))
}

// IsolationOf reads what a ThreatIsolation shows in its memo. It is an error while the run shows
// nothing: one that was started by hand does so after its first step.
func IsolationOf(info *workflowpb.WorkflowExecutionInfo) (shivx.Isolation, error) {
	return memoOf[shivx.Isolation](info, shivx.MemoIsolation)
}

// FleetModeOf reads what a DefenseMode shows in its memo.
func FleetModeOf(info *workflowpb.WorkflowExecutionInfo) (shivx.FleetMode, error) {
	return memoOf[shivx.FleetMode](info, shivx.MemoMode)
}

// ChangedAt is when a run has changed last, by the server's clock; zero when it does not say.
func ChangedAt(info *workflowpb.WorkflowExecutionInfo) (at time.Time) {
	p, ok := info.GetSearchAttributes().GetIndexedFields()[shivx.AttrChanged]
	if !ok || converter.GetDefaultDataConverter().FromPayload(p, &at) != nil {
		return time.Time{}
	}
	return at
}

func memoOf[T any](info *workflowpb.WorkflowExecutionInfo, key string) (out T, err error) {
	id := info.GetExecution().GetWorkflowId()
	p, ok := info.GetMemo().GetFields()[key]
	if !ok {
		return out, fmt.Errorf("the run %s has no memo %q yet", id, key)
	}
	if err := converter.GetDefaultDataConverter().FromPayload(p, &out); err != nil {
		return out, fmt.Errorf("read the memo %q of the run %s: %w", key, id, err)
	}
	return out, nil
}
