package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// searched is how many of the latest runs a part of an id is looked for in.
const searched = 2000

func (a *app) runsShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME[@HOST]|RUN|WORKFLOW-ID [RUN]", Short: "Tell the story of one run",
		Long: `Tell the story of one run: its steps, the strategies tried, what each changed.

The run is named by its component (the latest run), by its run id or the end of it as "shivx runs"
shows it, or by its workflow id, with the run id behind it unless the latest run is meant. The runs of
the guardian have the ids isolation/SOURCE and defense-mode, golden runs golden/ACTION/SET@HOST,
mitigations mitigation/SUBSYSTEM@HOST, forecasts forecast@HOST; those that a schedule has started have their time behind it.`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: a.completeComponent,
		RunE: a.onFleet(func(ctx context.Context, f *fleet, args []string) error {
			ref, err := f.pick(ctx, strings.Fields(strings.Join(args, " ")))
			if err != nil {
				return err
			}
			d, err := f.client.DescribeWorkflowExecution(ctx, ref.WorkflowID, ref.RunID)
			if err != nil {
				return explain("look for "+ref.WorkflowID, err)
			}
			info := d.WorkflowExecutionInfo
			if show, ok := a.guardianStories()[info.GetType().GetName()]; ok {
				return show(ctx, f, info)
			}
			if _, golden := goldenActions[info.GetType().GetName()]; golden {
				v, status := f.lookGolden(ctx, info)
				return a.goldenStory(v, status)
			}
			switch info.GetType().GetName() {
			case shivx.TypeMitigation:
				v, status := f.lookMitigation(ctx, info)
				return a.mitigationStory(v, status)
			case shivx.TypeFaultForecast:
				v, res := f.lookForecast(ctx, info)
				return a.forecastStory(v, res)
			}
			v, status := f.look(ctx, info)
			return a.story(v, status)
		}),
	}
}

// pick returns the run that the arguments of show mean.
func (f *fleet) pick(ctx context.Context, args []string) (activities.RunRef, error) {
	switch {
	case len(args) == 0:
		return activities.RunRef{}, usagef("which run?")
	case len(args) == 2:
		return activities.RunRef{WorkflowID: args[0], RunID: args[1]}, nil
	case strings.Contains(args[0], "/"), args[0] == shivx.DefenseModeID:
		return activities.RunRef{WorkflowID: args[0]}, nil
	case strings.HasPrefix(args[0], shivx.FaultForecastID("")):
		return f.latestForecast(ctx, args[0])
	}
	infos, err := f.listRuns(ctx, shownRunbooks(true), searched)
	if err != nil {
		return activities.RunRef{}, err
	}
	var found *workflowpb.WorkflowExecutionInfo
	for _, info := range infos {
		t := shivx.Target{Component: attribute(info, shivx.AttrComponent), Host: attribute(info, shivx.AttrHost)}
		named := t.Component != "" && (args[0] == t.Component || args[0] == t.String())
		run := info.Execution.RunId
		byID := len(args[0]) >= 4 && (strings.HasSuffix(run, args[0]) || strings.HasPrefix(run, args[0]))
		switch {
		case !named && !byID:
		case found == nil:
			found = info
		case byID && !named:
			return activities.RunRef{}, hint(usagef("%s fits several runs", args[0]), "give more of the run's id")
		case info.StartTime.AsTime().After(found.StartTime.AsTime()):
			found = info
		}
	}
	if found == nil {
		return activities.RunRef{}, hint(fmt.Errorf("there is no run %s", args[0]),
			"shivx runs lists them; what Temporal has forgotten is in the ledger: shivx ledger show")
	}
	return activities.RunRef{WorkflowID: found.Execution.WorkflowId, RunID: found.Execution.RunId}, nil
}

// latestForecast is the run that forecast@HOST means: the latest one, as those of a schedule have their time behind it.
func (f *fleet) latestForecast(ctx context.Context, id string) (activities.RunRef, error) {
	host := strings.TrimPrefix(id, shivx.FaultForecastID(""))
	if !safeName.MatchString(host) {
		return activities.RunRef{WorkflowID: id}, nil
	}
	infos, err := f.listRuns(ctx, fmt.Sprintf("%s = '%s'", shivx.AttrRunbook, shivx.RunbookFaultForecast)+where(shivx.AttrHost, host), 1)
	if err != nil || len(infos) == 0 {
		return activities.RunRef{WorkflowID: id}, err
	}
	return activities.RunRef{WorkflowID: infos[0].Execution.WorkflowId, RunID: infos[0].Execution.RunId}, nil
}

// runStory is the JSON document of one run.
type runStory struct {
	runView
	Steps     []activities.StepReport `json:"steps"`
	Isolated  bool                    `json:"isolated,omitempty"`
	Approval  *shivx.Approval         `json:"approval,omitempty"`
	Decisions []workflows.Decision    `json:"decisions,omitempty"`
}

func (a *app) story(v runView, st workflows.SelfHealStatus) error {
	if a.json() {
		return a.document(runStory{v, st.Steps, st.Isolated, st.Approval, st.Decisions})
	}
	head := fmt.Sprintf("%s: %s", v.Target, v.Outcome)
	if v.Message != "" {
		head += " — " + v.Message
	}
	a.out.line(outcomeStyle(v.Outcome), head)
	a.out.details([][2]string{
		{"workflow", v.WorkflowID}, {"run", v.RunID}, {"because", v.Reason},
		{"started", moment(v.Started)}, {"took", v.Took}, {"waits for", v.WaitsFor},
		{"traffic", verb(st.Isolated, "isolated", "")}, {"decided", decisions(st.Decisions)},
	}...)
	if len(st.Steps) == 0 {
		return nil
	}
	t := table{head: []string{"", "STEP", "STRATEGY", "TOOK", "WHAT"}, free: []int{4}}
	for _, s := range st.Steps {
		t.rows = append(t.rows, stepTable([]activities.StepReport{s}).rows...)
		for _, c := range s.Changes {
			t.add(text(""), text(""), text(""), text(""), cell{"· " + c, faint})
		}
	}
	a.out.line(normal, "")
	a.out.table(t)
	return nil
}

func decisions(ds []workflows.Decision) string {
	var said []string
	for _, d := range ds {
		said = append(said, strings.TrimSpace(fmt.Sprintf("%s %s %s", d.By, verb(d.Deny, "refuses", "approves"), d.Note)))
	}
	return strings.Join(said, "; ")
}
