package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

func (a *app) mitigateCommand() *cobra.Command {
	var in shivx.MitigationInput
	var follow bool
	c := &cobra.Command{
		Use: "mitigate SUBSYSTEM[@HOST]", Short: "Act before a failure that is forecast, or show what would be done",
		Long: `Start the mitigation that the configuration has for a subsystem: its actions are tried in their order until one
helps, which is judged against what was forecast without it. Without a host the one of the configuration is meant.

A mitigation takes hours when it waits for a quiet time or the end of a blackout; with --follow it is followed to its
end. The exit code tells how it ended: 0 prevented, not needed or planned, 3 nothing helped, 5 refused.`,
		Example: `  shivx mitigate memory --plan
  shivx mitigate disk@db1 --action free --follow
  shivx mitigate memory --force --reason "before the sale begins"`,
		Args: cobra.ExactArgs(1),
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := a.subsystemTarget(args[0])
		if err != nil {
			return err
		}
		in.SubsystemTarget = t
		return a.onFleet(func(ctx context.Context, f *fleet, _ []string) error { return a.mitigate(ctx, f, in, follow) })(cmd, args)
	}
	fl := c.Flags()
	addPlan(c, &in.Plan)
	fl.StringVar(&in.Action, "action", "", "take that one alone, also when nothing is forecast")
	fl.BoolVar(&in.Force, "force", false, "act although nothing is forecast, the budget is used up, it is a blackout, or it did not help before")
	fl.StringVar(&in.Reason, "reason", "", "why, in one line")
	fl.StringVar(&in.RequestedBy, "by", me(), "who asks")
	fl.BoolVar(&follow, "follow", false, "follow the run to its end; a plan always is")
	return c
}

// subsystemTarget reads SUBSYSTEM[@HOST]. Without a host this one is meant, for each has a memory.
func (a *app) subsystemTarget(arg string) (shivx.SubsystemTarget, error) {
	t, err := shivx.ParseSubsystemTarget(arg)
	if err != nil {
		return t, withCode(exitUsage, err)
	}
	if t.Host != "" {
		return t, nil
	}
	cfg, err := a.agentConfig()
	if err != nil {
		return t, err
	}
	if cfg == nil {
		return t, hint(usagef("which host's %s is meant?", t.Subsystem), "write "+t.Subsystem+"@HOST; there is no configuration that names this host; name one with --config FILE")
	}
	t.Host = cfg.Host
	return t, nil
}

// mitigate starts a Mitigation.
func (a *app) mitigate(ctx context.Context, f *fleet, in shivx.MitigationInput, follow bool) error {
	id := shivx.MitigationID(in.SubsystemTarget)
	if in.Plan {
		id += "/plan/" + uuid.NewString()
	}
	run, err := f.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: f.runbookQueue(ctx), WorkflowTaskTimeout: shivx.TaskTimeout,
		TypedSearchAttributes:                    activities.MitigationAttributes(in.SubsystemTarget),
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            activities.MitigationSummary(in.SubsystemTarget), StaticDetails: activities.MitigationDetails,
	}, shivx.TypeMitigation, in)
	if err != nil {
		return underWay(id, err)
	}
	ref := activities.RunRef{WorkflowID: run.GetID(), RunID: run.GetRunID()}
	if !follow && !in.Plan {
		if a.json() {
			return a.document(ref)
		}
		a.out.printf("started %s %s", ref.WorkflowID, ref.RunID)
		a.out.line(faint, "how it stands: shivx runs show "+ref.WorkflowID)
		return nil
	}
	return a.followMitigation(ctx, f, run, ref)
}

// followMitigation prints the steps of a run as they end, and its result.
func (a *app) followMitigation(ctx context.Context, f *fleet, run client.WorkflowRun, ref activities.RunRef) error {
	shown, waits := 0, ""
	result, err := watch(ctx, f, run, shivx.QueryStatus, func(s workflows.MitigationStatus) {
		for ; shown < len(s.Steps) && s.Steps[shown].Outcome != shivx.StepWaiting && s.Steps[shown].Outcome != shivx.StepRunning; shown++ {
			a.toldMitigation(s.Steps[shown])
		}
		if s.WaitsFor != waits && s.WaitsFor != "" {
			a.runWaits(ref, s.WaitsFor, s.Approval)
		}
		waits = s.WaitsFor
	})
	if ctx.Err() != nil {
		return err
	}
	outcome, message, fault := ended(err, ref, &result)
	if fault != nil {
		return fault
	}
	var res shivx.MitigationResult
	if len(result) > 0 {
		if err := json.Unmarshal(result, &res); err != nil {
			return err
		}
	}
	if res.Outcome == "" { // ended by Temporal, or before it had a result
		code := exitNotHealed
		if coded := explain("", err); exitCode(coded) != exitError {
			code = exitCode(coded)
		}
		return withCode(code, errors.New(orElse(message, string(outcome))))
	}
	return a.mitigated(ref, res)
}

// toldMitigation prints a step that has ended.
func (a *app) toldMitigation(s shivx.MitigationStepReport) {
	if a.json() {
		_ = a.jsonLine(a.err.w, map[string]any{"step": s})
		return
	}
	mark := goldenMark(s.Outcome)
	_, _ = fmt.Fprintln(a.out.w, a.out.paint(mark.style, mark.text)+
		clean(fmt.Sprintf(" %-18s %8s  %s", stepName(s), took(seconds(s.Seconds)), s.Summary)))
}

// stepName is a step with its action.
func stepName(s shivx.MitigationStepReport) string {
	if s.Action == "" {
		return string(s.Name)
	}
	return string(s.Name) + " " + s.Action
}

// mitigationRun is the JSON document of a run that was followed.
type mitigationRun struct {
	activities.RunRef
	shivx.MitigationResult
}

// mitigated says how a run ended and returns the exit code for it.
func (a *app) mitigated(ref activities.RunRef, res shivx.MitigationResult) error {
	code := codeOf(res.Outcome)
	if a.json() {
		return errors.Join(a.document(mitigationRun{ref, res}), quiet(code))
	}
	a.tellPlan(res.Actions)
	a.tellEffects(res.Effects)
	a.out.line(outcomeStyle(res.Outcome), fmt.Sprintf("%s: %s — %s", res.SubsystemTarget, res.Outcome, res.Message))
	if code != exitOK {
		a.out.line(faint, "the whole story: shivx runs show "+ref.WorkflowID+" "+ref.RunID)
	}
	return quiet(code)
}
