package recovery

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/effect"
	"github.com/shivx/shivx/activities/recovery/crashpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// inspectTimeout is a little less than the workflow allows.
const inspectTimeout = 15 * time.Second

// Inspect reads the recovery policy of a component and runs its checks once.
func (a *Activities) Inspect(ctx context.Context, in activities.InspectInput) (activities.Inspection, error) {
	c, err := a.component(in.Target)
	if err != nil {
		return activities.Inspection{}, err
	}
	ctx, stop := activities.Guard(ctx, inspectTimeout)
	defer stop()
	return a.inspect(ctx, c)
}

// inspect asks the checks, the dependencies and the plugins side by side: one that does not
// answer must not keep the others from it. What has not answered in time is unhealthy.
func (a *Activities) inspect(ctx context.Context, c config.Component) (activities.Inspection, error) {
	out := activities.Inspection{
		Target: c.Target(a.Config.Host), Policy: PolicyOf(c), DependencyWait: shivx.Duration(c.Limits.DependencyWait),
		IsolatedBy: c.Isolate.Plugin, IsolateTimeout: shivx.Duration(c.Isolate.Timeout),
		Observe: observation(c.Validate), ValidateTimeout: shivx.Duration(validateTimeout(c)),
		StayIsolated: c.OnFailure != "reintegrate",
		Ladder:       make([]activities.Strategy, len(c.Ladder)),
	}
	fine := make([]bool, len(c.DependsOn))
	var all sync.WaitGroup
	all.Go(func() { out.Checks, out.Healthy = a.round(ctx, c.Name) })
	for i, d := range c.DependsOn {
		all.Go(func() { _, fine[i] = a.round(ctx, d) })
	}
	for i, s := range c.Ladder {
		all.Go(func() { out.Ladder[i] = a.strategy(ctx, s) })
	}
	all.Wait()
	for i, d := range c.DependsOn {
		if !fine[i] {
			out.Unhealthy = append(out.Unhealthy, d)
		}
	}
	return out, activities.Stopped(ctx)
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
// why it failed and climbs on. Nobody knows what it does, so that it counts as destructive.
func (a *Activities) strategy(ctx context.Context, s config.Strategy) activities.Strategy {
	rung := activities.Strategy{
		Name: s.Name, Plugin: s.Plugin, Type: shivx.RecoverCustom, Attempts: s.Attempts, Timeout: shivx.Duration(s.Timeout),
		Destructive: true,
		Approval: shivx.Approval{
			Required: s.Approval.Required, Of: s.Approval.Of,
			TTL: shivx.Duration(s.Approval.TTL), Grant: s.Approval.Default == "approve",
		},
	}
	p, err := a.Plugins.Get(ctx, s.Plugin)
	if err != nil {
		a.Logger.Warn("a plugin is not available", "strategy", s.Name, "plugin", s.Plugin, "error", err)
		rung.Unavailable = err.Error()
		return rung
	}
	d := p.Describe()
	rung.Type, rung.Destructive, rung.CanUndo = shivx.RecoveryType(d.RecoveryType), d.Destructive, d.Can(sdk.StepUndo)
	return rung
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
	return activities.StepResult{}, effect.PluginError(in.Strategy, errors.New("the configuration of the host has no such strategy any more"))
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
