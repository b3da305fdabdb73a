package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// runView is one run as it is shown.
type runView struct {
	activities.RunRef
	// Runbook is the type of the workflow.
	Runbook string `json:"runbook"`
	shivx.Target
	// Set is what a golden run is about, in place of a component; Golden is the one it has taken, verified or restored.
	Set string `json:"set,omitempty"`
	// Subsystem is what a mitigation is for.
	Subsystem string        `json:"subsystem,omitempty"`
	Golden    string        `json:"golden,omitempty"`
	Started   time.Time     `json:"started"`
	Ended     time.Time     `json:"ended,omitzero"`
	Outcome   shivx.Outcome `json:"outcome"`
	Strategy  string        `json:"strategy,omitempty"`
	Took      string        `json:"took,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	// WaitsFor says what holds up a run that is under way.
	WaitsFor string `json:"waits_for,omitempty"`
	Message  string `json:"message,omitempty"`
}

// runFilter says which runs are shown.
type runFilter struct {
	component, set, subsystem, host, outcome string

	since time.Duration
	limit int
	// forecasts lists those, too, that only looked at a host: there are many.
	forecasts bool
}

func (a *app) runsCommand() *cobra.Command {
	var o runFilter
	c := &cobra.Command{
		Use: "runs", Short: "Show the self-heal and golden runs and the mitigations, the latest first",
		Long: `Show the self-heal and golden runs and the mitigations of all hosts, the latest first. RUN is the end of the
run's id; give it to "shivx runs show" for the story of that run. Isolations are no such runs: shivx guardian
status --fleet`,
		Args: noSuchCommand,
	}
	c.RunE = a.onFleet(func(ctx context.Context, f *fleet, _ []string) error { return a.runs(ctx, f, o) })
	fl := c.Flags()
	fl.StringVar(&o.component, "component", "", "only those of this component")
	fl.StringVar(&o.set, "set", "", "only golden runs of this set")
	fl.StringVar(&o.subsystem, "subsystem", "", "only mitigations for this subsystem")
	fl.BoolVar(&o.forecasts, "forecasts", false, "those of FaultForecast, too, which only looks at a host")
	fl.StringVar(&o.host, "host", "", "only those on this host")
	fl.StringVar(&o.outcome, "outcome", "", "only those that ended so, such as healed or failed")
	fl.DurationVar(&o.since, "since", 0, "only those started within this time, such as 24h")
	fl.IntVar(&o.limit, "limit", 20, "how many; 0: all")
	_ = c.RegisterFlagCompletionFunc("outcome", cobra.FixedCompletions(outcomes(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("component", func(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
		return a.completeComponent(cmd, nil, part)
	})
	c.AddCommand(a.runsShowCommand())
	return c
}

// suchAs follows "no runs" when only some were asked for.
func (o runFilter) suchAs() string {
	if o.component+o.set+o.subsystem+o.host+o.outcome == "" && o.since == 0 {
		return " yet"
	}
	return " like that"
}

func outcomes() []string {
	var names []string
	for _, o := range []shivx.Outcome{shivx.OutcomeHealed, shivx.OutcomeHealthy, shivx.OutcomeResolved, shivx.OutcomeAborted,
		shivx.OutcomeFailed, shivx.OutcomeRefused, shivx.OutcomeUnreachable, shivx.OutcomePlanned,
		shivx.OutcomeStored, shivx.OutcomeVerified, shivx.OutcomeDamaged, shivx.OutcomeRestored, shivx.OutcomeUndone,
		shivx.OutcomePrevented, shivx.OutcomeUseless, shivx.OutcomeUnneeded} {
		names = append(names, string(o))
	}
	return names
}

func (o runFilter) query() (string, error) {
	for _, name := range []string{o.component, o.set, o.subsystem, o.host} {
		if name != "" && !safeName.MatchString(name) {
			return "", usagef("%q is not a name", name)
		}
	}
	if o.outcome != "" && !slices.Contains(outcomes(), o.outcome) {
		return "", hint(usagef("--outcome %s is not known", o.outcome), "it is one of: "+strings.Join(outcomes(), ", "))
	}
	if o.since < 0 || o.limit < 0 {
		return "", usagef("--since and --limit cannot be negative")
	}
	q := shownRunbooks(o.forecasts) + where(shivx.AttrComponent, o.component) + where(shivx.AttrSet, o.set) + where(shivx.AttrSubsystem, o.subsystem) + where(shivx.AttrHost, o.host) + where(shivx.AttrOutcome, o.outcome)
	if o.since > 0 {
		q += " AND StartTime >= '" + time.Now().Add(-o.since).UTC().Format(time.RFC3339Nano) + "'"
	}
	return q, nil
}

// shownRunbooks is the query for the runs that are listed; forecasts says whether those that only look at a host are.
func shownRunbooks(forecasts bool) string {
	kinds := []string{"'" + shivx.RunbookSelfHeal + "'", "'" + shivx.RunbookMitigation + "'"}
	if forecasts {
		kinds = append(kinds, "'"+shivx.RunbookFaultForecast+"'")
	}
	for _, a := range shivx.GoldenActions() {
		kinds = append(kinds, "'"+activities.GoldenRunbook(a)+"'")
	}
	return fmt.Sprintf("%s IN (%s)", shivx.AttrRunbook, strings.Join(kinds, ", "))
}

func (a *app) runs(ctx context.Context, f *fleet, o runFilter) error {
	q, err := o.query()
	if err != nil {
		return err
	}
	infos, err := f.listRuns(ctx, q, o.limit)
	if err != nil {
		return err
	}
	runs := make([]runView, len(infos))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, info := range infos {
		group.Go(func() error {
			runs[i] = f.lookAt(ctx, info)
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return explain("look at the runs", err)
	}
	slices.SortStableFunc(runs, func(a, b runView) int { return cmp.Compare(b.Started.UnixNano(), a.Started.UnixNano()) })
	if a.json() {
		return a.document(runs)
	}
	if len(runs) == 0 {
		a.err.line(normal, "no runs"+o.suchAs()+"; Temporal keeps them for as long as its retention says, the ledger longer: shivx ledger show")
		return nil
	}
	a.out.table(runTable(runs))
	return nil
}

// listRuns lists runs, the latest first; limit 0 means all.
func (f *fleet) listRuns(ctx context.Context, query string, limit int) ([]*workflowpb.WorkflowExecutionInfo, error) {
	var infos []*workflowpb.WorkflowExecutionInfo
	for token := []byte(nil); ; {
		list, err := f.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: f.namespace, Query: query, PageSize: page, NextPageToken: token})
		if err != nil {
			return nil, explain("list the runs", err)
		}
		infos = append(infos, list.Executions...)
		token = list.NextPageToken
		if limit > 0 && len(infos) >= limit {
			return infos[:limit], nil
		}
		if len(token) == 0 {
			return infos, nil
		}
	}
}

// lookAt reads what a list shows of a run.
func (f *fleet) lookAt(ctx context.Context, info *workflowpb.WorkflowExecutionInfo) (v runView) {
	kind := info.GetType().GetName()
	_, golden := goldenActions[kind]
	switch {
	case golden:
		v, _ = f.lookGolden(ctx, info)
	case kind == shivx.TypeMitigation:
		v, _ = f.lookMitigation(ctx, info)
	case kind == shivx.TypeFaultForecast:
		v, _ = f.lookForecast(ctx, info)
	default:
		v, _ = f.look(ctx, info)
	}
	return v
}

// settle reads how a run has ended into res and the view; said is what res says of it, once it is read.
func (f *fleet) settle(ctx context.Context, v *runView, info *workflowpb.WorkflowExecutionInfo, res any, said func() (shivx.Outcome, string)) {
	v.Ended = info.CloseTime.AsTime()
	v.Took = took(v.Ended.Sub(v.Started))
	err := f.client.GetWorkflow(ctx, v.WorkflowID, v.RunID).Get(ctx, res)
	outcome, message, err := ended(err, v.RunRef, res)
	if err != nil {
		v.Message = err.Error()
		return
	}
	if v.Outcome, v.Message = said(); v.Outcome == "" {
		v.Outcome, v.Message = outcome, orElse(message, v.Message)
	}
}

// runOf is what a list of runs says of one.
func runOf(info *workflowpb.WorkflowExecutionInfo) runView {
	return runView{
		RunRef:  activities.RunRef{WorkflowID: info.Execution.WorkflowId, RunID: info.Execution.RunId},
		Runbook: info.GetType().GetName(), Set: attribute(info, shivx.AttrSet), Subsystem: attribute(info, shivx.AttrSubsystem),
		Target:  shivx.Target{Component: attribute(info, shivx.AttrComponent), Host: attribute(info, shivx.AttrHost)},
		Started: info.StartTime.AsTime(), Outcome: shivx.Outcome(attribute(info, shivx.AttrOutcome)),
	}
}

// look reads what a run was started with and how it ended or stands. It asks Temporal alone, but
// for a run under way, which its agent answers for.
func (f *fleet) look(ctx context.Context, info *workflowpb.WorkflowExecutionInfo) (runView, workflows.SelfHealStatus) {
	v := runOf(info)
	if in, err := inputOf[workflows.SelfHealInput](ctx, f, v.RunRef); err == nil {
		v.Reason = why(in)
	}
	if info.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		v.Outcome, v.Took = outcomeRunning, took(time.Since(v.Started))
		status, err := query[workflows.SelfHealStatus](ctx, f, v.WorkflowID, v.RunID, shivx.QueryStatus)
		v.WaitsFor, v.Strategy = status.WaitsFor, status.Strategy
		if err != nil {
			v.WaitsFor = "its agent, which does not answer"
		}
		return v, status
	}
	v.Ended = info.CloseTime.AsTime()
	v.Took = took(v.Ended.Sub(v.Started))
	res, err := f.result(ctx, v.RunRef)
	if err != nil {
		v.Message = err.Error()
		return v, workflows.SelfHealStatus{}
	}
	if res.Component != "" {
		v.Target = res.Target
	}
	v.Outcome, v.Strategy, v.Message = res.Outcome, res.Strategy, res.Message
	return v, workflows.SelfHealStatus{Target: v.Target, Reason: v.Reason, Steps: res.Steps, Isolated: res.Isolated}
}

// inputOf is what a run was started with.
func inputOf[In any](ctx context.Context, f *fleet, ref activities.RunRef) (In, error) {
	var in In
	history, err := f.client.WorkflowService().GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: f.namespace, MaximumPageSize: 1,
		Execution: &commonpb.WorkflowExecution{WorkflowId: ref.WorkflowID, RunId: ref.RunID},
	})
	if err != nil || len(history.History.Events) == 0 {
		return in, explain("read the input of "+ref.WorkflowID, err)
	}
	started := history.History.Events[0].GetWorkflowExecutionStartedEventAttributes()
	err = converter.GetDefaultDataConverter().FromPayloads(started.GetInput(), &in)
	return in, err
}

// why says in a line why a run was started.
func why(in workflows.SelfHealInput) string {
	switch {
	case in.Reason != "":
		return strings.TrimSuffix(in.Reason, ":")
	case in.Finding != nil:
		return in.Finding.Reason
	case in.RequestedBy != "":
		return "asked for by " + in.RequestedBy
	}
	return "started by hand"
}

// attribute is a search attribute of a run, "" when it has none.
func attribute(info *workflowpb.WorkflowExecutionInfo, name string) string {
	var value string
	if p, ok := info.GetSearchAttributes().GetIndexedFields()[name]; ok {
		if err := converter.GetDefaultDataConverter().FromPayload(p, &value); err != nil {
			return ""
		}
	}
	return value
}

// shortEnd is how much of a run's id is shown. Its beginning is a time and the same in many.
const shortEnd = 8

// what the run is about: a component, a subsystem, or what is done with a set.
func (v runView) what() string {
	switch {
	case v.Set != "":
		return string(goldenActions[v.Runbook]) + " " + v.Set
	case v.Subsystem != "":
		return "mitigate " + v.Subsystem
	case v.Runbook == shivx.TypeFaultForecast:
		return "forecast"
	default:
		return v.Component
	}
}

func runTable(runs []runView) table {
	t := table{head: []string{"STARTED", "TARGET", "HOST", "OUTCOME", "STRATEGY", "TOOK", "RUN", "REASON", "WORKFLOW"}, free: []int{7, 8}, whole: []int{0, 6}}
	for _, r := range runs {
		reason := r.Reason
		if r.WaitsFor != "" {
			reason = "waits for: " + r.WaitsFor
		}
		t.add(text(moment(r.Started)), text(r.what()), text(r.Host), cell{string(r.Outcome), outcomeStyle(r.Outcome)},
			text(r.Strategy), text(r.Took), cell{r.RunID[max(0, len(r.RunID)-shortEnd):], faint}, text(reason), cell{r.WorkflowID, faint})
	}
	return t
}
