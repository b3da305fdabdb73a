package agent

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// lockdownQueue is served by a worker that refuses runbooks in LOCKDOWN.
const lockdownQueue = "lockdown-test"

// chaosExperiment is a runbook that is not critical. It waits for the signal "go" and continues as new
// once.
func chaosExperiment(ctx workflow.Context, again bool) (string, error) {
	workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
	if again {
		return "", workflow.NewContinueAsNewError(ctx, "ChaosExperiment", false)
	}
	return "broken on purpose", nil
}

// registerChaos binds the runbooks and one more.
func registerChaos(r worker.WorkflowRegistry) {
	workflows.Register(r)
	r.RegisterWorkflowWithOptions(chaosExperiment, workflow.RegisterOptions{Name: "ChaosExperiment"})
}

// guarded is a server with a worker whose mode can be set.
type guarded struct {
	t    *testing.T
	c    client.Client
	mode atomic.Value
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t, c: stand.NewServer(t).Client()}
	g.mode.Store(shivx.DefenseNormal)
	require.NoError(t, (&Agent{client: g.c, namespace: client.DefaultNamespace}).prepareServer(t.Context()))
	w := worker.New(g.c, lockdownQueue, worker.Options{Interceptors: []interceptor.WorkerInterceptor{
		newLockdown(func() shivx.DefenseMode { return g.mode.Load().(shivx.DefenseMode) }, slog.New(slog.DiscardHandler))}})
	registerChaos(w)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	return g
}

func (g *guarded) start(id, runbook string, in any) client.WorkflowRun {
	g.t.Helper()
	run, err := g.c.ExecuteWorkflow(g.t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: lockdownQueue,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Millisecond, MaximumAttempts: 5}}, runbook, in)
	require.NoError(g.t, err)
	return run
}

func (g *guarded) history(id, runID string) *historypb.History {
	g.t.Helper()
	h := &historypb.History{}
	for events := g.c.GetWorkflowHistory(g.t.Context(), id, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		e, err := events.Next()
		require.NoError(g.t, err)
		h.Events = append(h.Events, e)
	}
	return h
}

// replay replays the run on a worker of a host that is in that mode.
func (g *guarded) replay(run client.WorkflowRun, mode shivx.DefenseMode) {
	g.t.Helper()
	r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Interceptors: []interceptor.WorkerInterceptor{
		newLockdown(func() shivx.DefenseMode { return mode }, slog.New(slog.DiscardHandler))}})
	require.NoError(g.t, err)
	registerChaos(r)
	require.NoError(g.t, r.ReplayWorkflowHistoryWithOptions(nil, g.history(run.GetID(), run.GetRunID()), worker.ReplayWorkflowHistoryOptions{
		OriginalExecution: workflow.Execution{ID: run.GetID(), RunID: run.GetRunID()}}))
}

// awaitStep waits until the run has done its first step.
func (g *guarded) awaitStep(run client.WorkflowRun) {
	g.t.Helper()
	stand.Await(g.t, 30*time.Second, "the first step of "+run.GetID(), func(context.Context) bool {
		for _, e := range g.history(run.GetID(), run.GetRunID()).Events {
			if e.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
				return true
			}
		}
		return false
	})
}

func TestInLockdownOnlyCriticalRunbooksStart(t *testing.T) {
	g := newGuarded(t)
	before := g.start("before", "ChaosExperiment", true)
	g.awaitStep(before)

	g.mode.Store(shivx.DefenseLockdown)
	refused := g.start("refused", "ChaosExperiment", false)
	err := refused.Get(t.Context(), nil)
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, activities.ErrLockdown, app.Type())
	require.True(t, app.NonRetryable(), "the run's own retries do not come to it")
	require.ErrorContains(t, err, "ChaosExperiment may not start in the mode LOCKDOWN")
	require.ErrorContains(t, err, "end the lockdown (shivx guardian restore --lockdown)")
	require.Equal(t, refused.GetRunID(), g.c.GetWorkflow(t.Context(), "refused", "").GetRunID(), "there was one attempt")

	isolation := g.start(shivx.IsolationID("203.0.113.7"), shivx.TypeThreatIsolation, map[string]any{"source": "203.0.113.7"})
	g.awaitStep(isolation)
	for _, e := range g.history(isolation.GetID(), "").Events {
		require.NotEqual(t, enumspb.EVENT_TYPE_MARKER_RECORDED, e.EventType, "histories of critical runbooks do not change")
	}

	var out string // what has begun goes on, also as a new run
	require.NoError(t, g.c.SignalWorkflow(t.Context(), "before", "", "go", nil))
	stand.Await(t, 30*time.Second, "the second run", func(ctx context.Context) bool {
		d, err := g.c.DescribeWorkflowExecution(ctx, "before", "")
		return err == nil && d.WorkflowExecutionInfo.Execution.RunId != before.GetRunID()
	})
	require.NoError(t, g.c.SignalWorkflow(t.Context(), "before", "", "go", nil))
	require.NoError(t, before.Get(t.Context(), &out))
	require.Equal(t, "broken on purpose", out)

	for _, mode := range shivx.DefenseModes() { // a replay asks for no mode
		g.replay(refused, mode)
		g.replay(before, mode)
		g.replay(isolation, mode)
	}

	g.mode.Store(shivx.DefenseNormal)
	after := g.start("refused", "ChaosExperiment", false)
	require.NoError(t, g.c.SignalWorkflow(t.Context(), "refused", "", "go", nil))
	require.NoError(t, after.Get(t.Context(), nil))
}
