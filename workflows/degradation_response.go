package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// DegradationInput is the state with which a DegradationResponse starts or goes on after
// continue-as-new.
type DegradationInput struct {
	Host  string           `json:"host"`
	State DegradationState `json:"state,omitzero"`
}

// DegradationResponse follows the degradation level of one host. The host decides on its level and
// applies it by itself, also while Temporal is away; the runbook keeps what happened, makes sure that
// the load-shedding hooks are what the level asks for, tells people, and takes overrides, which it
// hands to the host. It lives for as long as the host does.
func DegradationResponse(ctx workflow.Context, in DegradationInput) error {
	d, err := setupDegradation(ctx, in)
	if err != nil {
		return err
	}
	return d.run(ctx)
}

func setupDegradation(ctx workflow.Context, in DegradationInput) (*degradation, error) {
	if in.Host == "" {
		return nil, badInput(`a DegradationResponse needs {"host":"HOST"}`)
	}
	d := &degradation{DegradationState: in.State, mutex: workflow.NewMutex(ctx)}
	d.messages = &d.Messages
	if d.Host == "" {
		d.Unapplied = true // what is in force on a host that is new here is found out at once
	}
	d.Host = in.Host
	d.listen(ctx)
	workflow.GoNamed(ctx, "tell people", func(ctx workflow.Context) { d.tellPeople(ctx, d.sendTo, d.told) })
	return d, d.serve(ctx)
}

func (d *degradation) run(ctx workflow.Context) error {
	for {
		// Signals that come while an activity runs must be seen: they are counted from here.
		seen := d.news
		d.applyDue(ctx)
		d.show(ctx)
		if d.mayContinueAsNew(ctx) {
			return workflow.NewContinueAsNewError(ctx, shivx.TypeDegradationResponse, DegradationInput{Host: d.Host, State: d.DegradationState})
		}
		changed := func() bool { return d.news != seen || d.cutPossible(ctx) }
		if ctx.Err() == nil && changed() {
			continue
		}
		var err error
		if due, what := d.nextDue(ctx); what != "" {
			_, err = workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
				Timeout: due.Sub(workflow.Now(ctx)), TimerOptions: workflow.TimerOptions{Summary: what},
			}, changed)
		} else {
			err = workflow.Await(ctx, changed)
		}
		if err != nil {
			return err
		}
	}
}

// nextDue returns the next time at which something must be done without being asked, and what.
func (d *degradation) nextDue(ctx workflow.Context) (due time.Time, what string) {
	if !d.Unapplied || !d.ApplyAt.After(workflow.Now(ctx)) {
		return due, ""
	}
	if d.HostAway() {
		return d.ApplyAt, "ask the host again, which does not answer"
	}
	return d.ApplyAt, "try the hooks again"
}

// applyDue asks the host to switch its hooks as its level asks. Of the changes that came meanwhile
// only the newest is asked for.
func (d *degradation) applyDue(ctx workflow.Context) {
	if !d.Unapplied || workflow.Now(ctx).Before(d.ApplyAt) {
		return
	}
	d.Unapplied = false
	in := activities.ApplyLevelInput{Host: d.Host, Number: d.Number, Level: d.Level}
	answer := d.askHost(ctx, in)
	if answer == nil || ctx.Err() != nil {
		return // a newer change is due, or the runbook is being stopped
	}
	res, err := answer.level, answer.err
	now := workflow.Now(ctx)
	again := func(after time.Duration) {
		if !d.Unapplied { // a newer change is due at once
			d.Unapplied, d.ApplyAt = true, now.Add(after)
		}
	}
	if hostVanished(err) {
		if d.AwaySince.IsZero() {
			d.AwaySince = now
		}
		again(askAgain)
		return
	}
	d.AwaySince = time.Time{}
	if err == nil {
		d.answered(res, now)
	}
	d.Applied = in.Number
	wrong, why := failing(res, err)
	d.ToldHooks = slices.DeleteFunc(d.ToldHooks, func(name string) bool { return !slices.Contains(wrong, name) })
	d.LastError = why
	if len(wrong) == 0 {
		d.Failures = 0
		return
	}
	newer := d.Unapplied
	again(retryAfter(d.Failures))
	if !newer {
		d.Failures++
		d.tellOfHooks(ctx, in, wrong)
	}
}

// hostAnswer is what came of asking the host to switch its hooks.
type hostAnswer struct {
	level activities.AppliedLevel
	err   error
}

// askHost asks the host to switch its hooks. It returns nil when a newer change has waited for the
// answer for too long: the host is asked for that one then, and this one is called off.
func (d *degradation) askHost(ctx workflow.Context, in activities.ApplyLevelInput) *hostAnswer {
	asking, callOff := workflow.WithCancel(ctx)
	defer callOff()
	var answer *hostAnswer
	workflow.GoNamed(asking, "ask the host", func(ctx workflow.Context) {
		level, err := activities.ApplyLevel.Execute(hostApply(ctx, d.Host, d.applySummary()), in)
		answer = &hostAnswer{level, err}
	})
	answered := func() bool { return answer != nil }
	err := workflow.Await(ctx, func() bool { return answered() || d.Unapplied })
	if err != nil || answered() {
		return answer
	}
	_, _ = workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout: overtakeAfter, TimerOptions: workflow.TimerOptions{Summary: "a newer change waits"},
	}, answered)
	return answer
}

func (d *degradation) applySummary() string {
	if d.Number == 0 {
		return "what is in force on " + d.Host + "?"
	}
	return summary(fmt.Sprintf("make sure of %s for change %d of %s", d.Level, d.Number, d.Host))
}

// summary cuts a text to what Temporal takes for one.
func summary(s string) string {
	const most = 190
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// allHooks stands for the hooks of a host that could not be asked for them.
const allHooks = "all hooks"

// failing names the hooks that are not as they should be, and says why.
func failing(res activities.AppliedLevel, err error) (names []string, why string) {
	if err != nil {
		return []string{allHooks}, reason(err)
	}
	var whys []string
	for _, h := range res.Hooks {
		if h.Error != "" {
			names = append(names, h.Name)
			whys = append(whys, h.Name+": "+h.Error)
		}
	}
	return names, strings.Join(whys, "; ")
}

// retryAfter is the pause after the n-th failure in a row, n ≥ 0.
func retryAfter(n int) time.Duration {
	d := retryFirst
	for range n {
		if d *= 2; d >= askAgain {
			return askAgain
		}
	}
	return d
}

// tellOfHooks tells people of hooks that stay in error, of each once until it works again.
func (d *degradation) tellOfHooks(ctx workflow.Context, in activities.ApplyLevelInput, wrong []string) {
	if d.Failures < triesBeforeTold {
		return
	}
	fresh := slices.DeleteFunc(slices.Clone(wrong), func(name string) bool { return slices.Contains(d.ToldHooks, name) })
	if len(fresh) == 0 {
		return
	}
	d.ToldHooks = append(d.ToldHooks, fresh...)
	now := workflow.Now(ctx)
	d.say(Message{
		Key: fmt.Sprintf("%s/%d@%s/hooks/%s", d.Ledger, in.Number, now.UTC().Format(time.RFC3339Nano), strings.Join(fresh, ",")), At: now,
		Text: fmt.Sprintf("load-shedding hooks of %s are not what its level %s asks for: %s", d.Host, d.LevelNow(), d.LastError),
		Hint: "look at the hook's command or plugin on the host; it is tried again every " + shivx.Duration(askAgain).String() + " until it works",
	})
}

// sendTo gives people a message, through the host if it is there.
func (d *degradation) sendTo(ctx workflow.Context, m Message) bool {
	return tell(ctx, activities.EscalateInput{
		Target: shivx.Target{Component: shivx.ModuleHost, Host: d.Host}, Run: shivx.DegradationID(d.Host),
		Message: m.Text, Hint: m.Hint, Key: m.Key,
	}, !d.AwaySince.IsZero())
}

// told shows whom a message has reached. The main loop may be waiting for the host.
func (d *degradation) told(ctx workflow.Context, heard bool) {
	d.news++
	if heard {
		d.show(ctx)
	}
}

// cutPossible says whether the history should and may be cut here.
func (d *degradation) cutPossible(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested() &&
		workflow.AllHandlersFinished(ctx) && d.idle()
}

func (d *degradation) mayContinueAsNew(ctx workflow.Context) bool {
	if ctx.Err() != nil || !d.cutPossible(ctx) {
		return false
	}
	giveTurn(ctx)
	for d.signal.receive(ctx) { // every signal that has arrived
	}
	return d.cutPossible(ctx)
}

// serve registers the query and the update.
func (d *degradation) serve(ctx workflow.Context) error {
	return errors.Join(
		workflow.SetQueryHandlerWithOptions(ctx, shivx.QueryStatus, func() (DegradationState, error) { return d.DegradationState, nil },
			workflow.QueryHandlerOptions{Description: "Level, override, hooks, the last changes, and what people were told."}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateOverride, d.override, workflow.UpdateHandlerOptions{
			Description: `Hold the host at a level: {"level":"LEVEL_2","for":"30m","by":"ana","why":"load test"}. End that: {"end":true,"by":"ana"}`,
			Validator:   validOverride}),
	)
}
