package agent

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/shivx/shivx"
)

// isolations stands for the ThreatIsolations of a fleet.
type isolations struct {
	client.Client
	runs        map[string]bool
	told, begun []shivx.Isolation
}

func (c *isolations) SignalWorkflow(_ context.Context, id, _, _ string, arg any) error {
	if !c.runs[id] {
		return serviceerror.NewNotFound("no such run")
	}
	c.told = append(c.told, arg.(shivx.Isolation))
	return nil
}

func (c *isolations) SignalWithStartWorkflow(_ context.Context, _, _ string, arg any, _ client.StartWorkflowOptions, _ any, _ ...any) (client.WorkflowRun, error) {
	c.begun = append(c.begun, arg.(shivx.Isolation))
	return nil, nil
}

func TestStatementsAboutASourceAreToldToWhomTheyConcern(t *testing.T) {
	const source = "203.0.113.7"
	at := time.Now().Add(-time.Hour)
	isolation := func(edit func(*shivx.Isolation)) shivx.Isolation {
		i := shivx.Isolation{Source: source, Since: at, Changed: at, Until: at.Add(24 * time.Hour), By: shivx.Guardian}
		edit(&i)
		return i
	}
	inForce := isolation(func(*shivx.Isolation) {})
	over := isolation(func(i *shivx.Isolation) { i.Until = at.Add(10 * time.Minute) })
	lifted := isolation(func(i *shivx.Isolation) { i.Lifted, i.By, i.Changed = true, "ana", at.Add(time.Minute) })
	shortened := isolation(func(i *shivx.Isolation) { i.By, i.Changed, i.Until = "ana", at.Add(time.Minute), at.Add(2*time.Minute) })
	for name, c := range map[string]struct {
		says        shivx.Isolation
		runs        bool
		told, begun bool
	}{
		"it holds":                           {says: inForce, begun: true},
		"its term is over":                   {says: over, runs: true},
		"it was lifted":                      {says: lifted, runs: true, told: true},
		"it was lifted, and nobody knows it": {says: lifted},
		"a person has made it shorter, and that term is over":              {says: shortened, runs: true, told: true},
		"a person has made it shorter, which is over, and nobody knows it": {says: shortened},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := newLedgerAgent(t, t.TempDir())
			f := &isolations{runs: map[string]bool{shivx.IsolationID(source): c.runs}}
			a.client = f
			require.NoError(t, a.tellIsolation(t.Context(), c.says))
			require.Equal(t, c.told, len(f.told) == 1)
			require.Equal(t, c.begun, len(f.begun) == 1)
		})
	}
}

// TestAClockBehindTheServersDoesNotReadADayAgainAndAgain: there is always a run that changed just now.
func TestAClockBehindTheServersDoesNotReadADayAgainAndAgain(t *testing.T) {
	a, _ := newLedgerAgent(t, t.TempDir())
	before := time.Now().Add(-time.Minute).UTC().Truncate(time.Millisecond)
	run := func(at time.Time) *workflowpb.WorkflowExecutionInfo {
		p, err := converter.GetDefaultDataConverter().ToPayload(at)
		require.NoError(t, err)
		return &workflowpb.WorkflowExecutionInfo{
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{shivx.AttrChanged: p}}}
	}
	_, newest := a.isolationsOf([]*workflowpb.WorkflowExecutionInfo{
		run(time.Now().Add(time.Minute)), run(before.Add(-time.Hour)), run(before)})
	require.Equal(t, before, newest.UTC())
}
