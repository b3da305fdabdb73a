// Package effect runs one step of a plugin so that its effect takes place once, however often its activity is run.
//
// The ledger is the journal: a step is written to it before it begins, with a mark of the state before, and when it has
// ended. A step that a crash cut off is found there when it is run again, and its plugin is asked whether the effect took
// place (docs/adr/0002).
package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/recovery/crashpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// Plugins finds plugins by name.
type Plugins interface {
	Get(ctx context.Context, name string) (host.Runner, error)
}

// Ledger is where steps are recorded.
type Ledger interface {
	Find(key string) (ledger.Record, bool, error)
	Append(ctx context.Context, key string, event any) (ledger.Record, error)
}

// Runner runs steps of plugins.
type Runner struct {
	Plugins Plugins
	Ledger  Ledger
	Logger  *slog.Logger
	// Attempts keeps two steps about the same apart, of all runners that share it.
	Attempts *activities.Attempts
}

// Step is one step of one plugin.
type Step struct {
	Do  sdk.Step
	Use config.Use
	// Plan asks what would be done.
	Plan bool
	// Alone is what the step is about: of two with the same the later one waits. It is not the effect's key, for the
	// run may have gone on while an earlier step is still at work.
	Alone string
	// Request is what the plugin is told; its key names the effect over crashes and retries.
	Request func(ctx context.Context, options []byte) sdk.Request
	// Allowed says what forbids the step, whatever the ledger has of it; nil: nothing does.
	Allowed func(sdk.Description, sdk.Request) error
	// Before is called when the step is about to begin, and not when a crash had cut it off after that; nil: nothing is.
	Before func(context.Context) error
	// OnRecord has the step begin only when its start is in the ledger, with a mark where its plugin gives one. A heal begins
	// all the same: a full disk must not keep the recovery that frees it from running.
	OnRecord bool
	// Record is what the lines of the ledger have in common; Step in it names the crash points, too.
	Record shivx.RecoveryRecord
}

// How often and how soon a step is tried again that its plugin calls retryable.
const (
	retries    = 3
	retryPause = time.Second
)

// Run runs a step. The ledger tells what came before: nothing, a start without an end (a crash cut the step off), or
// the end.
func (r Runner) Run(ctx context.Context, s Step) (activities.StepResult, error) {
	ctx, stop := activities.Guard(ctx, s.Use.Timeout)
	defer stop()
	e, err := r.prepare(ctx, s)
	if err != nil || e.skip != "" {
		return activities.StepResult{Summary: e.skip, Skipped: e.skip != ""}, err
	}
	if s.Plan {
		res, err := e.run(ctx)
		if err != nil {
			return res, StepError(ctx, e.name, err)
		}
		return res, nil
	}
	ctx, leave, err := r.Attempts.Enter(ctx, s.Alone)
	if err != nil {
		return activities.StepResult{}, err
	}
	defer leave()
	if res, ended, err := e.before(ctx); ended || err != nil {
		return res, err
	}
	if err := ctx.Err(); err != nil {
		return activities.StepResult{}, StepError(ctx, e.name, err)
	}
	crashpoint.Reach(string(s.Record.Step), crashpoint.Before)
	res, err := e.run(ctx)
	crashpoint.Reach(string(s.Record.Step), crashpoint.After)
	return e.after(ctx, res, err)
}

// Ask has a plugin do a step that has no effect, so that nothing is written down. answer is the error with which the
// plugin answered; a plugin without that step answers none.
func (r Runner) Ask(ctx context.Context, s Step) (answer, err error) {
	e, err := r.prepare(ctx, s)
	if err != nil || e.skip != "" {
		return nil, err
	}
	_, answer = e.plugin.Run(ctx, s.Do, e.req)
	return answer, nil
}

// under is one step of one plugin under way.
type under struct {
	Runner
	step    Step
	plugin  host.Runner
	name    string
	req     sdk.Request
	skip    string
	started time.Time
}

func (r Runner) prepare(ctx context.Context, s Step) (*under, error) {
	e := &under{Runner: r, step: s, name: s.Use.Plugin, started: time.Now()}
	var err error
	if e.plugin, err = r.Plugins.Get(ctx, e.name); err != nil {
		return e, StepError(ctx, e.name, err)
	}
	about := e.plugin.Describe()
	if !about.Can(s.Do) {
		e.skip = fmt.Sprintf("the plugin %s has no step %s", e.name, s.Do)
		return e, nil
	}
	options, err := s.Use.OptionsJSON()
	if err != nil {
		return e, PluginError(e.name, err)
	}
	e.req = s.Request(ctx, options).WithProgress(func(s string) { activities.Tell(ctx, s) })
	if s.Allowed != nil && !s.Plan {
		if err := s.Allowed(about, e.req); err != nil {
			return e, StepError(ctx, e.name, err)
		}
	}
	return e, nil
}

// before looks into the ledger for an earlier run of the same effect and writes the start. ended is true when there is
// nothing left to run; nor is anything run after an error.
func (e *under) before(ctx context.Context) (res activities.StepResult, ended bool, err error) {
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

func (e *under) start(ctx context.Context) error {
	mark := ""
	if e.plugin.Describe().Can(sdk.StepMark) {
		r, err := e.plugin.Run(ctx, sdk.StepMark, e.forStep())
		switch {
		case err == nil || errors.Is(err, sdk.ErrUnknown):
			mark = r.Mark
		case e.step.OnRecord || ctx.Err() != nil:
			return StepError(ctx, e.name, err)
		default:
			e.Logger.Error("a step runs without a mark of the state before", "step", e.step.Record.Step, "about", e.step.Alone, "error", err)
		}
	}
	if e.step.Before != nil {
		if err := e.step.Before(ctx); err != nil {
			return StepError(ctx, e.name, err)
		}
	}
	err := e.record(ctx, e.req.Key+"/start", e.line(shivx.EventStepStarted, shivx.SeverityInfo, "", startDetails{e.name, mark}))
	if err != nil && e.step.OnRecord {
		return NotOnRecord(e.name, err)
	}
	if err != nil {
		e.Logger.Error("a step runs without a record of its start", "step", e.step.Record.Step, "about", e.step.Alone, "error", err)
	}
	return nil
}

// resume decides about a step that a crash cut off: its effect took place, did not, or nobody
// can tell. A step that may be repeated without harm then is, any other is left to people and
// to the next strategy.
func (e *under) resume(ctx context.Context, start interface{ Decode(any) error }) (activities.StepResult, bool, error) {
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
			return activities.StepResult{}, true, StepError(ctx, e.name, ctx.Err())
		case err == nil && r.Done:
			res, err := e.after(ctx, activities.StepResult{Summary: "had taken place before the crash", Resumed: true}, nil)
			return res, true, err
		case err == nil:
			return activities.StepResult{}, false, nil
		case !errors.Is(err, sdk.ErrUnknown):
			return activities.StepResult{}, true, StepError(ctx, e.name, err)
		}
	}
	if about.Idempotent {
		return activities.StepResult{}, false, nil
	}
	msg := fmt.Sprintf("%s: a crash cut off the step %s, and the plugin cannot tell whether its effect took place", e.name, e.step.Do)
	e.end(ctx, e.line(shivx.EventStepFailed, shivx.SeverityError, msg, nil))
	return activities.StepResult{}, true, temporal.NewNonRetryableApplicationError(msg, activities.ErrUnknownEffect, nil)
}

// forStep is the request for mark and done, which are asked about another step.
func (e *under) forStep() sdk.Request {
	req := e.req
	req.Of = e.step.Do
	return req
}

// run calls the plugin; what the plugin calls retryable is tried again.
func (e *under) run(ctx context.Context) (activities.StepResult, error) {
	for try := 1; ; try++ {
		r, err := e.plugin.Run(ctx, e.step.Do, e.req)
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
func (e *under) after(ctx context.Context, res activities.StepResult, failure error) (activities.StepResult, error) {
	switch {
	case failure == nil:
		e.end(ctx, e.line(shivx.EventStepDone, shivx.SeverityInfo, res.Summary, res))
		return res, nil
	case activities.ToBeResumed(ctx):
		return res, fmt.Errorf("%s: the step %s was cut off and is to be resumed: %w", e.name, e.step.Do, context.Cause(ctx))
	}
	e.end(ctx, e.line(shivx.EventStepFailed, shivx.SeverityWarning, e.name+": "+WithHint(activities.TimedOut(ctx, failure)), nil))
	return res, StepError(ctx, e.name, failure)
}

// end records how the effect ended. That it could not be recorded does not undo what was done.
func (e *under) end(ctx context.Context, line shivx.RecoveryRecord) {
	if err := e.record(context.WithoutCancel(ctx), e.req.Key+"/end", line); err != nil {
		e.Logger.Error("the end of a step is not in the ledger", "step", e.step.Record.Step, "about", e.step.Alone, "error", err)
	}
}

func (e *under) line(event string, sev shivx.Severity, msg string, details any) shivx.RecoveryRecord {
	r := e.step.Record
	r.EventType, r.Severity, r.Message, r.Details = event, sev, msg, details
	r.RecoveryType = shivx.RecoveryType(e.plugin.Describe().RecoveryType)
	if event != shivx.EventStepStarted {
		ok := event == shivx.EventStepDone
		r.Success = &ok
		r.DurationMS = time.Since(e.started).Milliseconds()
	}
	return r
}

// record writes one line to the ledger.
func (r Runner) record(ctx context.Context, key string, line shivx.RecoveryRecord) error {
	line.EventID, line.Timestamp = key, time.Now().UTC()
	if _, err := r.Ledger.Append(ctx, key, line); err != nil {
		return fmt.Errorf("write %s to the operational ledger: %w", line.EventType, err)
	}
	return nil
}

// NotOnRecord is the error for what was not begun since that could not be written down.
func NotOnRecord(what string, err error) error {
	return temporal.NewNonRetryableApplicationError(WithHint(shivx.Hint(fmt.Errorf("%s was not begun: %w", what, err),
		"look after the space on the disk of the ledger")), activities.ErrBusy, nil)
}

// StepError turns the error of a plugin into one that the workflow decides on. A step that was
// stopped did not fail: its error is the reason why it was stopped.
func StepError(ctx context.Context, plugin string, err error) error {
	if why := activities.Stopped(ctx); why != nil {
		return why
	}
	return PluginError(plugin, activities.TimedOut(ctx, err))
}

// PluginError is the failure of a plugin, which is not tried again: the workflow decides on it.
func PluginError(plugin string, err error) error {
	return temporal.NewNonRetryableApplicationError(plugin+": "+WithHint(err), activities.ErrPlugin, nil)
}

// WithHint returns the error's text with what a person can do about it.
func WithHint(err error) string {
	msg, hint := err.Error(), shivx.HintOf(err)
	if fail, ok := errors.AsType[*sdk.Fail](err); ok {
		hint = fail.Hint
	}
	if hint != "" {
		msg += " — " + hint
	}
	return msg
}
