package guardian_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities/guardian"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

const (
	queue    = "guardian-test"
	attacker = "203.0.113.7"
	patience = 30 * time.Second
)

// fleet is a real server with a worker for the runbooks, as hosts see it.
type fleet struct {
	t *testing.T
	c client.Client
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t, stand.NewServer(t).Client()}
	have, err := f.c.OperatorService().ListSearchAttributes(t.Context(), &operatorservice.ListSearchAttributesRequest{Namespace: client.DefaultNamespace})
	require.NoError(t, err)
	for _, a := range shivx.SearchAttributes() {
		kind, err := enumspb.IndexedValueTypeFromString(a.Type)
		require.NoError(t, err)
		if _, ok := have.CustomAttributes[a.Name]; ok {
			continue
		}
		_, err = f.c.OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
			Namespace: client.DefaultNamespace, SearchAttributes: map[string]enumspb.IndexedValueType{a.Name: kind}})
		require.NoError(t, err)
	}
	w := worker.New(f.c, queue, worker.Options{})
	workflows.Register(w)
	(&guardian.Activities{Client: f.c}).Register(w)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	return f
}

// tell tells of an isolation as the agent of a host does.
func (f *fleet) tell(i shivx.Isolation) {
	f.t.Helper()
	_, err := f.c.SignalWithStartWorkflow(f.t.Context(), shivx.IsolationID(i.Source), shivx.SignalIsolate, i,
		guardian.IsolationOptions(queue, i), shivx.TypeThreatIsolation, map[string]string{"source": i.Source})
	require.NoError(f.t, err)
}

// sees waits until a query finds as many runs as wanted, and one of them shows what is wanted.
func (f *fleet) sees(what, query string, ok func(*workflowpb.WorkflowExecutionInfo, shivx.Isolation) bool) (found *workflowpb.WorkflowExecutionInfo) {
	f.t.Helper()
	stand.Await(f.t, patience, what, func(ctx context.Context) bool {
		list, err := f.c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query})
		require.NoError(f.t, err, query)
		for _, run := range list.GetExecutions() {
			if i, err := guardian.IsolationOf(run); err == nil && ok(run, i) {
				found = run
				return true
			}
		}
		return false
	})
	return found
}

func (f *fleet) result(id, runID string) (out workflows.IsolationResult) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	require.NoError(f.t, f.c.GetWorkflow(ctx, id, runID).Get(ctx, &out))
	return out
}

func TestOnAServer(t *testing.T) {
	f := newFleet(t)
	for name, test := range map[string]func(*testing.T, *fleet){
		"hosts follow isolations": hostsFollowIsolations, "an isolation is started by hand": isolationStartedByHand,
		"hosts follow the mode": hostsFollowTheMode,
	} {
		t.Run(name, func(t *testing.T) { test(t, &fleet{t, f.c}) })
	}
}

func hostsFollowIsolations(t *testing.T, f *fleet) {
	began := time.Now().UTC()
	i := shivx.Isolation{Source: attacker, Since: began.Add(-time.Minute), Changed: began.Add(-time.Minute), Until: began.Add(time.Hour),
		Offence: 1, By: shivx.Guardian, Host: "h1", Reason: "11 failures within 1m", Type: shivx.ThreatBruteForceCritical}
	id := shivx.IsolationID(attacker)
	f.tell(i)
	run := f.sees("the isolation", guardian.ChangedIsolations(began.Add(-5*time.Second)), func(_ *workflowpb.WorkflowExecutionInfo, got shivx.Isolation) bool {
		return got.Source == attacker
	})
	shown, err := guardian.IsolationOf(run)
	require.NoError(t, err)
	require.Equal(t, i, shown)
	first := run.GetExecution().GetRunId()
	f.sees("it among all", guardian.RunningIsolations(), func(_ *workflowpb.WorkflowExecutionInfo, got shivx.Isolation) bool { return got.Source == attacker })
	list, err := f.c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: guardian.ChangedIsolations(time.Now().Add(time.Minute))})
	require.NoError(t, err)
	require.Empty(t, list.GetExecutions(), "none is newer")

	// Somebody starts one by hand, in the UI, who does not know the workflow id.
	byHand, err := f.c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "by hand", TaskQueue: queue},
		shivx.TypeThreatIsolation, map[string]any{"source": "::ffff:" + attacker, "for": "24h", "by": "ana", "why": "still there"})
	require.NoError(t, err)
	require.Equal(t, workflows.IsolationHandedOver, f.result(byHand.GetID(), "").Outcome)
	f.sees("the longer term", guardian.RunningIsolations(), func(_ *workflowpb.WorkflowExecutionInfo, got shivx.Isolation) bool {
		return got.Source == attacker && got.Until.After(began.Add(23*time.Hour))
	})

	require.NoError(t, f.c.SignalWorkflow(t.Context(), id, "", shivx.SignalRestore, map[string]string{"by": "ana", "why": "ours"}))
	require.Equal(t, workflows.IsolationRestored, f.result(id, first).Outcome)
	f.sees("the end", guardian.ChangedIsolations(began.Add(-5*time.Second)), func(run *workflowpb.WorkflowExecutionInfo, got shivx.Isolation) bool {
		return got.Lifted && got.By == "ana" && run.GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	})

	f.tell(i) // told again, as after a crash
	again := f.result(id, "")
	require.Equal(t, workflows.IsolationRestored, again.Outcome, "it does not come back")
	require.Equal(t, "ours", again.Why)

	i.Since = time.Now().UTC() // but a new one does
	i.Changed, i.Until, i.Offence = i.Since, i.Since.Add(2*time.Second), 2
	f.tell(i)
	out := f.result(id, "")
	require.Equal(t, workflows.IsolationExpired, out.Outcome)
	require.Equal(t, 2, out.Offence)
	require.WithinDuration(t, i.Until, out.Ended, 2*time.Second)
}

func isolationStartedByHand(t *testing.T, f *fleet) {
	run, err := f.c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "any", TaskQueue: queue},
		shivx.TypeThreatIsolation, map[string]any{"source": "2001:db8::1"})
	require.NoError(t, err)
	require.Equal(t, "isolation/2001:db8::/64", f.result(run.GetID(), "").Run)
	f.sees("the isolation", guardian.RunningIsolations(), func(run *workflowpb.WorkflowExecutionInfo, i shivx.Isolation) bool {
		return i.Source == "2001:db8::/64" && run.GetExecution().GetWorkflowId() == shivx.IsolationID(i.Source)
	})
}

func hostsFollowTheMode(t *testing.T, f *fleet) {
	_, err := f.c.ExecuteWorkflow(t.Context(), guardian.DefenseOptions(queue), shivx.TypeDefenseMode)
	require.NoError(t, err)
	_, err = f.c.ExecuteWorkflow(t.Context(), guardian.DefenseOptions(queue), shivx.TypeDefenseMode, workflows.DefenseInput{})
	require.NoError(t, err, "the one that runs is taken")
	mode := func(ctx context.Context) shivx.FleetMode {
		d, err := f.c.DescribeWorkflowExecution(ctx, shivx.DefenseModeID, "")
		require.NoError(t, err)
		m, err := guardian.FleetModeOf(d.GetWorkflowExecutionInfo())
		require.NoError(t, err)
		return m
	}
	h, err := f.c.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: shivx.DefenseModeID, UpdateName: shivx.UpdateSetMode, WaitForStage: client.WorkflowUpdateStageCompleted,
		Args: []any{shivx.ModeRequest{Mode: shivx.DefenseLockdown, By: "ana", Why: "drill", ConfirmWithin: shivx.Duration(2 * time.Second)}}})
	require.NoError(t, err)
	var c shivx.ModeChange
	require.NoError(t, h.Get(t.Context(), &c))
	require.True(t, c.Unconfirmed)
	require.Equal(t, shivx.DefenseLockdown, mode(t.Context()).To, "as soon as the answer has come")
	number := mode(t.Context()).Number
	stand.Await(t, patience, "nobody to confirm it", func(ctx context.Context) bool { return mode(ctx).To == shivx.DefenseNormal })
	require.Greater(t, mode(t.Context()).Number, number)
}
