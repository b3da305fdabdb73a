package forecast

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/effect"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// planTimeout and shortTimeout are a little less than the workflow allows.
const (
	planTimeout  = time.Minute
	shortTimeout = 30 * time.Second
)

// PlanMitigation asks a plugin what an action would do.
func (a *Activities) PlanMitigation(ctx context.Context, in activities.MitigationInput) (activities.StepResult, error) {
	s, err := a.step(in, shivx.MitigationPlan, sdk.StepRecover)
	if err != nil {
		return activities.StepResult{}, err
	}
	s.Plan, s.Use.Timeout = true, min(s.Use.Timeout, planTimeout)
	return a.runner().Run(ctx, s)
}

// Mitigate takes one action by its plugin. Before it begins the forecast without it is kept.
func (a *Activities) Mitigate(ctx context.Context, in activities.MitigationInput) (activities.StepResult, error) {
	s, err := a.step(in, shivx.MitigationAct, sdk.StepRecover)
	if err != nil {
		return activities.StepResult{}, err
	}
	s.OnRecord = true // it is there to prevent, and what must be done at once is not left to it
	s.Before = func(ctx context.Context) error { a.acting(ctx, in); return nil }
	return a.runner().Run(ctx, s)
}

// UndoMitigation takes back an action that did not help. One that was not begun is left alone: what its plugin would put back
// is what an earlier run has found.
func (a *Activities) UndoMitigation(ctx context.Context, in activities.MitigationInput) (activities.StepResult, error) {
	s, err := a.step(in, shivx.MitigationUndo, sdk.StepUndo)
	if err != nil {
		return activities.StepResult{}, err
	}
	if _, begun, err := a.Ledger.Find(effectKey(in, shivx.MitigationAct) + "/start"); err != nil || !begun {
		return activities.StepResult{Summary: "it was not begun", Skipped: true}, err
	}
	return a.runner().Run(ctx, s)
}

// MarkMitigation keeps the forecast without an action that another runbook takes, and counts the action.
func (a *Activities) MarkMitigation(ctx context.Context, in activities.MitigationInput) (activities.StepResult, error) {
	rule, err := a.rule(in.SubsystemTarget, in.Action)
	if err != nil {
		return activities.StepResult{}, err
	}
	ctx, stop := activities.Guard(ctx, shortTimeout)
	defer stop()
	line := a.line(in, shivx.MitigationAct)
	line.EventType, line.Severity, line.Component, line.Message = shivx.EventStepStarted, shivx.SeverityInfo, rule.Heal, "is left to the heal of "+rule.Heal
	if _, err := a.write(ctx, effectKey(in, shivx.MitigationAct)+"/start", line); err != nil {
		return activities.StepResult{}, effect.NotOnRecord(in.Action, err)
	}
	a.acting(ctx, in)
	return activities.StepResult{Summary: "the forecast without it is kept"}, activities.Stopped(ctx)
}

// acting keeps the forecast without an action. Availability first: that its effect cannot be measured then is no reason
// to let the failure come.
func (a *Activities) acting(ctx context.Context, in activities.MitigationInput) {
	if err := a.Engine.Acting(ctx, in.Subsystem, judgeKey(in)); err != nil {
		a.Logger.Error("the forecast without an action was not kept; its effect cannot be measured", "subsystem", in.Subsystem, "action", in.Action, "error", err)
	}
}

// MeasureMitigation compares what came with the forecast without the action. Asked again it gives the same answer.
func (a *Activities) MeasureMitigation(ctx context.Context, in activities.MitigationInput) (shivx.MitigationEffect, error) {
	var out shivx.MitigationEffect
	if _, err := a.rule(in.SubsystemTarget, in.Action); err != nil {
		return out, err
	}
	ctx, stop := activities.Guard(ctx, shortTimeout)
	defer stop()
	ctx, leave, err := a.attempts.Enter(ctx, in.Subsystem)
	if err != nil {
		return out, err
	}
	defer leave()
	key := effectKey(in, shivx.MitigationMeasure) + "/end"
	rec, known, err := a.Ledger.Find(key)
	if err != nil {
		return out, fmt.Errorf("look into the operational ledger: %w", err)
	}
	if known {
		return out, rec.Decode(&shivx.RecoveryRecord{Details: &out})
	}
	out, err = a.Engine.Effect(ctx, in.Subsystem, judgeKey(in), in.Action)
	switch {
	case err != nil && activities.Stopped(ctx) != nil:
		return out, activities.Stopped(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return out, err
	case err != nil:
		return out, temporal.NewNonRetryableApplicationError(effect.WithHint(err), activities.ErrPlugin, nil)
	}
	line := a.line(in, shivx.MitigationMeasure)
	line.EventType, line.Severity, line.Success, line.Message, line.Details = shivx.EventStepDone, shivx.SeverityInfo, &out.Helped, out.Why, out
	if _, err := a.write(context.WithoutCancel(ctx), key, line); err != nil {
		a.Logger.Error("an effect is not in the ledger", "subsystem", in.Subsystem, "action", in.Action, "error", err)
	}
	return out, nil
}

// LogMitigation writes the end of a run to the operational ledger.
func (a *Activities) LogMitigation(ctx context.Context, in activities.LogMitigationInput) (activities.LogResult, error) {
	ctx, stop := activities.Guard(ctx, shortTimeout)
	defer stop()
	ok := in.Outcome == shivx.OutcomePrevented || in.Outcome == shivx.OutcomeUnneeded
	sev := shivx.SeverityInfo
	switch {
	case ok:
	case in.Outcome == shivx.OutcomeRefused || in.Outcome == shivx.OutcomeAborted:
		sev = shivx.SeverityWarning
	default:
		sev = shivx.SeverityError
	}
	rules := map[string]string{}
	if s, known := a.Config.Forecast.Subsystem(in.Subsystem); known {
		for _, r := range s.Mitigations {
			rules[r.Name] = digest(r)
		}
	}
	rec, err := a.write(ctx, in.Run+"/end", shivx.RecoveryRecord{
		EventType: shivx.EventMitigation, Subsystem: in.Subsystem, Host: in.Host, Severity: sev, Run: in.Run, Outcome: in.Outcome, Success: &ok,
		DurationMS: int64(in.Seconds * 1000), Message: in.Message,
		Details: ended{
			Prediction: in.Prediction, Effects: in.Effects, Started: in.Started, Steps: in.Steps, Denied: in.Denied,
			Reason: in.Reason, RequestedBy: in.RequestedBy, Rules: rules,
		},
	})
	return rec, err
}

func (a *Activities) runner() effect.Runner {
	return effect.Runner{Plugins: a.Plugins, Ledger: a.Ledger, Logger: a.Logger, Attempts: &a.attempts}
}

// step is one step of an action that a plugin takes. All of a subsystem's are kept apart.
func (a *Activities) step(in activities.MitigationInput, name shivx.MitigationStep, do sdk.Step) (effect.Step, error) {
	rule, err := a.rule(in.SubsystemTarget, in.Action)
	if err != nil {
		return effect.Step{}, err
	}
	if rule.Plugin == "" {
		return effect.Step{}, unknown(fmt.Errorf("the mitigation %s of %s is the heal of %s, which has a runbook of its own", in.Action, in.SubsystemTarget, rule.Heal))
	}
	return effect.Step{
		Do: do, Use: config.Use{Plugin: rule.Plugin, Options: rule.Options, Timeout: rule.Timeout},
		Alone: in.Subsystem,
		Request: func(_ context.Context, options []byte) sdk.Request {
			return sdk.Request{
				Key: effectKey(in, name), Component: in.Subsystem, Host: in.Host, Run: in.Run, Attempt: 1, Reason: in.Reason,
				Options: options, Plan: name == shivx.MitigationPlan,
				WorkDir: filepath.Join(a.Config.Paths.Var, "work", "mitigation", in.Subsystem, rule.Plugin),
			}
		},
		Record: a.line(in, name),
	}, nil
}

// line is what the lines of the ledger about an action have in common.
func (a *Activities) line(in activities.MitigationInput, name shivx.MitigationStep) shivx.RecoveryRecord {
	return shivx.RecoveryRecord{
		Subsystem: in.Subsystem, Host: in.Host, Run: in.Run, Step: shivx.Step(name), Strategy: in.Action, Attempt: 1,
	}
}

// write appends to the ledger.
func (a *Activities) write(ctx context.Context, key string, r shivx.RecoveryRecord) (activities.LogResult, error) {
	r.EventID, r.Timestamp = key, a.now().UTC()
	rec, err := a.Ledger.Append(ctx, key, r)
	if err != nil {
		return activities.LogResult{}, fmt.Errorf("write %s to the operational ledger: %w", r.EventType, err)
	}
	return activities.LogResult{Seq: rec.Seq, Hash: rec.Hash}, nil
}

// effectKey names the effect of one step of one action of one run, also over crashes and retries.
func effectKey(in activities.MitigationInput, name shivx.MitigationStep) string {
	return in.Run + "/" + string(name) + "/" + in.Action
}

// judgeKey names the action to the engine.
func judgeKey(in activities.MitigationInput) string { return in.Run + "/" + in.Action }
