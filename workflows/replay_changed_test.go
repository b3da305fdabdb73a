package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"
)

// TestReplayFindsChangedWorkflows changes what the workflows do and expects the replay of every
// history that has it to fail: so the replay tests can fail.
func TestReplayFindsChangedWorkflows(t *testing.T) {
	cases := map[string]struct {
		change func(*changed)
		// finds lists histories in which the change shows.
		finds []string
	}{
		"two steps swapped":     {func(c *changed) { c.rename = map[string]string{"Isolate": "Checkpoint", "Checkpoint": "Isolate"} }, []string{"healed", "approved", "plan"}},
		"a step renamed":        {func(c *changed) { c.rename = map[string]string{"Reintegrate": "PutBack"} }, []string{"healed", "by-hand", "verify-only"}},
		"a step left out":       {func(c *changed) { c.leaveOut = "Log" }, []string{"healed", "failed", "aborted"}},
		"a timer added":         {func(c *changed) { c.timer = true }, []string{"healed", "component", "busy", "degradation-response", "isolation-expired", "defense-mode"}},
		"people not told":       {func(c *changed) { c.leaveOut = "Escalate" }, []string{"degradation-response", "defense-mode"}},
		"no look back":          {func(c *changed) { c.leaveOut = "LastLift" }, []string{"isolation-expired", "isolation-restored"}},
		"restored unverified":   {func(c *changed) { c.leaveOut = "VerifyGolden" }, []string{"golden-restored", "golden-undone", "golden-plan"}},
		"nothing put back":      {func(c *changed) { c.leaveOut = "UndoRestore" }, []string{"golden-undone", "golden-put-back"}},
		"nothing measured":      {func(c *changed) { c.leaveOut = "MeasureMitigation" }, []string{"mitigation-prevented", "mitigation-useless", "mitigation-aborted"}},
		"another child started": {func(c *changed) { c.child = "Repair" }, []string{"component", "isolation-by-hand", "fault-forecast", "mitigation-useless"}},
	}
	all := readHistories(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ch := &changed{}
			c.change(ch)
			for _, history := range c.finds {
				require.Error(t, replay(t, all[history], ch), history)
			}
		})
	}
	require.NoError(t, replay(t, all["healed"], &changed{}), "without a change it replays")
}

// changed makes the registered workflows do something else than they did when they were recorded.
type changed struct {
	interceptor.WorkerInterceptorBase
	rename   map[string]string
	leaveOut string
	timer    bool
	child    string
}

// InterceptWorkflow wraps every workflow.
func (c *changed) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &changedInbound{changed: c}
	in.Next = next
	return in
}

type changedInbound struct {
	interceptor.WorkflowInboundInterceptorBase
	changed *changed
}

// Init puts the changes between the workflow and the SDK.
func (i *changedInbound) Init(next interceptor.WorkflowOutboundInterceptor) error {
	out := &changedOutbound{changed: i.changed}
	out.Next = next
	return i.Next.Init(out)
}

// ExecuteWorkflow adds a timer at the start.
func (i *changedInbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	if i.changed.timer {
		if err := workflow.Sleep(ctx, 1); err != nil {
			return nil, err
		}
	}
	return i.Next.ExecuteWorkflow(ctx, in)
}

type changedOutbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	changed *changed
}

// ExecuteActivity runs another activity, or none.
func (o *changedOutbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	if name == o.changed.leaveOut {
		future, settable := workflow.NewFuture(ctx)
		settable.Set(nil, nil)
		return future
	}
	if other, ok := o.changed.rename[name]; ok {
		name = other
	}
	return o.Next.ExecuteActivity(ctx, name, args...)
}

// ExecuteChildWorkflow starts another workflow.
func (o *changedOutbound) ExecuteChildWorkflow(ctx workflow.Context, name string, args ...any) workflow.ChildWorkflowFuture {
	if o.changed.child != "" {
		name = o.changed.child
	}
	return o.Next.ExecuteChildWorkflow(ctx, name, args...)
}
