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

// listen takes the changes in the order in which they come.
func (d *degradation) listen(ctx workflow.Context) {
	d.signal = on(ctx, shivx.SignalHealth, "A change of the host's level or override, sent by its agent out of its ledger.", d.onChange)
	workflow.GoNamed(ctx, "signals", func(ctx workflow.Context) {
		sel := workflow.NewSelector(ctx)
		sel.AddReceive(d.signal.channel, func(workflow.ReceiveChannel, bool) { d.signal.receive(ctx) })
		for {
			sel.Select(ctx)
		}
	})
}

// onChange takes a change that is new. It does nothing that could block.
func (d *degradation) onChange(ctx workflow.Context, c shivx.LevelChange) {
	if c.Host != d.Host || c.Ledger == "" || c.Number == 0 || c.To.Rank() < 0 {
		workflow.GetLogger(ctx).Warn("this is no change of this host", "host", c.Host, "ledger", c.Ledger, "number", c.Number, "level", c.To)
		return
	}
	v := d.count(c, workflow.Now(ctx))
	if v == seenBefore {
		return
	}
	d.news++
	d.keep(c, v == isLate)
	if v == isLate {
		return
	}
	if d.Level != c.To || c.From != c.To {
		d.Since = c.At
	}
	d.Level, d.Override = c.To, c.Override
	d.Unapplied, d.ApplyAt = true, time.Time{}
	if v == isRewind {
		d.noteRewind(c)
	}
	d.noteEmergency(c)
	d.show(ctx) // the main loop may be waiting for the host
}

// keyOf is the beginning of the keys of messages about a change. People are told each key once, and
// an audit that went back gives numbers again.
func keyOf(c shivx.LevelChange) string {
	return fmt.Sprintf("%s/%d@%s", c.Ledger, c.Number, c.At.UTC().Format(time.RFC3339Nano))
}

// noteRewind has people told that the audit went back.
func (d *degradation) noteRewind(c shivx.LevelChange) {
	d.say(Message{
		Key: keyOf(c) + "/rewind", At: c.At,
		Text: fmt.Sprintf("the audit of %s went back %s: was an old copy of its files put back?", d.Host, d.Rewinds[len(d.Rewinds)-1].Line()),
		Hint: "if so, nothing needs to be done: its changes count from there; if not, look for a second agent that runs as " +
			d.Host + ", and run shivx ledger verify on the host",
	})
}

// noteEmergency has people told that an emergency has begun or is over.
func (d *degradation) noteEmergency(c shivx.LevelChange) {
	switch {
	case c.To == shivx.LevelEmergency && (d.Emergency == "" || c.From != c.To):
		d.Emergency = keyOf(c) + "/emergency"
		d.say(Message{
			Key: d.Emergency, At: c.At,
			Text: fmt.Sprintf("%s is in EMERGENCY since %s, only the core is on: %s", d.Host, c.At.UTC().Format(time.RFC3339), c.Reason),
			Hint: "shivx status --explain on the host says what costs the score; shivx level " + d.Host + " shows how it came to this",
		})
	case c.To != shivx.LevelEmergency && d.Emergency != "":
		began := slices.IndexFunc(d.Untold, func(m Message) bool { return m.Key == d.Emergency })
		over := Message{
			Key: d.Emergency + "-over", At: c.At,
			Text: fmt.Sprintf("%s is out of EMERGENCY since %s, at %s: %s", d.Host, c.At.UTC().Format(time.RFC3339), c.To, c.Reason),
			Hint: "nothing needs to be done; shivx level " + d.Host + " shows the changes",
		}
		if began >= 0 && d.telling != d.Emergency { // people know of neither
			over.Text = d.Untold[began].Text + ". By now it is over: " + over.Text
			d.Untold = slices.Delete(d.Untold, began, began+1)
		}
		d.Emergency = ""
		d.say(over)
	}
}

// say has people told, after what they are told before.
func (d *degradation) say(m Message) {
	d.teller.say(m)
	d.news++
}

// spelled is a request with its level in the one spelling.
func spelled(r shivx.OverrideRequest) shivx.OverrideRequest {
	if l, err := shivx.ParseLevel(string(r.Level)); err == nil {
		r.Level = l
	}
	return r
}

// validOverride refuses what says too little, and what comes too late: an update that no worker took
// when it was sent waits on the server, and its sender was told that it failed.
func validOverride(ctx workflow.Context, r shivx.OverrideRequest) error {
	if err := spelled(r).Check(); err != nil {
		return badInput(err.Error() + " — " + shivx.HintOf(err))
	}
	return inTime(ctx, r)
}

// inTime refuses a request that nobody waits for any more.
func inTime(ctx workflow.Context, r shivx.OverrideRequest) error {
	err := r.InTime(workflow.Now(ctx))
	if err == nil {
		return nil
	}
	return temporal.NewNonRetryableApplicationError(err.Error()+" — "+shivx.HintOf(err), activities.ErrHostAway, nil)
}

// override hands a person's request to the host, whose ledger is the one order of all changes: the
// change comes back by SignalHealth as every other.
func (d *degradation) override(ctx workflow.Context, r shivx.OverrideRequest) (shivx.LevelChange, error) {
	if err := d.mutex.Lock(ctx); err != nil {
		return shivx.LevelChange{}, err
	}
	defer d.mutex.Unlock()
	if err := inTime(ctx, r); err != nil { // it may have waited for those before it
		return shivx.LevelChange{}, err
	}
	r = spelled(r)
	what, local := fmt.Sprintf("hold %s at %s for %s, asked for by %s", d.Host, r.Level, r.For, r.By), "set "+string(r.Level)
	if r.End {
		what, local = fmt.Sprintf("end the override of %s, asked for by %s", d.Host, r.By), "clear"
	}
	actx := workflow.WithScheduleToStartTimeout(hostChange(ctx, d.Host, summary(what), overrideTimeout), overridePatience)
	change, err := activities.SetOverride.Execute(actx, activities.SetOverrideInput{
		Host: d.Host, Key: shivx.DegradationID(d.Host) + "/" + workflow.GetCurrentUpdateInfo(ctx).ID, Request: r,
	})
	if err == nil {
		return change, nil
	}
	return shivx.LevelChange{}, d.notOverridden(err, local)
}

// notOverridden says why there is no override; local is how to ask on the host itself.
func (d *degradation) notOverridden(err error, local string) error {
	timeout, timedOut := errors.AsType[*temporal.TimeoutError](err)
	if hostVanished(err) && timeout.Unwrap() == nil { // it has no cause: there was no earlier attempt
		return temporal.NewNonRetryableApplicationError(fmt.Sprintf(
			"the agent of %s did not take the override within %s — is it up, and connected to Temporal? On the host itself this works without Temporal: shivx level %s --local, or the agent's route /api/resilience/override",
			d.Host, overridePatience, local), activities.ErrHostAway, nil)
	}
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok && !timedOut {
		return temporal.NewNonRetryableApplicationError(app.Message(), app.Type(), nil)
	}
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(
		"the agent of %s did not say what came of the override: it may have been taken — shivx level %s shows it", d.Host, d.Host),
		activities.ErrOverrideUnknown, nil)
}
