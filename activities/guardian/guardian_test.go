package guardian_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/mocks"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/guardian"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

// run is how the server lists a run with a memo.
func run(t *testing.T, id, runID, key string, memo any) *workflowpb.WorkflowExecutionInfo {
	t.Helper()
	p, err := converter.GetDefaultDataConverter().ToPayload(memo)
	require.NoError(t, err)
	return &workflowpb.WorkflowExecutionInfo{
		Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: runID},
		Memo:      &commonpb.Memo{Fields: map[string]*commonpb.Payload{key: p}},
	}
}

func TestTheMemosAreReadAsTheyWereWritten(t *testing.T) {
	i := shivx.Isolation{Source: "2001:db8::/64", Since: at, Changed: at, By: shivx.Guardian, Offence: 2}
	o := guardian.IsolationOptions("q", i)
	require.Equal(t, "isolation/2001:db8::/64", o.ID)
	require.Equal(t, "q", o.TaskQueue)
	require.Equal(t, enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, o.WorkflowIDConflictPolicy)
	require.Equal(t, enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE, o.WorkflowIDReusePolicy)
	changed, _ := o.TypedSearchAttributes.GetTime(activities.AttrChanged)
	require.Equal(t, at, changed)
	_, named := o.TypedSearchAttributes.GetKeyword(activities.AttrHost)
	require.False(t, named, "no host has begun it")
	got, err := guardian.IsolationOf(run(t, o.ID, "r", "isolation", o.Memo["isolation"]))
	require.NoError(t, err)
	require.Equal(t, i, got)

	d := guardian.DefenseOptions("q")
	require.Equal(t, "defense-mode", d.ID)
	mode, err := guardian.FleetModeOf(run(t, d.ID, "r", "mode", d.Memo["mode"]))
	require.NoError(t, err)
	require.Equal(t, shivx.DefenseNormal, mode.To)
	require.Zero(t, mode.Number, "every change of the run is newer")
}

func TestAMemoThatIsNotThereOrCannotBeReadIsAnError(t *testing.T) {
	_, err := guardian.IsolationOf(&workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: "by hand"}})
	require.ErrorContains(t, err, `the run by hand has no memo "isolation" yet`)
	_, err = guardian.FleetModeOf(nil)
	require.Error(t, err)
	_, err = guardian.FleetModeOf(run(t, "defense-mode", "r", "mode", "nonsense"))
	require.ErrorContains(t, err, `read the memo "mode" of the run defense-mode`)
}

func TestLastLiftIsTheLatestOfTheOtherRuns(t *testing.T) {
	const id = "isolation/203.0.113.7"
	lifted := func(d time.Duration) shivx.Isolation {
		return shivx.Isolation{Source: "203.0.113.7", Changed: at.Add(d), Lifted: true}
	}
	c := &mocks.Client{}
	c.On("ListWorkflow", mock.Anything, mock.MatchedBy(func(r *workflowservice.ListWorkflowExecutionsRequest) bool {
		return r.Query == "WorkflowType = 'ThreatIsolation' AND WorkflowId = 'isolation/203.0.113.7'"
	})).Return(&workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{
		run(t, id, "own", "isolation", lifted(time.Hour)),
		run(t, id, "expired", "isolation", shivx.Isolation{Source: "203.0.113.7", Changed: at.Add(time.Hour)}),
		run(t, id, "first", "isolation", lifted(0)),
		run(t, id, "second", "isolation", lifted(time.Minute)),
		{Execution: &commonpb.WorkflowExecution{WorkflowId: id}},
	}}, nil)
	a := &guardian.Activities{Client: c}
	got, err := a.LastLift(context.Background(), activities.LastLiftInput{Source: "203.0.113.7", RunID: "own"})
	require.NoError(t, err)
	require.Equal(t, lifted(time.Minute), *got.Lift)

	_, err = a.LastLift(context.Background(), activities.LastLiftInput{Source: "' OR WorkflowId != '"})
	require.ErrorContains(t, err, "is no address")
}

func TestQueriesNameWhatHostsFollow(t *testing.T) {
	require.Equal(t, "WorkflowType = 'ThreatIsolation' AND ExecutionStatus = 'Running'", guardian.RunningIsolations())
	require.Equal(t, "WorkflowType = 'ThreatIsolation' AND ExecutionStatus != 'ContinuedAsNew' AND ShivxChanged > '2026-01-02T03:04:05.000006Z'",
		guardian.ChangedIsolations(at))
}
