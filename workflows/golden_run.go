package workflows

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// goldenRun is what the golden runbooks have in common: the set, the steps, and what people ask of the run.
type goldenRun struct {
	request shivx.GoldenRequest
	action  shivx.GoldenAction
	target  shivx.GoldenTarget
	runKey  string // workflow id and run id
	started time.Time

	policy    activities.SetPolicy
	inspected bool
	golden    *shivx.GoldenInfo
	restore   string        // id of the restore; "" in runs that restore nothing
	extent    func() string // how far the restore goes; nil in runs that restore nothing
	steps     []shivx.GoldenStepReport
	control   control
	insisting bool  // something has failed and is tried until it succeeds
	giveUp    bool  // people do not want it to be tried any longer
	vanished  error // set once no agent of the host answers
	waitsFor  string
	outcome   shivx.Outcome
	message   string
	ledgerSeq uint64
}

// goldenBook is one of the golden runbooks.
type goldenBook interface {
	// run does the work and returns early wherever the run must not or need not go on.
	run(ctx workflow.Context) ending
	// settle leaves everything in order, whatever became of the work; ctx is never cancelled.
	settle(ctx workflow.Context, end ending) ending
}

// setupGolden checks the request; steps are those that the run is going to take.
func setupGolden(ctx workflow.Context, a shivx.GoldenAction, in shivx.GoldenRequest, steps ...shivx.GoldenStep) (*goldenRun, error) {
	if in.Set == "" {
		return nil, badInput(`the input has no set; give at least {"set":"NAME","host":"HOST"}`)
	}
	target, err := shivx.ParseGoldenTarget(in.String())
	if err != nil {
		return nil, badInput(err.Error() + " — " + shivx.HintOf(err))
	}
	if target.Host == "" { // each host may have a set of that name, and one is not as good as another
		return nil, badInput(fmt.Sprintf(`the input has no host; write {"set":%q,"host":"HOST"}`, target.Set))
	}
	info := workflow.GetInfo(ctx)
	g := &goldenRun{
		request: in, action: a, target: target, started: workflow.Now(ctx),
		runKey: info.WorkflowExecution.ID + " " + info.WorkflowExecution.RunID,
	}
	for _, s := range steps {
		g.steps = append(g.steps, shivx.GoldenStepReport{Name: s, Outcome: shivx.StepWaiting})
	}
	if err := g.serve(ctx); err != nil {
		return nil, err
	}
	g.show(ctx)
	return g, workflow.UpsertTypedSearchAttributes(ctx, activities.AttrRunbook.ValueSet(activities.GoldenRunbook(a)),
		activities.AttrSet.ValueSet(target.Set), activities.AttrHost.ValueSet(target.Host))
}

// conduct runs a runbook to its end.
func (g *goldenRun) conduct(ctx workflow.Context, b goldenBook) ending {
	work, stop := workflow.WithCancel(ctx)
	g.listen(ctx, stop)

	end := g.inspect(work)
	if !end.over() {
		end = b.run(work)
	}
	if ctx.Err() != nil {
		// The goroutine that listens may not have had its turn yet.
		g.control.halt(cancelled, stop)
	}
	if g.stopped() && (end.outcome == shivx.OutcomeAborted || end.outcome == shivx.OutcomeFailed) {
		end = ending{outcome: shivx.OutcomeAborted, message: g.control.stop.message()}
	}

	// From here on nothing may be lost to a cancelled context.
	after, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	end = b.settle(after, end)
	if end.escalate && !g.request.Plan {
		if !g.tell(after, end.outcome, end.message, end.hint, string(end.outcome)) {
			end.message += " (nobody could be told)"
		}
	}
	g.log(after, end)
	return end
}

// stopped says whether people want the run to end.
func (g *goldenRun) stopped() bool { return g.control.stop != nil }

// inspect learns what the host's configuration says about the set.
func (g *goldenRun) inspect(ctx workflow.Context) ending {
	err := g.step(ctx, shivx.GoldenStepInspect, "", func() (activities.RestoreStep, error) {
		p, err := activities.InspectSet.Execute(quickRead(ctx, shivx.HostQueue(g.target.Host), "read the configuration of "+g.target.Set),
			activities.InspectSetInput{GoldenTarget: g.target})
		g.policy, g.inspected = p, err == nil
		return activities.RestoreStep{Summary: "services: " + orNone(strings.Join(p.Services, ", "), "none")}, err
	})
	if err != nil {
		return g.failed(err)
	}
	return ending{}
}

// find finds the golden that is meant and keeps it for the steps that follow.
func (g *goldenRun) find(ctx workflow.Context, in activities.FindGoldenInput) error {
	return g.step(ctx, shivx.GoldenStepResolve, "", func() (activities.RestoreStep, error) {
		in.GoldenTarget = g.target
		if in.Golden == "" {
			in.Golden = shivx.GoldenLatest
		}
		found, err := activities.FindGolden.Execute(hostChange(ctx, g.target.Host, "find the golden "+in.Golden, findTimeout), in)
		if err != nil {
			return activities.RestoreStep{}, err
		}
		g.golden = &found
		return activities.RestoreStep{Summary: goldenLine(found), Files: found.Files, Bytes: found.Bytes}, nil
	})
}

// goldenLine describes a golden in one line.
func goldenLine(i shivx.GoldenInfo) string {
	line := i.ID
	if i.Name != "" {
		line += " (" + i.Name + ")"
	}
	return line + " of " + i.Set + "@" + i.Host + ", " + i.Created.UTC().Format(time.RFC3339)
}

// goldenID is the id of the golden of the run; "" before it is known.
func (g *goldenRun) goldenID() string {
	if g.golden == nil {
		return ""
	}
	return g.golden.ID
}

// errNotApproved is the type of the error for a restore that people refused.
const errNotApproved = "NotApproved"

// failed turns an error of a step into the end of the run.
func (g *goldenRun) failed(err error) ending {
	switch {
	case hostVanished(err):
		return ending{outcome: shivx.OutcomeUnreachable, escalate: true,
			message: "no agent of " + g.target.Host + " took the work within " + hostPatience.String(),
			hint:    "check that the host is up and its agent connected to Temporal"}
	case temporal.IsCanceledError(err):
		return ending{outcome: shivx.OutcomeAborted, message: "cancelled"}
	}
	end := ending{outcome: shivx.OutcomeFailed, message: reason(err), escalate: true, hint: "see the steps of the run"}
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		if end.outcome = activities.GoldenOutcome(app.Type()); app.Type() == errNotApproved {
			end.outcome = shivx.OutcomeRefused
		}
	}
	switch end.outcome {
	case shivx.OutcomeRefused: // whoever asked is told by the end of the run, and nobody asked for what a schedule starts
		end.escalate, end.hint = g.request.Reason == activities.ReasonSchedule, ""
	case shivx.OutcomeDamaged:
		end.hint = "on " + g.target.Host + " shivx golden scrub says what is damaged; an older golden may be whole"
	default:
	}
	return end
}

// tell tells people; it says whether somebody was told.
func (g *goldenRun) tell(ctx workflow.Context, o shivx.Outcome, message, hint, key string) bool {
	return tell(ctx, activities.EscalateInput{
		Target: shivx.Target{Component: "golden/" + g.target.Set, Host: g.target.Host},
		Run:    g.runKey, Outcome: o, Message: string(g.action) + ": " + message, Hint: hint, Key: key,
	}, g.vanished != nil)
}

// log writes the end of the run to the operational ledger.
func (g *goldenRun) log(ctx workflow.Context, end ending) {
	g.outcome, g.message = end.outcome, end.message
	g.dropWaiting()
	if g.request.Plan || !g.inspected || g.vanished != nil {
		g.show(ctx)
		return
	}
	err := g.step(ctx, shivx.GoldenStepLog, "", func() (activities.RestoreStep, error) {
		r, err := activities.LogGolden.Execute(record(ctx, shivx.HostQueue(g.target.Host), "write to the ledger"), activities.LogGoldenInput{
			GoldenTarget: g.target, Run: g.runKey, Action: g.action, Outcome: end.outcome, Message: end.message,
			Golden: g.goldenID(), Restore: g.restore, Started: g.started, Seconds: secondsSince(ctx, g.started),
			Steps: g.steps, Reason: g.why(), RequestedBy: g.request.RequestedBy,
		})
		g.ledgerSeq = r.Seq
		return activities.RestoreStep{Summary: "recorded"}, err
	})
	if err != nil {
		workflow.GetLogger(ctx).Error("the end of the run is not in the ledger", "error", reason(err))
	}
}

// finish sets the outcome that people search for and decides how the run shows in the Temporal UI: a
// failure carries the result as its details.
func (g *goldenRun) finish(ctx workflow.Context, end ending, result any) error {
	return finish(ctx, end, result, shivx.OutcomeDamaged, shivx.OutcomeUndone)
}

// result is the part of the result that all runs have.
func (g *goldenRun) result(ctx workflow.Context) shivx.GoldenResult {
	return shivx.GoldenResult{
		GoldenTarget: g.target, Outcome: g.outcome, Message: g.message, Golden: g.golden, Started: g.started.UTC(),
		Seconds: secondsSince(ctx, g.started), Steps: g.steps, LedgerSeq: g.ledgerSeq,
	}
}
