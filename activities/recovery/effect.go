package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/recovery/crashpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// How often and how soon a step is tried again that its plugin calls retryable.
const (
	retries    = 3
	retryPause = time.Second
)

// stepOf is the runbook's step for each step of a plugin that has an effect.
var stepOf = map[sdk.Step]shivx.Step{
	sdk.StepIsolate: shivx.StepIsolate, sdk.StepRecover: shivx.StepRecover,
	sdk.StepReintegrate: shivx.StepReintegrate, sdk.StepUndo: shivx.StepUndo,
}

// effect runs one step of a plugin so that its effect takes place once, however often the
// activity is run. The ledger tells what came before: nothing, a start without an end (a crash
// cut the step off), or the end.
func (a *Activities) effect(ctx context.Context, in activities.StepInput, step sdk.Step, use config.Use) (activities.StepResult, error) {
	ctx, stop := activities.Guard(ctx, use.Timeout)
	defer stop()
	e, err := a.prepare(ctx, in, step, use)
	if err != nil || e.skip != "" {
		return activities.StepResult{Summary: e.skip, Skipped: e.skip != ""}, err
	}
	if in.Plan {
		res, err := e.run(ctx)
		if err != nil {
			return res, stepError(ctx, e.name, err)
		}
		return res, nil
	}
	// Not by the effect's key: the run may have gone on while an earlier step is still at work.
	ctx, leave, err := a.attempts.Enter(ctx, in.Component)
	if err != nil {
		return activities.StepResult{}, err
	}
	defer leave()
	if res, ended, err := e.before(ctx); ended {
		return res, err
	}
	if err := ctx.Err(); err != nil {
		return activities.StepResult{}, stepError(ctx, e.name, err)
	}
	crashpoint.Reach(string(step), crashpoint.Before)
	res, err := e.run(ctx)
	crashpoint.Reach(string(step), crashpoint.After)
	return e.after(ctx, res, err)
}

// effectRun is one step of one plugin under way.
type effectRun struct {
	*Activities
	in      activities.StepInput
	step    sdk.Step
	plugin  host.Runner
	name    string
	req     sdk.Request
	skip    string
	started time.Time
}

func (a *Activities) prepare(ctx context.Context, in activities.StepInput, step sdk.Step, use config.Use) (*effectRun, error) {
	e := &effectRun{Activities: a, in: in, step: step, name: use.Plugin, started: time.Now()}
	var err error
	if e.plugin, err = a.Plugins.Get(ctx, use.Plugin); err != nil {
		return e, stepError(ctx, use.Plugin, err)
	}
	if !e.plugin.Describe().Can(step) {
		e.skip = fmt.Sprintf("the plugin %s has no step %s", use.Plugin, step)
		return e, nil
	}
	options, err := use.OptionsJSON()
	if err != nil {
		return e, pluginError(use.Plugin, err)
	}
	e.req = a.request(ctx, in, step, options, use.Plugin).WithProgress(func(s string) { activities.Tell(ctx, s) })
	if step == sdk.StepRecover && e.plugin.Describe().Destructive && !in.Plan {
		if err := wayBack(e.req); err != nil {
			return e, stepError(ctx, use.Plugin, err)
		}
	}
	return e, nil
}

// wayBack is an error unless there is a checkpoint to go back to.
func wayBack(req sdk.Request) error {
	switch {
	case req.CheckpointErr != nil:
		return fmt.Errorf("it changes data, and the checkpoint to go back to cannot be read: %w", req.CheckpointErr)
	case req.CheckpointID == "":
		return shivx.Hint(errors.New("it changes data, and there is no checkpoint to go back to"), listThem)
	}
	return nil
}

// before looks into the ledger for an earlier run of the same effect and writes the start.
// ended is true when there is nothing left to run.
func (e *effectRun) before(ctx context.Context) (res activities.StepResult, ended bool, err error) {
	if rec, ok, err := e.Ledger.Find(e.req.Key + "/end"); err != nil {
		return res, true, err
	} else if ok {
		var r shivx.RecoveryRecord
		r.Details = &res
		if err := rec.Decode(&r); err != nil {
			return res, true, err
		}
		if r.EventType == shivx.EventStepFailed {
			return res, true, temporal.NewNonRetryableApplicationError(r.Message, activities.ErrPlugin, nil)
		}
		return res, true, nil
	}
	start, found, err := e.Ledger.Find(e.req.Key + "/start")
	if err != nil {
		return res, true, err
	}
	if found {
		return e.resume(ctx, start)
	}
	return res, false, e.start(ctx)
}

// startDetails is what the ledger keeps of the state before an effect.
type startDetails struct {
	Plugin string `json:"plugin"`
	Mark   string `json:"mark,omitempty"`
}

func (e *effectRun) start(ctx context.Context) error {
	mark := ""
	if e.plugin.Describe().Can(sdk.StepMark) {
		r, err := e.plugin.Run(ctx, sdk.StepMark, e.forStep())
		if err != nil && !errors.Is(err, sdk.ErrUnknown) {
			return stepError(ctx, e.name, err)
		}
		mark = r.Mark
	}
	_, err := e.record(ctx, e.req.Key+"/start", e.line(shivx.EventStepStarted, shivx.SeverityInfo, "", startDetails{e.name, mark}))
	if err != nil {
		// Availability first: a full disk must not keep the recovery that frees it from running.
		e.Logger.Error("a step runs without a record of its start", "step", e.step, "component", e.in.Component, "error", err)
	}
	return nil
}

// resume decides about a step that a crash cut off: its effect took place, did not, or nobody
// can tell. A step that may be repeated without harm then is, any other is left to people and
// to the next strategy.
func (e *effectRun) resume(ctx context.Context, start interface{ Decode(any) error }) (activities.StepResult, bool, error) {
	var details startDetails
	if err := start.Decode(&shivx.RecoveryRecord{Details: &details}); err != nil {
		return activities.StepResult{}, true, err
	}
	about := e.plugin.Describe()
	if about.Can(sdk.StepDone) {
		req := e.forStep()
		req.Mark = details.Mark
		r, err := e.plugin.Run(ctx, sdk.StepDone, req)
		switch {
		case ctx.Err() != nil:
			return activities.StepResult{}, true, stepError(ctx, e.name, ctx.Err())
		case err == nil && r.Done:
			res, err := e.after(ctx, activities.StepResult{Summary: "had taken place before the crash", Resumed: true}, nil)
			return res, true, err
		case err == nil:
			return activities.StepResult{}, false, nil
		case !errors.Is(err, sdk.ErrUnknown):
			return activities.StepResult{}, true, stepError(ctx, e.name, err)
		}
	}
	if about.Idempotent {
		return activities.StepResult{}, false, nil
	}
	msg := fmt.Sprintf("%s: a crash cut off the step %s, and the plugin cannot tell whether its effect took place", e.name, e.step)
	e.end(ctx, e.line(shivx.EventStepFailed, shivx.SeverityError, msg, nil))
	return activities.StepResult{}, true, temporal.NewNonRetryableApplicationError(msg, activities.ErrUnknownEffect, nil)
}

// forStep is the request for mark and done, which are asked about another step.
func (e *effectRun) forStep() sdk.Request {
	req := e.req
	req.Of = e.step
	return req
}

// run calls the plugin; what the plugin calls retryable is tried again.
func (e *effectRun) run(ctx context.Context) (activities.StepResult, error) {
	for try := 1; ; try++ {
		r, err := e.plugin.Run(ctx, e.step, e.req)
		if err == nil {
			return activities.StepResult{Summary: r.Summary, Changes: r.Changes}, nil
		}
		var fail *sdk.Fail
		if !errors.As(err, &fail) || !fail.Retryable || try == retries {
			return activities.StepResult{}, err
		}
		select {
		case <-ctx.Done():
			return activities.StepResult{}, err
		case <-time.After(retryPause):
		}
	}
}

// after writes the end of the effect, also when the run was cancelled. A step that the agent's
// stop has cut off has no end: it is resumed when the agent is back.
func (e *effectRun) after(ctx context.Context, res activities.StepResult, failure error) (activities.StepResult, error) {
	switch {
	case failure == nil:
		e.end(ctx, e.line(shivx.EventStepDone, shivx.SeverityInfo, res.Summary, res))
		return res, nil
	case activities.ToBeResumed(ctx):
		return res, fmt.Errorf("%s: the step %s was cut off and is to be resumed: %w", e.name, e.step, context.Cause(ctx))
	}
	e.end(ctx, e.line(shivx.EventStepFailed, shivx.SeverityWarning, e.name+": "+withHint(activities.TimedOut(ctx, failure)), nil))
	return res, stepError(ctx, e.name, failure)
}

// end records how the effect ended. That it could not be recorded does not undo what was done.
func (e *effectRun) end(ctx context.Context, line shivx.RecoveryRecord) {
	if _, err := e.record(context.WithoutCancel(ctx), e.req.Key+"/end", line); err != nil {
		e.Logger.Error("the end of a step is not in the ledger", "step", e.step, "component", e.in.Component, "error", err)
	}
}

func (e *effectRun) line(event string, sev shivx.Severity, msg string, details any) shivx.RecoveryRecord {
	r := shivx.RecoveryRecord{
		EventType: event, Component: e.in.Component, Host: e.in.Host, Severity: sev, Run: e.in.Run,
		Step: stepOf[e.step], Strategy: e.in.Strategy, Attempt: e.in.Attempt,
		RecoveryType: shivx.RecoveryType(e.plugin.Describe().RecoveryType), Message: msg, Details: details,
	}
	if event != shivx.EventStepStarted {
		ok := event == shivx.EventStepDone
		r.Success = &ok
		r.DurationMS = time.Since(e.started).Milliseconds()
	}
	return r
}

// stepError turns the error of a plugin into one that the workflow decides on. A step that was
// stopped did not fail: its error is the reason why it was stopped.
func stepError(ctx context.Context, plugin string, err error) error {
	if why := activities.Stopped(ctx); why != nil {
		return why
	}
	return pluginError(plugin, activities.TimedOut(ctx, err))
}
