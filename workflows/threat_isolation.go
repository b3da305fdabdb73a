package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// IsolationInput says whom to isolate. The term counts when no signal has come with the start: a host
// that starts the run says everything in its signal.
type IsolationInput struct {
	Source string `json:"source"`
	// For is the term from now on, Indefinite: until a person ends it; neither: an hour.
	For        shivx.Duration `json:"for,omitempty"`
	Indefinite bool           `json:"indefinite,omitempty"`
	By         string         `json:"by,omitempty"`
	Why        string         `json:"why,omitempty"`
	// State is set by continue-as-new.
	State *IsolationState `json:"state,omitempty"`
}

// ThreatIsolation keeps one source out of the fleet until its term is over or it is let go. A host that
// isolates a source blocks it at once by itself and tells; the run takes over the term and shows in its
// memo what holds, which all hosts follow. It never touches a host.
func ThreatIsolation(ctx workflow.Context, in IsolationInput) (IsolationResult, error) {
	p, err := shivx.ParseSource(in.Source)
	if err != nil {
		return IsolationResult{}, badInput(err.Error() + " — " + shivx.HintOf(err))
	}
	in.Source = shivx.SourceString(p)
	if in.By == "" {
		in.By = byTemporal
	}
	request := shivx.IsolationRequest{Source: in.Source, For: in.For, Indefinite: in.Indefinite, By: in.By, Why: in.Why}
	if err := request.Check(); err != nil {
		return IsolationResult{}, badInput(err.Error() + " — " + shivx.HintOf(err))
	}
	if workflow.GetInfo(ctx).WorkflowExecution.ID != shivx.IsolationID(in.Source) {
		return handOver(ctx, in)
	}
	t, err := setupIsolation(ctx, in)
	if err != nil {
		return IsolationResult{}, err
	}
	return t.run(ctx)
}

// setupIsolation takes what was said with the start before it looks at the input.
func setupIsolation(ctx workflow.Context, in IsolationInput) (*threatIsolation, error) {
	t := &threatIsolation{}
	if in.State != nil {
		t.IsolationState = *in.State
	}
	t.Source = in.Source
	t.signals = []signalReader{
		on(ctx, shivx.SignalIsolate, "The source is isolated, or its term was changed or ended on a host; sent by the host's agent. "+
			`By hand: {"until":"2026-01-02T15:04:05Z","by":"ana","reason":"scans us"}`, t.onIsolate),
		on(ctx, shivx.SignalRestore, `Let the source go: {"by":"ana","why":"our own monitoring"}`, t.onRestore),
	}
	for t.drain(ctx) { // every signal that came with the start
	}
	switch {
	case !t.known():
		t.take(begunByHand(in, workflow.Now(ctx)))
		t.settle(ctx)
	case in.State == nil:
		t.told = true
	default:
		t.show(ctx, "")
	}
	workflow.GoNamed(ctx, "signals", t.listen)
	return t, t.serve(ctx)
}

// begunByHand is the isolation that an input asks for.
func begunByHand(r IsolationInput, now time.Time) shivx.Isolation {
	now = now.UTC()
	i := shivx.Isolation{Source: r.Source, Since: now, Changed: now, By: r.By, Type: shivx.ThreatReported, Reason: r.Why}
	if i.Reason == "" {
		i.Reason = "isolated by hand"
	}
	switch {
	case r.Indefinite:
	case r.For > 0:
		i.Until = now.Add(r.For.Std())
	default:
		i.Until = now.Add(defaultTerm)
	}
	return i
}

func (t *threatIsolation) run(ctx workflow.Context) (IsolationResult, error) {
	if t.told {
		t.lookBack(ctx)
	}
	for {
		if ctx.Err() != nil { // who cancels the run means the isolation
			t.onRestore(ctx, shivx.Isolation{Why: "the run was cancelled"})
		}
		if t.over(ctx) {
			if giveTurn(ctx); !t.over(ctx) {
				continue // it was isolated again in the same moment
			}
			return t.finish(ctx), nil // no handler ever waits, so that none is under way
		}
		if t.mayContinueAsNew(ctx) {
			return IsolationResult{}, workflow.NewContinueAsNewError(ctx, shivx.TypeThreatIsolation,
				IsolationInput{Source: t.Source, State: &t.IsolationState})
		}
		if err := t.wait(ctx); err != nil && !temporal.IsCanceledError(err) {
			return IsolationResult{}, err
		}
	}
}

// wait waits for the end of the term or a change of it.
func (t *threatIsolation) wait(ctx workflow.Context) error {
	until := t.Until
	changed := func() bool { return !t.Until.Equal(until) || t.Lifted || t.cutPossible(ctx) }
	return waitUntil(ctx, until, "the term of the isolation", changed)
}

// lookBack looks whether the source was let go after what was told: a host tells late what happened
// while Temporal was away, and may tell twice. That it cannot be found out keeps nobody from isolating.
func (t *threatIsolation) lookBack(ctx workflow.Context) {
	if t.over(ctx) {
		return
	}
	info := workflow.GetInfo(ctx)
	res, err := activities.LastLift.Execute(quickRead(ctx, info.TaskQueueName, "was "+t.Source+" let go since then?"),
		activities.LastLiftInput{Source: t.Source, RunID: info.WorkflowExecution.RunID})
	switch {
	case err != nil:
		workflow.GetLogger(ctx).Warn("whether the source was let go before is not known", "source", t.Source, "error", reason(err))
	case res.Lift != nil && res.Lift.Lifted:
		t.take(*res.Lift)
		t.settle(ctx)
	}
}

// finish sets what people and hosts find the ended run by.
func (t *threatIsolation) finish(ctx workflow.Context) IsolationResult {
	out := IsolationResult{
		Source: t.Source, Outcome: IsolationExpired, Since: t.Since, Ended: workflow.Now(ctx).UTC(),
		Offence: t.Offence, By: t.By, Why: t.Why,
	}
	if t.Lifted {
		out.Outcome = IsolationRestored
	}
	t.show(ctx, out.Outcome)
	err := workflow.UpsertTypedSearchAttributes(ctx, activities.AttrChanged.ValueSet(out.Ended), activities.AttrOutcome.ValueSet(out.Outcome))
	if err != nil {
		workflow.GetLogger(ctx).Warn("the outcome cannot be searched for", "error", err)
	}
	return out
}

// handOver gives the request to the run that has the source's own workflow id: people who start a run
// in the Temporal UI need not know it.
func handOver(ctx workflow.Context, r IsolationInput) (IsolationResult, error) {
	id := shivx.IsolationID(r.Source)
	i := begunByHand(r, workflow.Now(ctx))
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, isolationChild(id, i)), shivx.TypeThreatIsolation, r)
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		err = workflow.SignalExternalWorkflow(ctx, id, "", shivx.SignalIsolate, i).Get(ctx, nil)
	}
	switch {
	case temporal.IsCanceledError(err):
		return IsolationResult{}, err
	case err != nil:
		return IsolationResult{}, temporal.NewNonRetryableApplicationError(
			"the run "+id+" was not reached — start it yourself with that workflow id", "NotHandedOver", err)
	}
	workflow.SetCurrentDetails(ctx, "### "+r.Source+" is isolated by the run `"+id+"`\n")
	err = workflow.UpsertTypedSearchAttributes(ctx, activities.AttrRunbook.ValueSet(shivx.RunbookIsolation),
		activities.AttrOutcome.ValueSet(IsolationHandedOver))
	return IsolationResult{Source: r.Source, Outcome: IsolationHandedOver, By: r.By, Why: r.Why, Run: id}, err
}
