package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// HealRequest asks an entity for a heal.
type HealRequest struct {
	By       string          `json:"by"`
	Reason   string          `json:"reason,omitempty"`
	Strategy string          `json:"strategy,omitempty"`
	Window   *shivx.Duration `json:"window,omitempty"`
	// VerifyOnly validates and puts back into traffic without a recovery.
	VerifyOnly bool `json:"verify_only,omitempty"`
	// Force runs also in maintenance.
	Force bool `json:"force,omitempty"`
}

// CheckpointRequest asks an entity for a checkpoint of its healthy component.
type CheckpointRequest struct {
	By string `json:"by"`
}

func setupComponent(ctx workflow.Context, in ComponentInput) (*component, error) {
	if in.Component == "" || in.Host == "" {
		return nil, badInput(`a Component needs {"component":"NAME","host":"HOST"}`)
	}
	c := &component{ComponentState: in.State, mutex: workflow.NewMutex(ctx)}
	c.Target = in.Target
	if c.Policy.Limits == (shivx.Limits{}) {
		c.Policy.Limits = shivx.DefaultLimits()
	}
	c.lookAt = workflow.Now(ctx)
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
	if !c.fresh(f) {
		return
	}
	c.changes++
	if h := c.Holder; h != nil {
		h.Sources = append(h.Sources, fmt.Sprintf("%s %s: %s", f.Source, f.Signal, f.Reason))
		h.Latest = &f
		return
	}
	if c.stale(f) || c.inMaintenance(workflow.Now(ctx)) {
		c.Suppressed++
		return
	}
	if c.Pending == nil {
		c.Pending = &f
	}
}

// stale says whether the last run has dealt with the finding: it brought the component back, and
// the finding is older than its recovery.
func (c *component) stale(f shivx.Finding) bool {
	return c.Last != nil && c.Last.Outcome.InService() && f.ObservedAt.Before(c.Last.Recovered)
}

func (c *component) onResolved(ctx workflow.Context, f shivx.Finding) {
	if !c.fresh(f) {
		return
	}
	c.changes++
	c.Pending = nil
	if h := c.Holder; h != nil {
		h.Latest = nil
		if err := workflow.SignalExternalWorkflow(ctx, h.WorkflowID, h.RunID, shivx.SignalResolved, f).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Info("the run was not told that the fault is over", "error", err)
		}
		return
	}
	if c.Isolated && c.Last != nil && !c.Last.Outcome.InService() {
		// The last run left it out of traffic and it recovered without one: verify, put it back.
		in := SelfHealInput{Target: c.Target, VerifyOnly: true, Reason: "the fault is over: " + f.Reason}
		if _, err := c.startHeal(ctx, in); err != nil {
			workflow.GetLogger(ctx).Error("the verification did not start", "error", err)
		}
	}
}

func (c *component) onReleased(ctx workflow.Context, r Released) {
	if c.Holder != nil && c.Holder.RunRef == r.Holder {
		c.ended(ctx, r)
	}
}

// released reads how a child ended from its result, which a failed run has in its error.
func released(ref activities.RunRef, result SelfHealResult, err error) Released {
	if err != nil {
		app, ok := errors.AsType[*temporal.ApplicationError](err)
		if !ok || !app.HasDetails() || app.Details(&result) != nil {
			result = SelfHealResult{Outcome: shivx.OutcomeFailed, Acted: true, Message: "the run ended without a result: " + reason(err)}
		}
	}
	return Released{Holder: ref, Outcome: result.Outcome, Isolated: result.Isolated, Message: result.Message, Acted: result.Acted, Recovered: result.Recovered}
}

// ended frees the lock and starts the cooldown.
func (c *component) ended(ctx workflow.Context, r Released) {
	now := workflow.Now(ctx)
	c.changes++
	latest := c.Holder.Latest
	c.Holder = nil
	c.Last = &LastRun{RunRef: r.Holder, Outcome: r.Outcome, Message: r.Message, Ended: now, Recovered: r.Recovered}
	if latest != nil && r.Outcome.InService() && !c.stale(*latest) && c.Pending == nil {
		c.Pending = latest // it broke again after it had been recovered
	}
	c.Isolated = r.Isolated
	c.Escalated = !r.Outcome.InService() && r.Outcome != shivx.OutcomeAborted
	since := now.Add(-c.Policy.Limits.Window.Std())
	c.Heals = slices.DeleteFunc(c.Heals, func(t time.Time) bool { return !t.After(since) })
	if !r.Acted {
		return
	}
	if c.NotBefore.Before(since) {
		c.InRow = 0
	}
	c.InRow++
	c.NotBefore = now.Add(cooldown(c.Policy.Limits, c.InRow))
}

// lookAfterHolder frees a lock whose run was terminated or has failed without a word.
func (c *component) lookAfterHolder(ctx workflow.Context) {
	c.lookAt = workflow.Now(ctx).Add(lookEvery)
	ref := c.Holder.RunRef
	open, err := activities.RunOpen.Execute(
		quickRead(ctx, workflow.GetInfo(ctx).TaskQueueName, "does "+ref.WorkflowID+" still run?"), ref)
	if err == nil && !open && c.Holder != nil && c.Holder.RunRef == ref {
		c.ended(ctx, Released{Holder: ref, Outcome: shivx.OutcomeFailed, Isolated: c.Isolated, Acted: true,
			Message: "the run ended without handing the lock back"})
	}
}

// overBudget tells people once that automation has stopped; the fault's reminders start it again
// when the window has room.
func (c *component) overBudget(ctx workflow.Context, n int) {
	f := c.Pending
	c.Pending = nil
	if c.Escalated {
		return
	}
	c.Escalated = true
	l := c.Policy.Limits
	_, err := activities.Escalate.Execute(record(ctx, c.Host, "tell people: the budget is used up"), activities.EscalateInput{
		Target: c.Target, Run: workflow.GetInfo(ctx).WorkflowExecution.ID, Outcome: shivx.OutcomeRefused,
		Message: fmt.Sprintf("%d heals within %s; automation keeps away. Fault: %s", n, l.Window, f.Reason),
		Hint:    "find the cause; start a heal by hand, or raise limits.heals",
	})
	if err != nil {
		workflow.GetLogger(ctx).Error("nobody could be told", "error", reason(err))
	}
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

func busyError(why string) error {
	return temporal.NewNonRetryableApplicationError(why, activities.ErrBusy, nil)
}

// serve registers the query and the updates.
func (c *component) serve(ctx workflow.Context) error {
	now := func() time.Time { return workflow.Now(ctx) }
	return errors.Join(
		workflow.SetQueryHandlerWithOptions(ctx, shivx.QueryStatus, func() (ComponentState, error) { return c.state(), nil },
			workflow.QueryHandlerOptions{Description: "Lock, pending fault, cooldown, budget, maintenance and last run."}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateHeal, c.heal, workflow.UpdateHandlerOptions{
			Description: `Start a heal. {"by":"ana","reason":"slow since the deploy"}`,
			Validator: func(r HealRequest) error {
				if r.By == "" {
					return badInput(`say who asks: {"by":"NAME"}`)
				}
				if why := c.busy(now(), r.Force); why != "" {
					return busyError(why)
				}
				return nil
			}}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateAcquire, c.acquire, workflow.UpdateHandlerOptions{
			Description: "Take the lock for a run that was started by hand; used by SelfHeal.",
			Validator: func(r activities.AcquireInput) error {
				if c.Holder != nil && c.Holder.RunRef == r.Holder {
					return nil
				}
				if why := c.busy(now(), r.Force); why != "" {
					return busyError(why)
				}
				return nil
			}}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateSetMaintenance, c.setMaintenance, workflow.UpdateHandlerOptions{
			Description: `Keep automation away. {"on":true,"by":"ana","for":"2h","reason":"disk swap"}`,
			Validator:   func(m Maintenance) error { return named(By{m.By}) }}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateCheckpoint, c.checkpoint, workflow.UpdateHandlerOptions{
			Description: `Keep a copy of the healthy state to restore from. {"by":"ana"}`,
			Validator: func(r CheckpointRequest) error {
				if why := c.busy(now(), true); why != "" {
					return busyError(why)
				}
				return named(By(r))
			}}),
	)
}

func (c *component) heal(ctx workflow.Context, r HealRequest) (activities.RunRef, error) {
	if err := c.mutex.Lock(ctx); err != nil {
		return activities.RunRef{}, err
	}
	defer c.mutex.Unlock()
	if why := c.busy(workflow.Now(ctx), r.Force); why != "" {
		return activities.RunRef{}, busyError(why)
	}
	c.Pending = nil
	return c.startHeal(ctx, SelfHealInput{
		Target: c.Target, Strategy: r.Strategy, Window: r.Window, VerifyOnly: r.VerifyOnly, Force: r.Force,
		Reason: strings.TrimSpace("asked for by " + r.By + ": " + r.Reason), RequestedBy: r.By,
	})
}

func (c *component) acquire(ctx workflow.Context, r activities.AcquireInput) (activities.AcquireResult, error) {
	if c.Holder == nil {
		now := workflow.Now(ctx)
		c.Holder = &Holder{RunRef: r.Holder, Since: now, Reason: "started by hand"}
		c.Heals = append(c.Heals, now)
		c.lookAt = now.Add(lookEvery)
		c.changes++
	}
	return activities.AcquireResult{Policy: c.Policy}, nil
}

func (c *component) setMaintenance(ctx workflow.Context, m Maintenance) (ComponentState, error) {
	if m.For > 0 {
		m.Until = workflow.Now(ctx).Add(m.For.Std())
		m.For = 0
	}
	c.Maintenance = &m
	if !m.On {
		c.Maintenance = nil
	}
	c.changes++
	return c.state(), nil
}

func (c *component) checkpoint(ctx workflow.Context, _ CheckpointRequest) (activities.CheckpointResult, error) {
	if err := c.mutex.Lock(ctx); err != nil {
		return activities.CheckpointResult{}, err
	}
	defer c.mutex.Unlock()
	return c.takeCheckpoint(ctx)
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
	if c.Pending != nil {
		pending = c.Pending.Reason
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf(
		"### Component %s\n\n| | |\n|---|---|\n| lock | %s |\n| pending fault | %s |\n| last run | %s |\n| heals in the window | %d of %d per %s |\n| out of traffic | %t |\n",
		c.Target, cell(line), cell(pending), cell(last),
		c.healsSince(workflow.Now(ctx).Add(-c.Policy.Limits.Window.Std())), c.Policy.Limits.Heals, c.Policy.Limits.Window, c.Isolated))
}
