package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/workflows"
)

// cutWithSignal has the history cut in the very task in which a signal of that name comes.
type cutWithSignal struct {
	interceptor.WorkerInterceptorBase
	env  *testsuite.TestWorkflowEnvironment
	name string
}

func (c *cutWithSignal) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &cutInbound{cut: c}
	in.Next = next
	return in
}

type cutInbound struct {
	interceptor.WorkflowInboundInterceptorBase
	cut *cutWithSignal
}

func (i *cutInbound) HandleSignal(ctx workflow.Context, in *interceptor.HandleSignalInput) error {
	if in.SignalName == i.cut.name {
		i.cut.env.SetContinueAsNewSuggested(true)
	}
	return i.Next.HandleSignal(ctx, in)
}

// cutAtSignal has the history of env cut in the task in which a signal of that name comes.
func cutAtSignal(env *testsuite.TestWorkflowEnvironment, name string) {
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&cutWithSignal{env: env, name: name}}})
}

// nextInput reads the input with which a workflow goes on.
func nextInput(t *testing.T, err error, in any) {
	t.Helper()
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, err, &next)
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(next.Input, in))
}

func TestDegradationContinuesAsNewWithTheChangeThatCameInTheSameTask(t *testing.T) {
	r := newResponse(t)
	cutAtSignal(r.env, shivx.SignalHealth)
	r.at(time.Minute, func() { r.goTo(shivx.Level3) })
	r.env.ExecuteWorkflow(shivx.TypeDegradationResponse, workflows.DegradationInput{Host: "h1"})
	var in workflows.DegradationInput
	nextInput(t, r.env.GetWorkflowError(), &in)
	require.Equal(t, []uint64{1}, numbers(in.State.Changes))
}

func TestComponentContinuesAsNewWithTheFaultThatCameInTheSameTask(t *testing.T) {
	e := newEntity(t, newFakeHost())
	cutAtSignal(e.env, shivx.SignalFault)
	e.env.RegisterDelayedCallback(func() {
		e.env.SignalWorkflow(shivx.SignalConfigure, shivx.Policy{Limits: shivx.DefaultLimits()})
		e.env.SignalWorkflow(shivx.SignalFault, shivx.Finding{ID: "f1", Target: demo, Signal: "http", Reason: "down"})
	}, time.Minute)
	e.env.ExecuteWorkflow(shivx.TypeComponent, workflows.ComponentInput{Target: demo})
	var in workflows.ComponentInput
	nextInput(t, e.env.GetWorkflowError(), &in)
	require.Len(t, in.State.Pending, 1)
}

func TestIsolationContinuesAsNewWithWhatCameInTheSameTask(t *testing.T) {
	r := newIsolating(t)
	cutAtSignal(r.env, shivx.SignalIsolate)
	r.at(time.Minute, func() { r.isolate(r.begun("h2", time.Minute, 2*time.Hour)) })
	_, err := r.run(map[string]string{"source": attacker})
	var in workflows.IsolationInput
	nextInput(t, err, &in)
	require.Equal(t, r.began.Add(2*time.Hour+time.Minute), in.State.Until)
	require.Equal(t, in.State.Isolation, r.last())
}
