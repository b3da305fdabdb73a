package workflows

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

func setupComponent(ctx workflow.Context, in ComponentInput) (*component, error) {
	if in.Component == "" || in.Host == "" {
		return nil, badInput(`a Component needs {"component":"NAME","host":"HOST"}`)
	}
	c := &component{ComponentState: in.State, mutex: workflow.NewMutex(ctx)}
	c.Target = in.Target
	if c.Policy.Limits == (shivx.Limits{}) {
		c.Policy.Limits = shivx.DefaultLimits()
	}
	c.lookAt, c.probeAt = workflow.Now(ctx), workflow.Now(ctx).Add(probeEvery)
	c.fresh = in.State.Component == ""
	c.listen(ctx)
	return c, c.serve(ctx)
}

// listen handles the signals in the order in which they came.
func (c *component) listen(ctx workflow.Context) {
	c.signals = []signalReader{
		on(ctx, shivx.SignalConfigure, "Policy of the component, sent by its agent.", c.onConfigure),
		on(ctx, shivx.SignalFault, "A fault was found; heals within the limits.", c.onFault),
		on(ctx, shivx.SignalResolved, "A fault is over.", c.onResolved),
		on(ctx, shivx.SignalReleased, "A run started by hand has ended and gives the lock back.", c.onReleased),
	}
	workflow.GoNamed(ctx, "signals", func(ctx workflow.Context) {
		sel := workflow.NewSelector(ctx)
		for _, s := range c.signals {
			sel.AddReceive(s.channel, func(workflow.ReceiveChannel, bool) {
				c.working++
				s.receive(ctx)
				c.working--
			})
		}
		for {
			sel.Select(ctx)
		}
	})
}

// on binds a signal to the method that handles it.
func on[T any](ctx workflow.Context, name, description string, handle func(workflow.Context, T)) signalReader {
	ch := workflow.GetSignalChannelWithOptions(ctx, name, workflow.SignalChannelOptions{Description: description})
	return signalReader{ch, func(ctx workflow.Context) bool {
		var v T
		if !ch.ReceiveAsync(&v) {
			return false
		}
		handle(ctx, v)
		return true
	}}
}

// drain handles every signal that has arrived.
func (c *component) drain(ctx workflow.Context) {
	for _, s := range c.signals {
		for s.receive(ctx) {
		}
	}
}

func (c *component) onConfigure(_ workflow.Context, p shivx.Policy) {
	c.Policy = p
	c.changes++
}

// onFault makes a fault pending. What is seen while a run is under way belongs to its fault.
func (c *component) onFault(ctx workflow.Context, f shivx.Finding) {
	if !c.isNew(f) {
		return
	}
	c.changes++
	if h := c.Holder; h != nil {
		if len(h.Sources) == maxSources {
			h.Sources = slices.Delete(h.Sources, 0, 1)
		}
		h.Sources = append(h.Sources, fmt.Sprintf("%s %s: %s", f.Source, f.Signal, f.Reason))
		if s := signalOf(f); h.Finding != nil && !slices.Contains(h.Open, s) {
			h.Open = append(h.Open, s)
		}
		h.Later = put(h.Later, f)
		return
	}
	if c.stale(f) {
		c.Suppressed++
		return
	}
	c.Pending = put(c.Pending, f)
}

// stale says whether the last run has dealt with the finding: it brought the component back, was
// for the same signal, and the finding is older than its recovery.
func (c *component) stale(f shivx.Finding) bool {
	if c.Last == nil || !c.Last.Outcome.InService() || !f.ObservedAt.Before(c.Last.Recovered) {
		return false
	}
	// The checks were watched by the run's validation, whatever it was for.
	return signalOf(f) == signalChecks || slices.Contains(c.Last.Signals, signalOf(f))
}

// onResolved forgets a pending fault, or tells the run under way once every signal of its fault
// has resolved.
func (c *component) onResolved(ctx workflow.Context, f shivx.Finding) {
	if !c.isNew(f) {
		return
	}
	c.changes++
	c.Pending = without(c.Pending, signalOf(f))
	if h := c.Holder; h != nil {
		h.Later = without(h.Later, signalOf(f))
		i := slices.Index(h.Open, signalOf(f))
		if i < 0 {
			return
		}
		h.Open = slices.Delete(h.Open, i, i+1)
		if len(h.Open) > 0 {
			return
		}
		if err := workflow.SignalExternalWorkflow(ctx, h.WorkflowID, h.RunID, shivx.SignalResolved, f).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Info("the run was not told that the fault is over", "error", err)
		}
		return
	}
	c.probeAt = workflow.Now(ctx) // it may be well again while it is out of traffic
	if c.Escalated && !c.Isolated && len(c.Pending) == 0 {
		c.Verify = verifiesWhatWasGivenUp(ctx)
	}
}

func (c *component) onReleased(ctx workflow.Context, r Released) {
	// The end of an own child is awaited; nobody else can say that it is over.
	if c.Holder != nil && c.children == 0 && c.Holder.RunRef == r.Holder {
		c.ended(ctx, r)
	}
}

// released reads how a child ended from its result, which a failed run has in its error.
func released(ref activities.RunRef, result SelfHealResult, err error) Released {
	if err != nil {
		app, ok := errors.AsType[*temporal.ApplicationError](err)
		if !ok || !app.HasDetails() || app.Details(&result) != nil {
			// Nobody knows what it left behind; the entity looks by itself.
			result = SelfHealResult{Outcome: shivx.OutcomeFailed, Acted: true, Isolated: true,
				Message: "the run ended without a result: " + reason(err)}
		}
	}
	return Released{Holder: ref, Outcome: result.Outcome, Isolated: result.Isolated, Message: result.Message, Acted: result.Acted, Recovered: result.Recovered}
}

// ended frees the lock and starts the cooldown.
func (c *component) ended(ctx workflow.Context, r Released) {
	now := workflow.Now(ctx)
	c.changes++
	h := c.Holder
	c.Holder = nil
	c.Verify = false
	over := h.Finding != nil && len(h.Open) == 0 && len(h.Later) == 0
	signals := h.Open
	if h.Finding != nil && !slices.Contains(signals, signalOf(*h.Finding)) {
		signals = append(signals, signalOf(*h.Finding))
	}
	c.Last = &LastRun{RunRef: r.Holder, Outcome: r.Outcome, Message: r.Message, Ended: now, Recovered: r.Recovered, Signals: signals}
	c.Isolated, c.probeAt = r.Isolated, now.Add(probeEvery)
	c.Escalated = r.Outcome == shivx.OutcomeFailed || r.Outcome == shivx.OutcomeUnreachable
	if c.Escalated && over && !c.Isolated { // it resolved when the run was giving up
		c.Verify, c.probeAt = verifiesWhatWasGivenUp(ctx), now
	}
	if r.Outcome.InService() {
		for _, f := range h.Later { // what broke again after it had been recovered
			if !c.stale(f) {
				c.Pending = put(c.Pending, f)
			}
		}
	}
	since := now.Add(-c.Policy.Limits.Window.Std())
	c.Heals = slices.DeleteFunc(c.Heals, func(t time.Time) bool {
		return !t.After(since) || !r.Acted && t.Equal(h.Since) // what did nothing costs nothing
	})
	if !r.Acted {
		c.NotBefore = later(c.NotBefore, now.Add(startAgain))
		return
	}
	if c.NotBefore.Before(since) {
		c.InRow = 0
	}
	c.InRow++
	c.NotBefore = now.Add(cooldown(c.Policy.Limits, c.InRow))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lookAfterHolder frees a lock whose run was terminated or has failed without a word.
func (c *component) lookAfterHolder(ctx workflow.Context) {
	c.lookAt = workflow.Now(ctx).Add(lookEvery)
	ref := c.Holder.RunRef
	open, err := activities.RunOpen.Execute(
		quickRead(ctx, workflow.GetInfo(ctx).TaskQueueName, "does "+ref.WorkflowID+" still run?"), ref)
	if err == nil && !open && c.Holder != nil && c.Holder.RunRef == ref {
		c.ended(ctx, Released{Holder: ref, Outcome: shivx.OutcomeFailed, Isolated: true, Acted: true,
			Message: "the run ended without handing the lock back"})
	}
}

// overBudget tells people once that automation has stopped. The fault stays pending: it is healed
// when the window has room, unless it has resolved by then.
func (c *component) overBudget(ctx workflow.Context, n int) {
	l, f := c.Policy.Limits, c.Pending[0]
	room := c.Heals[len(c.Heals)-n].Add(l.Window.Std() + time.Second)
	if c.OverBudget {
		c.NotBefore = later(c.NotBefore, room)
		return
	}
	c.OverBudget = tell(ctx, activities.EscalateInput{
		Target: c.Target, Run: shivx.ComponentID(c.Target), Outcome: shivx.OutcomeRefused,
		Message: fmt.Sprintf("%d heals within %s; automation keeps away. Fault: %s", n, l.Window, f.Reason),
		Hint:    "find the cause; start a heal by hand, or raise limits.heals",
		Key:     fmt.Sprintf("budget/%d", c.Heals[len(c.Heals)-1].Unix()),
	}, false)
	if !c.OverBudget {
		room = workflow.Now(ctx).Add(tellAgain)
	}
	c.NotBefore = later(c.NotBefore, room)
}

// takeCheckpoint copies the healthy state; a heal that starts meanwhile ends it.
func (c *component) takeCheckpoint(ctx workflow.Context) (activities.CheckpointResult, error) {
	ctx, cancel := workflow.WithCancel(ctx)
	c.stopCheckpoint = cancel
	defer func() { c.stopCheckpoint = nil }()
	info := workflow.GetInfo(ctx)
	run := fmt.Sprintf("%s %s %d", info.WorkflowExecution.ID, info.WorkflowExecution.RunID, workflow.Now(ctx).UnixNano())
	res, err := activities.Checkpoint.Execute(
		hostChange(ctx, c.Host, "copy the state of the healthy component", checkpointTimeout),
		activities.CheckpointInput{StepInput: activities.StepInput{Target: c.Target, Run: run}, Healthy: true})
	now, every := workflow.Now(ctx), c.Policy.CheckpointEvery.Std()
	c.NextCheckpoint = now.Add(min(checkpointAgain, every))
	if err == nil && !res.Skipped {
		c.LastCheckpoint, c.NextCheckpoint = now, now.Add(every)
	}
	return res, err
}

// show writes the entity's state where the Temporal UI shows it.
func (c *component) show(ctx workflow.Context) {
	line := "free"
	if why := c.busy(workflow.Now(ctx), false); why != "" {
		line = why
	}
	last := "none yet"
	if l := c.Last; l != nil {
		last = fmt.Sprintf("**%s** at %s — %s", l.Outcome, l.Ended.Format(time.RFC3339), l.Message)
	}
	pending := "none"
	if len(c.Pending) > 0 {
		pending = c.Pending[0].Reason
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf(
		"### Component %s\n\n| | |\n|---|---|\n| lock | %s |\n| pending fault | %s |\n| last run | %s |\n| heals in the window | %d of %d per %s |\n| out of traffic | %t |\n",
		c.Target, cell(line), cell(pending), cell(last),
		c.healsSince(workflow.Now(ctx).Add(-c.Policy.Limits.Window.Std())), c.Policy.Limits.Heals, c.Policy.Limits.Window, c.Isolated))
}
