package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/component"
	"github.com/shivx/shivx/workflows"
)

// healFlags are the flags of a heal.
type healFlags struct {
	plan     bool
	strategy string
	window   time.Duration
	force    bool
	reason   string
	by       string
	wait     bool
	noWait   bool
	// windowSet tells a window of 0s from none.
	windowSet bool
}

func (a *app) healCommand() *cobra.Command {
	var o healFlags
	c := &cobra.Command{
		Use: "heal NAME[@HOST]", Short: "Heal a component, or show what a heal would do",
		Long: `Ask the component's entity for a heal: isolate, checkpoint, recover, validate, reintegrate, log.

On a terminal, or with --wait, the run is followed to its end. The exit code tells how it ended:
0 in service again (or planned), 3 not healed, 5 refused because the component is busy or in
maintenance.`,
		Example: `  shivx heal demo
  shivx heal redis@db1 --strategy restore --reason "keys are missing"
  shivx heal demo --plan`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeComponent,
	}
	c.RunE = a.onFleet(func(ctx context.Context, f *fleet, args []string) error {
		o.windowSet = c.Flags().Changed("window")
		return a.heal(ctx, f, args[0], o)
	})
	fl := c.Flags()
	fl.BoolVar(&o.plan, "plan", false, "show what would be done, and change nothing")
	fl.StringVar(&o.strategy, "strategy", "", "begin the ladder at this strategy")
	addHealFlags(c, &o)
	fl.BoolVar(&o.force, "force", false, "heal also in maintenance")
	return c
}

// addHealFlags adds the flags that heal and verify share.
func addHealFlags(c *cobra.Command, o *healFlags) {
	fl := c.Flags()
	fl.DurationVar(&o.window, "window", 0, "observe this long before it counts as healed, such as 5s; else as configured")
	fl.StringVar(&o.reason, "reason", "", "why, in one line")
	fl.StringVar(&o.by, "by", me(), "who asks")
	fl.BoolVar(&o.wait, "wait", false, "follow the run to its end; the default on a terminal")
	fl.BoolVar(&o.noWait, "no-wait", false, "return when the run has started")
	c.MarkFlagsMutuallyExclusive("wait", "no-wait")
}

func (a *app) heal(ctx context.Context, f *fleet, arg string, o healFlags) error {
	if err := o.check(); err != nil {
		return err
	}
	e, err := f.find(ctx, arg)
	if err != nil {
		return err
	}
	if o.plan {
		return a.plan(ctx, f, e, o)
	}
	ref, err := f.requestHeal(ctx, e, workflows.HealRequest{
		By: o.by, Reason: o.reason, Strategy: o.strategy, Window: o.observe(), Force: o.force,
	})
	if err != nil {
		return err
	}
	return a.started(ctx, f, e.Target, ref, o)
}

func (o healFlags) check() error {
	if o.by == "" {
		return hint(usagef("nobody asks"), "say who: --by NAME")
	}
	if o.window < 0 {
		return usagef("--window %s is negative", o.window)
	}
	return nil
}

// observe is the window asked for, nil if none was.
func (o healFlags) observe() *shivx.Duration {
	if !o.windowSet {
		return nil
	}
	d := shivx.Duration(o.window)
	return &d
}

// requestHeal asks the entity for a heal, and starts the entity if it has ended meanwhile.
func (f *fleet) requestHeal(ctx context.Context, e entity, r workflows.HealRequest) (activities.RunRef, error) {
	var ref activities.RunRef
	limited, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	h, err := f.client.UpdateWithStartWorkflow(limited, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: f.client.NewWithStartWorkflowOperation(
			component.EntityOptions(e.queue, e.Target), shivx.TypeComponent, e.Target),
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateID: uuid.NewString(), UpdateName: shivx.UpdateHeal, Args: []any{r},
			WaitForStage: client.WorkflowUpdateStageAccepted,
		},
	})
	if err = inTime(ctx, limited, err); err == nil {
		err = h.Get(ctx, &ref)
	}
	return ref, explain("heal "+e.String(), err)
}

// started follows a run, or says where it can be seen.
func (a *app) started(ctx context.Context, f *fleet, t shivx.Target, ref activities.RunRef, o healFlags) error {
	if !o.wait && (o.noWait || !a.out.tty) {
		if a.json() {
			return a.document(ref)
		}
		a.out.printf("started %s %s", ref.WorkflowID, ref.RunID)
		return nil
	}
	res, err := a.follow(ctx, f, t, ref)
	if err != nil {
		return err
	}
	f.awaitRelease(ctx, t, ref)
	return a.ended(ref, res)
}

// awaitRelease waits, for a short time, until the entity has taken note of the end of a run: who
// waited for the run can start the next one at once.
func (f *fleet) awaitRelease(ctx context.Context, t shivx.Target, ref activities.RunRef) {
	for range 10 {
		s, err := f.state(ctx, t)
		if err != nil || s.Holder == nil || s.Holder.RunRef != ref {
			return
		}
		time.Sleep(lookEvery / 2)
	}
}

// runResult is the JSON document of a run that was waited for.
type runResult struct {
	activities.RunRef
	workflows.SelfHealResult
}

// ended says how a run ended and returns the exit code for it.
func (a *app) ended(ref activities.RunRef, res workflows.SelfHealResult) error {
	code := codeOf(res.Outcome)
	if a.json() {
		if err := a.document(runResult{ref, res}); err != nil {
			return err
		}
		return quiet(code)
	}
	line := fmt.Sprintf("%s: %s", res.Target, res.Outcome)
	if res.Took > 0 {
		line += " in " + took(res.Took.Std())
	}
	if res.Message != "" {
		line += " — " + res.Message
	}
	a.out.line(outcomeStyle(res.Outcome), line)
	if res.Isolated {
		a.out.line(yellow, "it is out of traffic; when the cause is gone: shivx component verify "+res.String())
	}
	if code != exitOK {
		a.out.line(faint, "the whole story: shivx runs show "+ref.RunID)
	}
	return quiet(code)
}

func codeOf(o shivx.Outcome) int {
	switch {
	case o.InService(), o.GoldenDone(), o.MitigationDone(), o == outcomeForecast: // a plan, too
		return exitOK
	case o == shivx.OutcomeRefused:
		return exitRefused
	}
	return exitNotHealed
}

func outcomeStyle(o shivx.Outcome) style {
	switch codeOf(o) {
	case exitOK:
		return green
	case exitRefused:
		return yellow
	}
	if o == outcomeRunning {
		return cyan
	}
	return red
}

// plan starts a run that changes nothing and prints what it would do.
func (a *app) plan(ctx context.Context, f *fleet, e entity, o healFlags) error {
	run, err := f.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: "self-heal/plan/" + e.String() + "/" + uuid.NewString(), TaskQueue: e.queue,
		TypedSearchAttributes: activities.SearchAttributes(shivx.RunbookSelfHeal, e.Target),
		StaticSummary:         "Plan to heal " + e.String(),
	}, shivx.TypeSelfHeal, workflows.SelfHealInput{
		Target: e.Target, Plan: true, Strategy: o.strategy, Window: o.observe(), Force: o.force,
		Reason: o.reason, RequestedBy: o.by,
	})
	if err != nil {
		return explain("plan a heal of "+e.String(), err)
	}
	ref := activities.RunRef{WorkflowID: run.GetID(), RunID: run.GetRunID()}
	// An answer to a question shows that an agent has taken the run on.
	if _, err := query[workflows.SelfHealStatus](ctx, f, ref.WorkflowID, ref.RunID, shivx.QueryStatus); err != nil {
		return errors.Join(err, f.client.TerminateWorkflow(ctx, ref.WorkflowID, ref.RunID, "no agent has taken the plan on"))
	}
	res, err := f.result(ctx, ref)
	if err != nil {
		return err
	}
	if !a.json() {
		a.out.table(planTable(res.Steps))
	}
	return a.ended(ref, res)
}

// planTable lists the steps with what each would change.
func planTable(steps []activities.StepReport) table {
	t := table{head: []string{"STEP", "STRATEGY", "WHAT"}, free: []int{2}}
	for _, s := range steps {
		st := normal
		if s.State == "failed" {
			st = red
		}
		what := s.Summary
		if s.State == "waiting" {
			what = "would watch the checks"
		}
		t.add(text(string(s.Step)), text(s.Strategy), cell{what, st})
		for _, c := range s.Changes {
			t.add(text(""), text(""), cell{"  · " + c, faint})
		}
	}
	return t
}
