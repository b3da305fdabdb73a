package workflows

import (
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// listen takes signals as they come. None of what follows from one blocks.
func (t *threatIsolation) listen(ctx workflow.Context) {
	sel := workflow.NewSelector(ctx)
	for _, s := range t.signals {
		sel.AddReceive(s.channel, func(workflow.ReceiveChannel, bool) { s.receive(ctx) })
	}
	for {
		sel.Select(ctx)
	}
}

// drain takes one signal of each kind that has arrived, and says whether there was any.
func (t *threatIsolation) drain(ctx workflow.Context) (some bool) {
	for _, s := range t.signals {
		some = s.receive(ctx) || some
	}
	return some
}

func (t *threatIsolation) onIsolate(ctx workflow.Context, i shivx.Isolation) { t.hear(ctx, i) }

// onRestore lets the source go. Without a time it is meant of what holds just now.
func (t *threatIsolation) onRestore(ctx workflow.Context, i shivx.Isolation) {
	i.Lifted = true
	t.hear(ctx, i)
}

// hear takes a statement and shows what holds then.
func (t *threatIsolation) hear(ctx workflow.Context, i shivx.Isolation) {
	if p, err := shivx.ParseSource(i.Source); i.Source != "" && (err != nil || shivx.SourceString(p) != t.Source) {
		workflow.GetLogger(ctx).Warn("this is about another source", "source", i.Source, "own", t.Source)
		return
	}
	t.take(t.complete(i, workflow.Now(ctx)))
	t.settle(ctx)
}

// settle shows what holds wherever hosts and people look, if that has changed.
func (t *threatIsolation) settle(ctx workflow.Context) {
	before := t.Isolation
	holds := t.holds()
	if wording(before) == wording(holds) {
		return
	}
	now := workflow.Now(ctx).UTC()
	t.Isolation = holds
	t.note(now, before)
	err := errors.Join(workflow.UpsertMemo(ctx, map[string]any{shivx.MemoIsolation: holds}),
		workflow.UpsertTypedSearchAttributes(ctx, activities.AttrRunbook.ValueSet(shivx.RunbookIsolation), activities.AttrChanged.ValueSet(now)))
	if err != nil {
		workflow.GetLogger(ctx).Error("the hosts do not see the change", "source", t.Source, "error", err)
	}
	t.show(ctx, "")
}

// serve registers the query and the update.
func (t *threatIsolation) serve(ctx workflow.Context) error {
	return errors.Join(
		workflow.SetQueryHandlerWithOptions(ctx, shivx.QueryStatus, func() (IsolationState, error) { return t.IsolationState, nil },
			workflow.QueryHandlerOptions{Description: "What holds for the source, who said so, and how it changed."}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateExtend, t.extend, workflow.UpdateHandlerOptions{
			Description: `Change the term, counted from now: {"for":"24h","by":"ana","why":"still scans us"}, or {"indefinite":true,"by":"ana"}`,
			Validator:   t.mayExtend}),
	)
}

func (t *threatIsolation) mayExtend(_ workflow.Context, r shivx.IsolationRequest) error {
	if r.Source == "" {
		r.Source = t.Source
	}
	if err := r.Check(); err != nil {
		return badInput(err.Error() + " — " + shivx.HintOf(err))
	}
	p, _ := shivx.ParseSource(r.Source) // was checked
	switch {
	case shivx.SourceString(p) != t.Source:
		return badInput(fmt.Sprintf("this run isolates %s, not %s", t.Source, r.Source))
	case r.For == 0 && !r.Indefinite:
		return badInput(`an extension needs a term — set "for" to a time such as "24h", or "indefinite" to true`)
	case t.Lifted:
		return temporal.NewNonRetryableApplicationError(t.Source+" was let go just now — isolate it anew", "NotIsolated", nil)
	}
	return nil
}

// extend changes the term of what holds. It blocks nowhere, so that it needs no lock.
func (t *threatIsolation) extend(ctx workflow.Context, r shivx.IsolationRequest) (shivx.Isolation, error) {
	now := workflow.Now(ctx)
	i := t.Isolation
	i.By, i.Why, i.Changed, i.Until, i.Lifted = r.By, r.Why, after(now, t.Changed), time.Time{}, false
	if !r.Indefinite {
		i.Until = now.UTC().Add(r.For.Std())
	}
	t.take(i)
	t.settle(ctx)
	return t.Isolation, nil
}

// cutPossible says whether the history should and may be cut here.
func (t *threatIsolation) cutPossible(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx)
}

func (t *threatIsolation) mayContinueAsNew(ctx workflow.Context) bool {
	if ctx.Err() != nil || !t.cutPossible(ctx) {
		return false
	}
	giveTurn(ctx)
	return t.cutPossible(ctx) && !t.over(ctx)
}

// isolationChild says how the run of a source is started by another.
func isolationChild(id string, i shivx.Isolation) workflow.ChildWorkflowOptions {
	return workflow.ChildWorkflowOptions{
		WorkflowID: id, WorkflowTaskTimeout: shivx.TaskTimeout,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		TypedSearchAttributes: activities.IsolationAttributes(i),
		Memo:                  map[string]any{shivx.MemoIsolation: i},
		StaticSummary:         activities.IsolationSummary(i.Source),
		StaticDetails:         activities.IsolationDetails,
	}
}

// show writes what holds where the Temporal UI shows it; outcome is "" while the run goes on.
func (t *threatIsolation) show(ctx workflow.Context, outcome string) {
	var b strings.Builder
	state := "isolated until a person ends it"
	switch {
	case outcome == IsolationExpired:
		state = "no longer isolated: the term is over"
	case t.Lifted:
		state = "let go"
	case !t.Until.IsZero():
		state = "isolated until " + t.Until.Format(time.RFC3339)
	}
	fmt.Fprintf(&b, "### %s: %s\n\n| | |\n|---|---|\n", t.Source, state)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", name, cell(value))
		}
	}
	row("because", t.Reason)
	row("threat", string(t.Type))
	if t.Offence > 0 {
		row("offence", fmt.Sprint(t.Offence))
	}
	row("since", t.Since.Format(time.RFC3339))
	row("first seen by", t.Host)
	row("by", t.By)
	row("why", t.Why)
	b.WriteString("\n| when | what | until | by | why |\n|---|---|---|---|---|\n")
	for i := len(t.Changes) - 1; i >= max(0, len(t.Changes)-changesShown); i-- {
		c := t.Changes[i]
		until := "a person ends it"
		if !c.Until.IsZero() {
			until = c.Until.Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", c.At.Format(time.RFC3339), c.What, until, cell(c.By), cell(c.Why))
	}
	workflow.SetCurrentDetails(ctx, b.String())
}
