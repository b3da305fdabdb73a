package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/recovery/crashpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// Inspect reads the recovery policy of a component and runs its checks once.
func (a *Activities) Inspect(ctx context.Context, in activities.InspectInput) (activities.Inspection, error) {
	c, err := a.component(in.Target)
	if err != nil {
		return activities.Inspection{}, err
	}
	out := activities.Inspection{
		Target: in.Target, Policy: PolicyOf(c), DependencyWait: shivx.Duration(c.Limits.DependencyWait),
		IsolatedBy: c.Isolate.Plugin, IsolateTimeout: shivx.Duration(c.Isolate.Timeout),
		Observe:      observation(c.Validate),
		StayIsolated: c.OnFailure != "reintegrate",
	}
	for _, s := range c.Ladder {
		rung, err := a.strategy(ctx, s)
		if err != nil {
			return out, err
		}
		out.Ladder = append(out.Ladder, rung)
	}
	out.Checks, out.Healthy = a.round(ctx, c.Name)
	for _, d := range c.DependsOn {
		if _, healthy := a.round(ctx, d); !healthy {
			out.Unhealthy = append(out.Unhealthy, d)
		}
	}
	return out, nil
}

// PolicyOf returns what a component's entity must know of its configuration.
func PolicyOf(c config.Component) shivx.Policy {
	return shivx.Policy{
		Critical: c.Critical, CheckpointEvery: shivx.Duration(c.State.Every),
		Limits: shivx.Limits{
			Heals: c.Limits.Heals, Window: shivx.Duration(c.Limits.Window),
			Cooldown: shivx.Duration(c.Limits.Cooldown), MaxCooldown: shivx.Duration(c.Limits.MaxCooldown),
		},
	}
}

func observation(v config.Validate) activities.Observation {
	o := activities.Observation{Every: shivx.Duration(v.Every), Settle: shivx.Duration(v.Settle)}
	if v.Window != nil {
		o.Window = shivx.Duration(*v.Window)
	}
	return o
}

// strategy describes a rung. A plugin that cannot be started still has its rung: the run shows
// why it failed and climbs on.
func (a *Activities) strategy(ctx context.Context, s config.Strategy) (activities.Strategy, error) {
	rung := activities.Strategy{
		Name: s.Name, Plugin: s.Plugin, Type: shivx.RecoverCustom, Attempts: s.Attempts, Timeout: shivx.Duration(s.Timeout),
		Approval: shivx.Approval{
			Required: s.Approval.Required, Of: s.Approval.Of,
			TTL: shivx.Duration(s.Approval.TTL), Grant: s.Approval.Default == "approve",
		},
	}
	p, err := a.Plugins.Get(ctx, s.Plugin)
	if err != nil {
		a.Logger.Warn("a plugin is not available", "strategy", s.Name, "plugin", s.Plugin, "error", err)
		return rung, ctx.Err()
	}
	d := p.Describe()
	rung.Type, rung.Destructive, rung.CanUndo = shivx.RecoveryType(d.RecoveryType), d.Destructive, d.Can(sdk.StepUndo)
	return rung, nil
}

// round runs all checks of a component once. No check at all is no proof of health.
func (a *Activities) round(ctx context.Context, component string) ([]shivx.CheckResult, bool) {
	results, err := a.Checks.Round(ctx, component)
	if err != nil {
		return []shivx.CheckResult{{Check: "round", Error: err.Error()}}, false
	}
	healthy := len(results) > 0
	var out []shivx.CheckResult
	for _, r := range results {
		out = append(out, shivx.CheckResult{Check: r.Check, Healthy: r.Healthy, Error: r.Error})
		healthy = healthy && r.Healthy
	}
	return out, healthy
}

// Isolate takes the component out of traffic.
func (a *Activities) Isolate(ctx context.Context, in activities.StepInput) (activities.StepResult, error) {
	return a.traffic(ctx, in, sdk.StepIsolate)
}

// Reintegrate puts the component back into traffic.
func (a *Activities) Reintegrate(ctx context.Context, in activities.StepInput) (activities.StepResult, error) {
	return a.traffic(ctx, in, sdk.StepReintegrate)
}

func (a *Activities) traffic(ctx context.Context, in activities.StepInput, step sdk.Step) (activities.StepResult, error) {
	c, err := a.component(in.Target)
	if err != nil {
		return activities.StepResult{}, err
	}
	if c.Isolate.Plugin == "" {
		return activities.StepResult{Summary: "no traffic path configured", Skipped: true}, nil
	}
	return a.effect(ctx, in, step, c.Isolate)
}

// Recover runs one strategy of the ladder.
func (a *Activities) Recover(ctx context.Context, in activities.StepInput) (activities.StepResult, error) {
	return a.rung(ctx, in, sdk.StepRecover)
}

// Undo takes back a recovery that did not help.
func (a *Activities) Undo(ctx context.Context, in activities.StepInput) (activities.StepResult, error) {
	return a.rung(ctx, in, sdk.StepUndo)
}

func (a *Activities) rung(ctx context.Context, in activities.StepInput, step sdk.Step) (activities.StepResult, error) {
	c, err := a.component(in.Target)
	if err != nil {
		return activities.StepResult{}, err
	}
	for _, s := range c.Ladder {
		if s.Name == in.Strategy {
			return a.effect(ctx, in, step, s.Use)
		}
	}
	return activities.StepResult{}, pluginError(in.Strategy, errors.New("the configuration of the host has no such strategy any more"))
}

// Log writes the end of a run to the operational ledger.
func (a *Activities) Log(ctx context.Context, in activities.LogInput) (activities.LogResult, error) {
	crashpoint.Reach(string(shivx.StepLog), crashpoint.Before)
	ok := in.Outcome.InService()
	sev := shivx.SeverityInfo
	if !ok {
		sev = shivx.SeverityError
	}
	rec, err := a.record(ctx, in.Run+"/end", shivx.RecoveryRecord{
		EventType: shivx.EventRecovery, Component: in.Component, Host: in.Host, Severity: sev, Run: in.Run,
		Strategy: in.Strategy, RecoveryType: in.RecoveryType, Outcome: in.Outcome, Success: &ok,
		DurationMS: in.Duration.Std().Milliseconds(), Message: in.Message,
		Details: map[string]any{
			"started": in.Started, "steps": in.Steps, "finding": in.Finding,
			"requested_by": in.RequestedBy, "checkpoint": in.CheckpointID,
		},
	})
	crashpoint.Reach(string(shivx.StepLog), crashpoint.After)
	return activities.LogResult{Seq: rec.Seq, Hash: rec.Hash}, err
}

// Escalate records that automation is at its end and tells people.
func (a *Activities) Escalate(ctx context.Context, in activities.EscalateInput) (activities.EscalateResult, error) {
	ctx, stop := beat(ctx, 45*time.Second)
	defer stop()
	key := fmt.Sprintf("%s/escalation/%s", in.Run, in.Outcome)
	if in.Outcome == shivx.OutcomeRefused {
		// The entity escalates anew in each window: its run stays the same.
		key = fmt.Sprintf("%s/%d", key, time.Now().Unix()/60)
	}
	told, failed := a.Notifier.Send(ctx, in)
	_, err := a.record(context.WithoutCancel(ctx), key, shivx.RecoveryRecord{
		EventType: shivx.EventEscalation, Component: in.Component, Host: in.Host, Severity: shivx.SeverityCritical,
		Run: in.Run, Outcome: in.Outcome, Message: in.Message,
		Details: map[string]any{"hint": in.Hint, "told": told, "failed": failed},
	})
	return activities.EscalateResult{Told: told, Failed: failed}, err
}
