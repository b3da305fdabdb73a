package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	guardianacts "github.com/shivx/shivx/activities/guardian"
	"github.com/shivx/shivx/workflows"
)

// guardianStories tell of the runs that are no self-heal runs, by the type of their workflow.
func (a *app) guardianStories() map[string]func(context.Context, *fleet, *workflowpb.WorkflowExecutionInfo) error {
	return map[string]func(context.Context, *fleet, *workflowpb.WorkflowExecutionInfo) error{
		shivx.TypeThreatIsolation: a.isolationStory, shivx.TypeDefenseMode: a.defenseStory,
	}
}

// guardianRun is the JSON document of one run of the guardian.
type guardianRun[T any] struct {
	activities.RunRef
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	// Outcome is "running", or how it ended.
	Outcome string `json:"outcome"`
	// Status is the run's own answer; nil when no agent answers.
	Status *T `json:"status,omitempty"`
}

func guardianRunOf[T any](ctx context.Context, f *fleet, info *workflowpb.WorkflowExecutionInfo) guardianRun[T] {
	v := guardianRun[T]{
		RunRef:  activities.RunRef{WorkflowID: info.GetExecution().GetWorkflowId(), RunID: info.GetExecution().GetRunId()},
		Started: info.GetStartTime().AsTime(), Outcome: orElse(attribute(info, shivx.AttrOutcome), string(outcomeRunning)),
	}
	if info.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		v.Ended = info.GetCloseTime().AsTime()
	}
	if s, err := query[T](ctx, f, v.WorkflowID, v.RunID, shivx.QueryStatus); err == nil {
		v.Status = &s
	}
	return v
}

func (v guardianRun[T]) details() [][2]string {
	pairs := [][2]string{{"workflow", v.WorkflowID}, {"run", v.RunID}, {"started", moment(v.Started)}, {"ended", moment(v.Ended)}}
	if v.Status == nil {
		pairs = append(pairs, [2]string{"waits for", "an agent, none of which answers"})
	}
	return pairs
}

// letGo is what a ThreatIsolation calls the end of an isolation.
const letGo = "let go"

// isolationStory tells of a ThreatIsolation.
func (a *app) isolationStory(ctx context.Context, f *fleet, info *workflowpb.WorkflowExecutionInfo) error {
	v := guardianRunOf[workflows.IsolationState](ctx, f, info)
	if a.json() {
		return a.document(v)
	}
	i, err := guardianacts.IsolationOf(info)
	if err != nil && v.Status == nil {
		return fmt.Errorf("read %s: %w", v.WorkflowID, err)
	}
	if v.Status != nil {
		i = v.Status.Isolation
	}
	switch {
	case i.Lifted:
		a.out.line(green, fmt.Sprintf("%s: let go by %s", i.Source, byWhom(i.By, i.Why)))
	case !v.Ended.IsZero():
		a.out.line(green, i.Source+": no longer isolated, "+v.Outcome)
	default:
		a.out.line(red, fmt.Sprintf("%s: isolated %s by %s", i.Source, untilOf(i), i.By))
	}
	a.out.details(append(v.details(), [2]string{"because", without(i.Source, i.Reason)}, [2]string{"threat", string(i.Type)},
		[2]string{"offence", countOf(i.Offence)}, [2]string{"first seen by", i.Host})...)
	if v.Status == nil {
		return nil
	}
	t := table{head: []string{"WHEN", "WHAT", "UNTIL", "BY", "HOST", "WHY"}, free: []int{5}}
	for _, c := range slices.Backward(v.Status.Changes) {
		until := untilMoment(c.Until)
		if c.What == letGo {
			until = ""
		}
		t.add(cells(moment(c.At), c.What, until, c.By, c.Host, without(i.Source, c.Why))...)
	}
	a.section(t)
	return nil
}

// defenseStory tells of the DefenseMode.
func (a *app) defenseStory(ctx context.Context, f *fleet, info *workflowpb.WorkflowExecutionInfo) error {
	v := guardianRunOf[workflows.DefenseState](ctx, f, info)
	if a.json() {
		return a.document(v)
	}
	mode, err := guardianacts.FleetModeOf(info)
	if err != nil {
		return fmt.Errorf("read %s: %w", v.WorkflowID, err)
	}
	a.printMode("fleet: ", mode.ModeChange)
	a.out.details(v.details()...)
	if v.Status == nil {
		return nil
	}
	t := table{head: []string{"WHEN", "MODE", "BY", "HOST", "WHY"}, free: []int{4}}
	for _, c := range slices.Backward(v.Status.Changes) {
		mode := string(c.To)
		if c.From != c.To {
			mode = fmt.Sprintf("%s → %s", c.From, c.To)
		}
		t.add(text(moment(c.At)), cell{mode, modeStyles[c.To]}, text(c.By), text(c.Host), text(c.Reason))
	}
	a.section(t)
	t = table{head: []string{"THREAT", "HOST", "TYPE", "SOURCE"}, free: []int{3}}
	for _, s := range slices.Backward(v.Status.Threats) {
		t.add(cells(moment(s.At), s.Host, string(s.Type), s.Source)...)
	}
	a.section(t)
	return nil
}
