package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// DefenseInput is how a DefenseMode starts, which needs nothing, or goes on after continue-as-new.
type DefenseInput struct {
	// Policy holds until an agent has said otherwise; nil: the default one.
	Policy *shivx.DefensePolicy `json:"policy,omitempty"`
	// State is set by continue-as-new.
	State *DefenseState `json:"state,omitempty"`
}

// DefenseMode keeps the defense mode of the fleet: it counts the serious threats of all hosts, ends
// lockdowns that nobody confirms, and tells people of each change. Hosts decide on their own mode by
// themselves, also while Temporal is away; they follow what this run shows in its memo. There is one for
// the fleet, for as long as the fleet lives.
func DefenseMode(ctx workflow.Context, in DefenseInput) error {
	if id := workflow.GetInfo(ctx).WorkflowExecution.ID; id != shivx.DefenseModeID {
		return badInput(fmt.Sprintf("hosts follow the run with the workflow id %s alone, not %s", shivx.DefenseModeID, id))
	}
	d, err := setupDefense(ctx, in)
	if err != nil {
		return err
	}
	return d.run(ctx)
}

func setupDefense(ctx workflow.Context, in DefenseInput) (*defenseMode, error) {
	d := &defenseMode{DefenseState: DefenseState{Policy: shivx.DefaultDefensePolicy()}}
	if in.State != nil {
		d.DefenseState = *in.State
	}
	d.messages = &d.Messages
	if in.Policy != nil {
		d.onConfigure(ctx, *in.Policy)
	}
	d.listen(ctx)
	for d.drain(ctx) { // every signal that came with the start
	}
	if in.State == nil {
		d.settle(ctx)
	} else {
		d.show(ctx)
	}
	workflow.GoNamed(ctx, "signals", d.takeSignals)
	workflow.GoNamed(ctx, "tell people", func(ctx workflow.Context) {
		d.tellPeople(ctx, d.send, func(ctx workflow.Context, _ bool) { d.show(ctx) })
	})
	return d, d.serve(ctx)
}

func (d *defenseMode) run(ctx workflow.Context) error {
	for {
		d.settle(ctx)
		if d.mayContinueAsNew(ctx) {
			return workflow.NewContinueAsNewError(ctx, shivx.TypeDefenseMode, DefenseInput{State: &d.DefenseState})
		}
		number, due := d.Shown.Number, d.due
		changed := func() bool { return d.Shown.Number != number || d.cutPossible(ctx) }
		if err := waitUntil(ctx, due, d.timerSummary(), changed); err != nil {
			return err
		}
	}
}

func (d *defenseMode) timerSummary() string {
	if d.Shown.To == shivx.DefenseLockdown {
		return "the lockdown ends unless a person confirms it"
	}
	return "calm again, unless there are more threats"
}

// settle shows what holds wherever hosts and people look, if that has changed. It blocks nowhere, so that
// signals and updates take effect one after the other.
func (d *defenseMode) settle(ctx workflow.Context) {
	now := workflow.Now(ctx).UTC()
	c, restoredAt := d.holds(now), d.restoredAt()
	d.due = c.Until
	if !d.worthShowing(c, restoredAt, now) {
		return
	}
	before := d.Shown
	if before.Number == 0 {
		before.To, before.Number = shivx.DefenseNormal, firstNumber(ctx)
	}
	c.From = before.To
	if c.At.IsZero() {
		c.At = now
	}
	d.Shown = shivx.FleetMode{ModeChange: c, Number: before.Number + 1, RestoredAt: restoredAt}
	if c.To != before.To || c.To == shivx.DefenseLockdown && c.Unconfirmed != before.Unconfirmed {
		d.Changes = latest(append(d.Changes, d.Shown), defenseChangesKept)
		d.tellOf(d.Shown, now)
	}
	d.publish(ctx, now)
	d.show(ctx)
}

// publish writes the mode where hosts look.
func (d *defenseMode) publish(ctx workflow.Context, now time.Time) {
	err := workflow.UpsertMemo(ctx, map[string]any{shivx.MemoMode: d.Shown})
	if err == nil {
		err = workflow.UpsertTypedSearchAttributes(ctx, activities.AttrRunbook.ValueSet(shivx.RunbookDefense), activities.AttrChanged.ValueSet(now))
	}
	if err != nil {
		workflow.GetLogger(ctx).Error("the hosts do not see the mode", "mode", d.Shown.To, "error", err)
	}
}

// cutPossible says whether the history should and may be cut here.
func (d *defenseMode) cutPossible(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx) && d.idle()
}

func (d *defenseMode) mayContinueAsNew(ctx workflow.Context) bool {
	if ctx.Err() != nil || !d.cutPossible(ctx) {
		return false
	}
	giveTurn(ctx)
	return d.cutPossible(ctx)
}

// send gives people a message through any agent.
func (d *defenseMode) send(ctx workflow.Context, m Message) bool {
	host := d.Shown.Host
	if host == "" {
		host = "fleet"
	}
	return tell(ctx, activities.EscalateInput{
		Target: shivx.Target{Component: shivx.Guardian, Host: host}, Run: shivx.DefenseModeID,
		Message: m.Text, Hint: m.Hint, Key: m.Key,
	}, true)
}

// tellOf has people told of a change of the mode.
func (d *defenseMode) tellOf(f shivx.FleetMode, now time.Time) {
	at := f.At.Format(time.RFC3339)
	m := Message{Key: fmt.Sprintf("mode/%d", f.Number), At: now}
	switch {
	case f.To == shivx.DefenseLockdown && f.From == shivx.DefenseLockdown && !f.Unconfirmed:
		m.Text = fmt.Sprintf("the LOCKDOWN of the fleet was confirmed by %s at %s: %s", f.By, at, f.Reason)
		m.Hint = "it holds until a person ends it: shivx guardian restore --lockdown"
	case f.To == shivx.DefenseLockdown:
		m.Text = fmt.Sprintf("the fleet is in LOCKDOWN since %s, by %s: %s", at, orNone(f.By, shivx.Guardian), f.Reason)
		m.Hint = "external access is refused but for the allow list; end it with shivx guardian restore --lockdown"
		if !f.Until.IsZero() {
			m.Hint = fmt.Sprintf("it ends by itself at %s unless a person confirms it: shivx guardian confirm", f.Until.Format(time.RFC3339))
		}
	case f.From == shivx.DefenseLockdown:
		m.Text = fmt.Sprintf("the LOCKDOWN of the fleet is over since %s, now %s, by %s: %s", at, f.To, f.By, f.Reason)
		m.Hint = "shivx guardian lockdown begins it anew"
	case f.To == shivx.DefenseElevated:
		m.Text = fmt.Sprintf("the fleet is ELEVATED since %s, thresholds are tighter: %s", at, f.Reason)
		m.Hint = "nothing needs to be done: it decays by itself; shivx guardian status shows the threats"
	case f.From == shivx.DefenseElevated:
		m.Text = fmt.Sprintf("the fleet is NORMAL again since %s: %s", at, f.Reason)
		m.Hint = "nothing needs to be done"
	default:
		return // it begins as NORMAL
	}
	d.say(m)
}
