package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

const controlArgs = " NAME[@HOST]|WORKFLOW-ID"

func (a *app) approveCommand() *cobra.Command {
	var d workflows.Decision
	c := &cobra.Command{
		Use: "approve" + controlArgs, Short: "Answer a run that waits for approval",
		Example: `  shivx approve redis
  shivx approve redis --deny --note "wait for the backup"
  shivx approve mitigation/disk@web-1 --for free`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeComponent,
		RunE: a.onFleet(func(ctx context.Context, f *fleet, args []string) error {
			return a.control(ctx, f, args[0], shivx.UpdateApprove, d, verb(d.Deny, "refused", "approved")+" by "+d.By)
		}),
	}
	addBy(c, &d.By)
	c.Flags().BoolVar(&d.Deny, "deny", false, "refuse the strategy that waits")
	c.Flags().StringVar(&d.Note, "note", "", "why, in one line")
	c.Flags().StringVar(&d.For, "for", "", "what is answered, or how it begins; refused when the run waits for something else by now")
	return c
}

func (a *app) pauseCommand() *cobra.Command {
	return a.controlCommand("pause", "Hold a run before its next step", shivx.UpdatePause, "paused")
}

func (a *app) resumeCommand() *cobra.Command {
	return a.controlCommand("resume", "Let a paused run go on", shivx.UpdateResume, "resumed")
}

func (a *app) controlCommand(use, short, name, done string) *cobra.Command {
	var by workflows.By
	c := &cobra.Command{
		Use: use + controlArgs, Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeComponent,
		RunE: a.onFleet(func(ctx context.Context, f *fleet, args []string) error {
			return a.control(ctx, f, args[0], name, by, done+" by "+by.By)
		}),
	}
	addBy(c, &by.By)
	return c
}

func (a *app) abortCommand() *cobra.Command {
	var in workflows.Abort
	c := &cobra.Command{
		Use: "abort" + controlArgs, Short: "Stop a run; what it began is taken back",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeComponent,
		RunE: a.onFleet(func(ctx context.Context, f *fleet, args []string) error {
			ref, err := f.current(ctx, args[0])
			if err != nil {
				return err
			}
			if err := f.client.SignalWorkflow(ctx, ref.WorkflowID, ref.RunID, shivx.SignalAbort, in); err != nil {
				return explain("abort "+ref.WorkflowID, err)
			}
			if a.json() {
				return a.document(ref)
			}
			a.out.printf("%s is being stopped; it takes back what it began: shivx runs show %s", ref.WorkflowID, args[0])
			return nil
		}),
	}
	addBy(c, &in.By)
	c.Flags().StringVar(&in.Reason, "reason", "", "why, in one line")
	return c
}

func addBy(c *cobra.Command, by *string) {
	c.Flags().StringVar(by, "by", me(), "who asks")
}

func verb(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

// control sends an update to a run and says that it was done.
func (a *app) control(ctx context.Context, f *fleet, arg, name string, in any, done string) error {
	ref, err := f.current(ctx, arg)
	if err != nil {
		return err
	}
	status, err := update[json.RawMessage](ctx, f, ref.WorkflowID, ref.RunID, name, in) // of whatever kind the run is
	if err != nil {
		return err
	}
	if a.json() {
		return a.document(status)
	}
	a.out.printf("%s: %s", ref.WorkflowID, done)
	return nil
}

// current returns the run that arg means: a workflow id, or the run that holds a component.
func (f *fleet) current(ctx context.Context, arg string) (activities.RunRef, error) {
	if strings.Contains(arg, "/") {
		return activities.RunRef{WorkflowID: arg}, nil
	}
	e, err := f.find(ctx, arg)
	if err != nil {
		return activities.RunRef{}, err
	}
	s, err := f.state(ctx, e.Target)
	if err != nil {
		return activities.RunRef{}, err
	}
	if s.Holder == nil {
		return activities.RunRef{}, hint(fmt.Errorf("no run of %s is under way", e.Target), "shivx runs lists those that ended")
	}
	return s.Holder.RunRef, nil
}
