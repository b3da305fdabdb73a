// Package component implements the activities by which runbooks find and lock their target.
package component

import (
	"context"
	"errors"
	"fmt"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
)

// Components finds components by name, those included that are not in the configuration.
type Components interface {
	Component(name string) (config.Component, bool)
}

var _ Components = (*config.Config)(nil)

// Activities talks to Temporal on behalf of runs.
type Activities struct {
	Client client.Client
	Config *config.Config
	// Components of this host; nil: those of Config.
	Components Components
}

// Register binds every activity to its wire name.
func (a *Activities) Register(r worker.ActivityRegistry) {
	activities.Locate.Register(r, a.Locate)
	activities.Acquire.Register(r, a.Acquire)
	activities.RunOpen.Register(r, a.RunOpen)
}

// Locate finds the host of a component: this one, if it has the component, otherwise the only host
// whose entity runs.
func (a *Activities) Locate(ctx context.Context, in activities.LocateInput) (shivx.Target, error) {
	var hosts []string
	var components Components = a.Config
	if a.Components != nil {
		components = a.Components
	}
	if _, ok := components.Component(in.Component); ok {
		hosts = append(hosts, a.Config.Host)
	}
	name := strings.NewReplacer(`"`, "", `'`, "", `\`, "").Replace(in.Component)
	list, err := a.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Query: fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running' AND %s = '%s'",
			shivx.TypeComponent, shivx.AttrComponent, name),
	})
	if err != nil {
		return shivx.Target{}, fmt.Errorf("look for the host of %s: %w", in.Component, err)
	}
	for _, e := range list.Executions {
		t, err := shivx.ParseTarget(strings.TrimPrefix(e.Execution.WorkflowId, "component/"))
		if err == nil && t.Component == in.Component && t.Host != a.Config.Host {
			hosts = append(hosts, t.Host)
		}
	}
	switch len(hosts) {
	case 1:
		return shivx.Target{Component: in.Component, Host: hosts[0]}, nil
	case 0:
		return shivx.Target{}, activities.UnknownComponent("no host has a component %q", in.Component)
	default:
		return shivx.Target{}, activities.UnknownComponent("%q is on several hosts; say which: %s", in.Component, strings.Join(hosts, ", "))
	}
}

// Acquire asks the entity for the lock, and starts the entity if there is none.
func (a *Activities) Acquire(ctx context.Context, in activities.AcquireInput) (activities.AcquireResult, error) {
	var out activities.AcquireResult
	handle, err := a.Client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: a.Client.NewWithStartWorkflowOperation(
			EntityOptions(a.Config.Temporal.TaskQueue, in.Target), shivx.TypeComponent, in.Target),
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateID: in.Holder.RunID, UpdateName: shivx.UpdateAcquire, Args: []any{in},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err == nil {
		err = handle.Get(ctx, &out)
	}
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return out, temporal.NewNonRetryableApplicationError(app.Message(), app.Type(), nil)
	}
	if err != nil {
		return out, fmt.Errorf("ask for the lock of %s: %w", in.Target, err)
	}
	return out, nil
}

// EntityOptions says how the entity of t is started.
func EntityOptions(queue string, t shivx.Target) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: shivx.ComponentID(t), TaskQueue: queue, WorkflowTaskTimeout: shivx.TaskTimeout,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		TypedSearchAttributes:    activities.SearchAttributes(shivx.RunbookComponent, t),
		StaticSummary:            "Component " + t.String(),
		StaticDetails: "Holds the lock of the component, its limits and its maintenance flag. " +
			"Updates: `heal`, `set-maintenance`, `checkpoint`. Query: `status`.",
	}
}

// RunOpen says whether a run is still open.
func (a *Activities) RunOpen(ctx context.Context, in activities.RunRef) (bool, error) {
	d, err := a.Client.DescribeWorkflowExecution(ctx, in.WorkflowID, in.RunID)
	if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("describe %s: %w", in.WorkflowID, err)
	}
	return d.WorkflowExecutionInfo.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}
