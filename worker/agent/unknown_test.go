package agent

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// TestUnknownRunbook: in a lockdown it is refused by its name; else it waits for an agent that knows it.
func TestUnknownRunbook(t *testing.T) {
	const queue = "unknown-test"
	g := newGuarded(t)
	w := worker.New(g.c, queue, worker.Options{Interceptors: []interceptor.WorkerInterceptor{
		newLockdown(func() shivx.DefenseMode { return g.mode.Load().(shivx.DefenseMode) }, slog.New(slog.DiscardHandler))}})
	workflows.Register(w)
	w.RegisterDynamicWorkflow(unknownRunbook, workflow.DynamicRegisterOptions{})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	start := func(id string) client.WorkflowRun {
		run, err := g.c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: queue}, "MadeTomorrow", "with an input")
		require.NoError(t, err)
		return run
	}

	waits := start("waits")
	require.Eventually(t, func() bool {
		for _, e := range g.history("waits", waits.GetRunID()).GetEvents() {
			if f := e.GetWorkflowTaskFailedEventAttributes(); f != nil {
				require.Contains(t, f.GetFailure().GetMessage(), "there is no runbook MadeTomorrow")
				return true
			}
		}
		return false
	}, 30*time.Second, 20*time.Millisecond)
	d, err := g.c.DescribeWorkflowExecution(t.Context(), "waits", "")
	require.NoError(t, err)
	require.Equal(t, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, d.GetWorkflowExecutionInfo().GetStatus())

	g.mode.Store(shivx.DefenseLockdown)
	var refused *temporal.ApplicationError
	require.ErrorAs(t, start("refused").Get(t.Context(), nil), &refused)
	require.Equal(t, activities.ErrLockdown, refused.Type())
	require.ErrorContains(t, refused, "MadeTomorrow may not start")
}
