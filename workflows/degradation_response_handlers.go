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
	isNew, late := d.count(c, workflow.Now(ctx))
	if !isNew {
		return
	}
	d.news++
	d.keep(c)
	if late {
		return
	}
	if d.Level != c.To {
		d.Since = c.At
	}
	d.Level, d.Override = c.To, c.Override
	d.Unapplied, d.ApplyAt = true, time.Time{}
	d.noteEmergency(c)
}

// noteEmergency has people told that an emergency has begun or is over.
func (d *degradation) noteEmergency(c shivx.LevelChange) {
	switch {
	case c.To == shivx.LevelEmergency && d.Emergency == "":
		d.Emergency = fmt.Sprintf("%s/%d/emergency", c.Ledger, c.Number)
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
	d.Untold = append(d.Untold, m)
	if len(d.Untold) > untoldKept {
		i := 0
		if d.Untold[0].Key == d.telling {
			i = 1
		}
		d.Untold = slices.Delete(d.Untold, i, i+1)
	}
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
	if !r.NotAfter.IsZero() && workflow.Now(ctx).After(r.NotAfter) {
		return temporal.NewNonRetryableApplicationError(
			"the request was held up for so long that nobody waits for it any more — ask again; if this comes at once, compare the clocks",
			activities.ErrHostAway, nil)
	}
	return nil
}

// override hands a person's request to the host, whose ledger is the one order of all changes: the
// change comes back by SignalHealth as every other.
func (d *degradation) override(ctx workflow.Context, r shivx.OverrideRequest) (shivx.LevelChange, error) {
	if err := d.mutex.Lock(ctx); err != nil {
		return shivx.LevelChange{}, err
	}
	defer d.mutex.Unlock()
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
	if hostVanished(err) {
		return change, temporal.NewNonRetryableApplicationError(fmt.Sprintf(
			"the agent of %s did not take the override within %s — is it up, and connected to Temporal? On the host itself this works without Temporal: shivx level %s --local, or the agent's route /api/resilience/override",
			d.Host, overridePatience, local), activities.ErrHostAway, nil)
	}
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return change, temporal.NewNonRetryableApplicationError(app.Message(), app.Type(), nil)
	}
	return change, err
}
