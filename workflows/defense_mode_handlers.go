package workflows

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// modeRequest is a shivx.ModeRequest that tells no time to confirm from none that is needed.
type modeRequest struct {
	Mode shivx.DefenseMode `json:"mode"`
	By   string            `json:"by"`
	Why  string            `json:"why"`
	// ConfirmWithin is how long a lockdown holds unless a person confirms it; nil: as the policy says,
	// 0: it needs none.
	ConfirmWithin *shivx.Duration `json:"confirm_within"`
}

// listen opens the channels of the signals.
func (d *defenseMode) listen(ctx workflow.Context) {
	d.signals = []signalReader{
		on(ctx, shivx.SignalConfigure, "How many threats within which time make the fleet ELEVATED, sent by agents.", d.onConfigure),
		on(ctx, shivx.SignalThreat, "A threat of the level high or critical, sent by the agent of a host out of its audit.", d.onThreat),
		on(ctx, shivx.SignalMode, "A host has changed its mode, sent by its agent out of its audit.", d.onMode),
		on(ctx, shivx.SignalLockdown, `Refuse all external access but the allow list: {"by":"ana","why":"intruder","confirm_within":"10m"}. `+
			`It ends by itself after that time unless it is confirmed; "0s": it does not.`, d.onLockdown),
		on(ctx, shivx.SignalRestore, `Back to NORMAL: {"by":"ana","why":"all clear"}`, d.onRestore),
	}
}

// takeSignals takes signals as they come. None of what follows from one blocks.
func (d *defenseMode) takeSignals(ctx workflow.Context) {
	sel := workflow.NewSelector(ctx)
	for _, s := range d.signals {
		sel.AddReceive(s.channel, func(workflow.ReceiveChannel, bool) {
			if s.receive(ctx) {
				d.settle(ctx)
			}
		})
	}
	for {
		sel.Select(ctx)
	}
}

// drain takes one signal of each kind that has arrived, and says whether there was any.
func (d *defenseMode) drain(ctx workflow.Context) (some bool) {
	for _, s := range d.signals {
		some = s.receive(ctx) || some
	}
	return some
}

func (d *defenseMode) onConfigure(ctx workflow.Context, p shivx.DefensePolicy) {
	if p.Threats < 1 || p.Window <= 0 || p.ConfirmWithin < 0 {
		workflow.GetLogger(ctx).Warn("this is no policy", "threats", p.Threats, "window", p.Window, "confirm_within", p.ConfirmWithin)
		return
	}
	p.Threats = min(p.Threats, mostThreats)
	d.Policy = p
}

// onThreat counts a threat once. One from the future, by a clock that is ahead, happens now.
func (d *defenseMode) onThreat(ctx workflow.Context, t shivx.Threat) {
	if !t.Level.Serious() {
		return
	}
	now := workflow.Now(ctx).UTC()
	if t.At.IsZero() || t.At.After(now) {
		t.At = now
	}
	if t.ID == "" {
		t.ID = fmt.Sprintf("%s/%s/%s/%d", t.Host, t.Type, t.Source, t.At.UnixNano())
	}
	d.seen(SeenThreat{ID: t.ID, At: t.At.UTC(), Host: t.Host, Type: t.Type, Source: t.Source})
}

// onMode takes what a host has done by itself. A lockdown is one of the fleet, and so is its end by a
// person. That a host is ELEVATED says nothing here, where threats are counted; and a lockdown that
// nobody has confirmed ends here by this run's own timer: somebody may have confirmed it here.
func (d *defenseMode) onMode(ctx workflow.Context, c shivx.ModeChange) {
	c.At, c.Until = c.At.UTC(), c.Until.UTC()
	if c.At.IsZero() {
		c.At = after(workflow.Now(ctx), d.lastWord())
	}
	if ahead := workflow.Now(ctx).Add(clocksApart); c.At.After(ahead) {
		c.At = ahead.UTC() // of two changes the later holds: one from far ahead would hold for ever
	}
	switch {
	case c.To == shivx.DefenseLockdown:
		d.noteLate(c, workflow.Now(ctx))
		d.lockDown(c)
	case c.By == shivx.Guardian || c.To != shivx.DefenseNormal:
	case c.From == shivx.DefenseLockdown:
		d.restore(c)
	case c.From == shivx.DefenseElevated:
		d.Calmed = latestChange(d.Calmed, &c)
	}
}

// noteLate has people told of a lockdown that was over before Temporal could be told. Told twice, it
// has the same key, by which people are told once.
func (d *defenseMode) noteLate(c shivx.ModeChange, now time.Time) {
	if outlasts(c.Until, now) || c.At.IsZero() {
		return
	}
	d.say(Message{
		Key: fmt.Sprintf("mode/late/%s/%d", c.Host, c.At.UnixNano()), At: now.UTC(),
		Text: fmt.Sprintf("%s was in LOCKDOWN from %s to %s, while Temporal was away; nobody has confirmed it: %s",
			c.Host, c.At.Format(time.RFC3339), c.Until.Format(time.RFC3339), c.Reason),
		Hint: "shivx guardian status on the host shows what happened",
	})
}

func (d *defenseMode) onLockdown(ctx workflow.Context, r modeRequest) {
	r.Mode = shivx.DefenseLockdown
	d.ask(ctx, r)
}

func (d *defenseMode) onRestore(ctx workflow.Context, r modeRequest) {
	r.Mode = shivx.DefenseNormal
	d.ask(ctx, r)
}

// ask does what a person asks for in Temporal, who knows what stands: it outranks all that was said.
func (d *defenseMode) ask(ctx workflow.Context, r modeRequest) {
	now := workflow.Now(ctx)
	c := shivx.ModeChange{From: d.Shown.To, To: r.Mode, By: orNone(r.By, byTemporal), Reason: orNone(r.Why, "asked for by hand"), At: after(now, d.lastWord())}
	if r.Mode != shivx.DefenseLockdown {
		d.restore(c)
		return
	}
	within := d.Policy.ConfirmWithin
	if r.ConfirmWithin != nil {
		within = *r.ConfirmWithin
	}
	if within > 0 {
		c.Until, c.Unconfirmed = c.At.Add(within.Std()).UTC(), true
	}
	d.asked = now
	d.lockDown(c)
}

// serve registers the query and the updates.
func (d *defenseMode) serve(ctx workflow.Context) error {
	return errors.Join(
		workflow.SetQueryHandlerWithOptions(ctx, shivx.QueryStatus, func() (DefenseState, error) { return d.DefenseState, nil },
			workflow.QueryHandlerOptions{Description: "The mode, the threats that count, the last changes, and what people were told."}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateSetMode, d.setMode, workflow.UpdateHandlerOptions{
			Description: `Set the mode: {"mode":"LOCKDOWN","by":"ana","why":"intruder","confirm_within":"10m"}; modes NORMAL, ELEVATED, LOCKDOWN`,
			Validator:   validMode}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateConfirm, d.confirm, workflow.UpdateHandlerOptions{
			Description: `Keep a lockdown that would end by itself: {"by":"ana"}`, Validator: d.mayConfirm}),
	)
}

func validMode(_ workflow.Context, r modeRequest) error {
	_, err := shivx.ParseDefenseMode(string(r.Mode))
	switch {
	case err != nil:
	case strings.TrimSpace(r.By) == "":
		err = shivx.Hint(errors.New("a change of the mode needs to say who asks for it"), `set "by" to your name`)
	case strings.TrimSpace(r.Why) == "" && strings.EqualFold(string(r.Mode), string(shivx.DefenseLockdown)):
		err = shivx.Hint(errors.New("a lockdown needs a reason"), `set "why" to one line`)
	case r.ConfirmWithin != nil && (*r.ConfirmWithin < 0 || r.ConfirmWithin.Std() > shivx.MaxTerm):
		err = shivx.Hint(fmt.Errorf("%s is no time to confirm in", r.ConfirmWithin), `set "confirm_within" to a time such as "10m"`)
	}
	if err != nil {
		return badInput(err.Error() + " — " + shivx.HintOf(err))
	}
	return nil
}

// setMode changes the mode. The time to confirm a lockdown that holds begins anew; and NORMAL is asked for
// again also where it holds, as hosts may be in a lockdown of which this run, if it was begun anew, does
// not know.
func (d *defenseMode) setMode(ctx workflow.Context, r modeRequest) (shivx.ModeChange, error) {
	r.Mode, _ = shivx.ParseDefenseMode(string(r.Mode)) // was checked
	if r.Mode != shivx.DefenseElevated || d.holds(workflow.Now(ctx)).To != shivx.DefenseElevated {
		d.ask(ctx, r)
		d.settle(ctx)
	}
	return d.Shown.ModeChange, nil
}

func (d *defenseMode) mayConfirm(ctx workflow.Context, r By) error {
	switch {
	case strings.TrimSpace(r.By) == "":
		return badInput(`who confirms it? — set "by" to your name`)
	case d.holds(workflow.Now(ctx)).To != shivx.DefenseLockdown:
		return temporal.NewNonRetryableApplicationError("no lockdown waits to be confirmed — the mode is "+string(d.Shown.To), "NoLockdown", nil)
	case workflow.Now(ctx).Equal(d.asked): // both have waited for a worker: nobody can have tried it
		return temporal.NewNonRetryableApplicationError("the lockdown begins only now — confirm it once you have seen that you still get in", "NoLockdown", nil)
	}
	return nil
}

// confirm keeps a lockdown. One that was confirmed before stays as it is.
func (d *defenseMode) confirm(ctx workflow.Context, r By) (shivx.ModeChange, error) {
	now := workflow.Now(ctx)
	if c := d.holds(now); c.To == shivx.DefenseLockdown && !c.Until.IsZero() {
		reason := strings.TrimPrefix(c.Reason, "confirmed: ")
		d.lockDown(shivx.ModeChange{From: c.To, By: r.By, Reason: "confirmed: " + reason, At: after(now, d.lastWord())})
		d.settle(ctx)
	}
	return d.Shown.ModeChange, nil
}

// show writes the mode and how it came about where the Temporal UI shows it.
func (d *defenseMode) show(ctx workflow.Context) {
	var b strings.Builder
	s := d.Shown
	fmt.Fprintf(&b, "### The fleet is %s\n\n| | |\n|---|---|\n| why | %s |\n| since | %s |\n| by | %s |\n",
		s.To, cell(s.Reason), s.At.Format(time.RFC3339), cell(s.By))
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", name, cell(value))
		}
	}
	row("host", s.Host)
	switch {
	case s.Unconfirmed:
		row("ends", s.Until.Format(time.RFC3339)+", unless a person confirms it (update `confirm`)")
	case !s.Until.IsZero():
		row("ends", s.Until.Format(time.RFC3339)+" or later, a "+d.Policy.Window.String()+" after the last threat")
	}
	row("policy", fmt.Sprintf("%d threats within %s make the fleet ELEVATED", d.Policy.Threats, d.Policy.Window))
	for _, m := range d.Untold {
		row("to be told", m.Text)
	}
	b.WriteString("\n| when | from | to | by | why |\n|---|---|---|---|---|\n")
	for i := len(d.Changes) - 1; i >= max(0, len(d.Changes)-changesShown); i-- {
		c := d.Changes[i]
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", c.At.Format(time.RFC3339), c.From, c.To, cell(c.By), cell(c.Reason))
	}
	b.WriteString("\n| last threats | what | source | host |\n|---|---|---|---|\n")
	for i := len(d.Threats) - 1; i >= max(0, len(d.Threats)-changesShown); i-- {
		t := d.Threats[i]
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", t.At.Format(time.RFC3339), t.Type, cell(t.Source), cell(t.Host))
	}
	workflow.SetCurrentDetails(ctx, b.String())
}
