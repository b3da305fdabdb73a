package e2e_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// byHand: a run is started as in the Temporal UI: type SelfHeal, queue shivx, {"component":"demo"}.
func byHand(t *testing.T, server *stand.Server) {
	d := newDemo(t)
	// Checked so seldom that nobody but the person finds the fault.
	s := agentOf(t, server, "by-hand", shivx.RunbookQueue, fill(`
  - name: demo
    checks:
      - every: 10m
        http: {url: <url>}
    ladder:`, "url", "http://"+d.addr+"/healthz")+d.restart()+`
      - name: careful
        use: process
        with: {start: [/bin/false]}
        approval: {required: 1}
`+quick)
	s.awaitHealthy()
	s.awaitConfigured("demo")

	before := d.pid()
	killed := d.kill()
	run := s.start("whatever a person types", map[string]any{"component": "demo"})
	res, err := s.result(run)
	require.NoError(t, err)
	require.Equal(t, shivx.OutcomeHealed, res.Outcome)
	require.Equal(t, s.target("demo"), res.Target)
	s.healed("demo", 1, killed, "restart", shivx.RecoverProcess)
	d.works(before)
	s.isFound(run.GetID())
	s.isDescribed(run)

	held := s.start("held by ana", map[string]any{"component": "demo", "strategy": "careful"})
	s.awaitRun("held by ana", "it to wait", func(r workflows.SelfHealStatus) bool { return r.Approval != nil })
	_, err = s.result(s.start("second", map[string]any{"component": "demo"}))
	var refused *temporal.ApplicationError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, string(shivx.OutcomeRefused), refused.Type())
	require.Contains(t, refused.Message(), "held by ana")
	require.NoError(t, server.Client().SignalWorkflow(t.Context(), "held by ana", "", shivx.SignalAbort, workflows.Abort{By: "ana"}))
	res, err = s.result(held)
	require.NoError(t, err)
	require.Equal(t, shivx.OutcomeAborted, res.Outcome)
	require.Len(t, s.runs("demo"), 2, "a refusal touches nothing and is not in the ledger")

	_, err = s.result(s.start("unknown", map[string]any{"component": "no-such-thing"}))
	require.ErrorContains(t, err, "no host has a component")
	s.VerifyLedger()
}

// isFound checks that the run is found by its search attributes.
func (s *scene) isFound(id string) {
	s.t.Helper()
	query := fmt.Sprintf("%s = 'demo' AND %s = '%s' AND %s = 'healed' AND %s = 'self-heal'",
		shivx.AttrComponent, shivx.AttrHost, s.host, shivx.AttrOutcome, shivx.AttrRunbook)
	stand.Await(s.t, patience, "the run to be found by "+query, func(ctx context.Context) bool {
		list, err := s.server.Client().ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query})
		return err == nil && len(list.Executions) == 1 && list.Executions[0].Execution.WorkflowId == id
	})
}

// isDescribed checks that the Temporal UI tells people what the run did.
func (s *scene) isDescribed(run client.WorkflowRun) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := s.server.Client()
	v, err := c.QueryWorkflow(ctx, run.GetID(), run.GetRunID(), "__temporal_workflow_metadata")
	require.NoError(s.t, err)
	var about sdkpb.WorkflowMetadata
	require.NoError(s.t, v.Get(&about))
	for _, step := range shivx.Steps() {
		require.Contains(s.t, about.CurrentDetails, "| "+string(step)+" |")
	}
	require.Contains(s.t, about.CurrentDetails, "**healed**")
	for _, q := range about.Definition.UpdateDefinitions {
		require.NotEmpty(s.t, q.Description, "update %s", q.Name)
	}

	history := c.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	steps := 0
	for history.HasNext() {
		e, err := history.Next()
		require.NoError(s.t, err)
		if e.EventType != enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED {
			continue
		}
		var summary string
		require.NoError(s.t, converter.GetDefaultDataConverter().FromPayload(e.GetUserMetadata().GetSummary(), &summary))
		require.NotEmpty(s.t, summary, "activity %s", e.GetActivityTaskScheduledEventAttributes().ActivityType.Name)
		steps++
	}
	require.GreaterOrEqual(s.t, steps, 5)
}
