package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// ComponentInput is the state with which an entity starts or goes on after continue-as-new.
type ComponentInput struct {
	shivx.Target
	State ComponentState `json:"state,omitzero"`
}

// Component is the entity of one component on one host: it holds the lock under which at most
// one run touches the component, turns faults into heals within the component's limits, and
// keeps automation away during maintenance. It lives for as long as the component does.
func Component(ctx workflow.Context, in ComponentInput) error {
	c, err := setupComponent(ctx, in)
	if err != nil {
		return err
	}
	return c.run(ctx)
}

func (c *component) run(ctx workflow.Context) error {
	if c.fresh {
		c.adopt(ctx)
	}
	for {
		atOnce := seesAtOnceWhatComesMeanwhile(ctx)
		seen := c.changes // what arrives while something below blocks must not wait for the next timer
		c.startDue(ctx)
		if !atOnce {
			seen = c.changes
		}
		c.show(ctx)
		if c.mayContinueAsNew(ctx) {
			return workflow.NewContinueAsNewError(ctx, shivx.TypeComponent, ComponentInput{Target: c.Target, State: c.ComponentState})
		}
		due, ok := c.nextDue(ctx)
		changed := func() bool { return c.changes != seen || c.cutPossible(ctx) }
		var err error
		if ok {
			_, err = workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
				Timeout: due.Sub(workflow.Now(ctx)), TimerOptions: workflow.TimerOptions{Summary: c.dueFor},
			}, changed)
		} else {
			err = workflow.Await(ctx, changed)
		}
		if err != nil {
			return err
		}
	}
}

// startDue does what is due now: a heal for a pending fault, a look after a holder, a checkpoint.
func (c *component) startDue(ctx workflow.Context) {
	now := workflow.Now(ctx)
	if c.Holder != nil && c.children == 0 && !now.Before(c.lookAt) {
		c.lookAfterHolder(ctx)
	}
	if len(c.Pending) > 0 && c.Holder == nil && !c.inMaintenance(now) {
		c.startPending(ctx, now)
	}
	if (c.Isolated || c.Verify) && c.Holder == nil && !c.inMaintenance(now) && !now.Before(c.probeAt) {
		c.probe(ctx)
	}
	if every := c.Policy.CheckpointEvery.Std(); every > 0 && c.Holder == nil && c.stopCheckpoint == nil && !now.Before(c.NextCheckpoint) {
		workflow.GoNamed(ctx, "checkpoint", func(ctx workflow.Context) {
			if _, err := c.takeCheckpoint(ctx); err != nil {
				workflow.GetLogger(ctx).Warn("no checkpoint", "reason", reason(err))
			}
			c.changes++
		})
	}
}

// startPending starts a heal for the pending fault when cooldown and budget allow it.
func (c *component) startPending(ctx workflow.Context, now time.Time) {
	if now.Before(c.NotBefore) {
		return
	}
	if n := c.healsSince(now.Add(-c.Policy.Limits.Window.Std())); n >= c.Policy.Limits.Heals {
		c.overBudget(ctx, n)
		return
	}
	pending := c.Pending
	c.Pending = nil
	f := pending[0]
	_, err := c.startHeal(ctx, SelfHealInput{Target: c.Target, Reason: f.Reason, Finding: &f, Isolated: c.Isolated})
	if err != nil {
		// A run started by hand under the entity's own id is still open: it has the lock, then.
		workflow.GetLogger(ctx).Warn("the heal did not start", "error", err)
		c.Pending, c.NotBefore = pending, workflow.Now(ctx).Add(startAgain)
		c.adopt(ctx)
		return
	}
	for _, p := range pending {
		c.Holder.Open = append(c.Holder.Open, signalOf(p))
	}
}

// adopt takes a run that is open under the entity's id, but that this entity did not start, for
// the holder of the lock.
func (c *component) adopt(ctx workflow.Context) {
	c.fresh = false
	ref := activities.RunRef{WorkflowID: shivx.SelfHealID(c.Target)}
	open, err := activities.RunOpen.Execute(
		quickRead(ctx, workflow.GetInfo(ctx).TaskQueueName, "is a heal of "+c.String()+" under way?"), ref)
	if err != nil || !open || c.Holder != nil {
		return
	}
	c.Holder = &Holder{RunRef: ref, Since: workflow.Now(ctx), Reason: "found under way"}
	c.lookAt = workflow.Now(ctx).Add(lookSoon)
}

// probe looks whether a component that a run left out of traffic, or gave up on, is well again,
// as it may be after a repair by hand or a restart of its host; then it is verified and put back.
func (c *component) probe(ctx workflow.Context) {
	c.probeAt = workflow.Now(ctx).Add(probeEvery)
	ask, why := "is it well again? it is out of traffic", "its checks pass again while it is out of traffic"
	if !c.Isolated {
		ask, why = "is it well again? a run gave up on it", "its checks pass again after a run gave up on it"
	}
	seen, err := activities.Inspect.Execute(quickRead(ctx, shivx.HostQueue(c.Host), ask), activities.InspectInput{Target: c.Target})
	if isType(err, activities.ErrUnknownComponent) && c.Verify {
		c.Verify, c.Escalated = false, false // nothing is left to verify
		c.changes++
		return
	}
	if err != nil || !seen.Healthy || c.Holder != nil || !c.Isolated && !c.Verify {
		return
	}
	in := SelfHealInput{Target: c.Target, VerifyOnly: true, Isolated: c.Isolated, Reason: why}
	if _, err := c.startHeal(ctx, in); err != nil {
		workflow.GetLogger(ctx).Warn("the verification did not start", "error", err)
	}
}

// nextDue returns the next time at which something must be done without being asked.
func (c *component) nextDue(ctx workflow.Context) (time.Time, bool) {
	now := workflow.Now(ctx)
	var due time.Time
	earlier := func(t time.Time, what string) {
		if t.After(now) && (due.IsZero() || t.Before(due)) {
			due, c.dueFor = t, what
		}
	}
	if c.Holder != nil && c.children == 0 {
		earlier(c.lookAt, "look whether the run under way still lives")
	}
	if (c.Isolated || c.Verify) && c.Holder == nil {
		earlier(c.probeAt, "look whether it is well again")
	}
	if len(c.Pending) > 0 && c.Holder == nil {
		earlier(c.NotBefore, "cooldown")
		if m := c.Maintenance; m != nil && m.On {
			earlier(m.Until, "end of maintenance")
		}
	}
	if every := c.Policy.CheckpointEvery.Std(); every > 0 && c.Holder == nil && c.stopCheckpoint == nil {
		earlier(c.NextCheckpoint, "next checkpoint")
	}
	return due, !due.IsZero()
}

// startHeal starts the child run and takes the lock for it.
func (c *component) startHeal(ctx workflow.Context, in SelfHealInput) (activities.RunRef, error) {
	if c.stopCheckpoint != nil {
		c.stopCheckpoint() // what it copies now is not a healthy state any more
	}
	c.Holder = &Holder{Since: workflow.Now(ctx), Reason: in.Reason, Finding: in.Finding}
	childCtx := workflow.WithChildOptions(ctx, selfHealOptions(c.Target, in))
	child := workflow.ExecuteChildWorkflow(childCtx, shivx.TypeSelfHeal, in)
	var exec workflow.Execution
	if err := child.GetChildWorkflowExecution().Get(ctx, &exec); err != nil {
		c.Holder = nil
		c.changes++
		return activities.RunRef{}, err
	}
	ref := activities.RunRef{WorkflowID: exec.ID, RunID: exec.RunID}
	c.Holder.RunRef = ref
	c.Heals = append(c.Heals, c.Holder.Since)
	c.OverBudget = false
	c.children++
	c.changes++
	workflow.GoNamed(ctx, "await the heal", func(ctx workflow.Context) {
		var result SelfHealResult
		err := child.Get(ctx, &result)
		c.children--
		c.changes++
		if c.Holder != nil && c.Holder.RunRef == ref {
			c.ended(ctx, released(ref, result, err))
		}
	})
	return ref, nil
}

// cutPossible says whether the history should and may be cut here: nothing is under way that
// this run alone knows of.
func (c *component) cutPossible(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested() &&
		workflow.AllHandlersFinished(ctx) && c.working == 0 && c.children == 0 && c.stopCheckpoint == nil
}

func (c *component) mayContinueAsNew(ctx workflow.Context) bool {
	if !c.cutPossible(ctx) {
		return false
	}
	giveTurn(ctx)
	c.drain(ctx)
	return c.cutPossible(ctx)
}
