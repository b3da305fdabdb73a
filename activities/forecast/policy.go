package forecast

import (
	"context"
	"fmt"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// lockdownTTL is how long people have to answer in a lockdown for what the configuration asks nobody about.
const lockdownTTL = time.Hour

// policy is what a Mitigation must know of a subsystem.
func (a *Activities) policy(ctx context.Context, s config.Subsystem) (activities.SubsystemPolicy, error) {
	if err := a.Past.Await(ctx); err != nil {
		return activities.SubsystemPolicy{}, err
	}
	now := a.now()
	p := activities.SubsystemPolicy{
		SubsystemTarget: shivx.SubsystemTarget{Subsystem: s.Name, Host: a.Config.Host},
		BlackoutUntil:   a.Config.Forecast.BlackoutUntil(now),
		Refused:         a.Past.refused(s, a.Config.Forecast.Limits, now),
	}
	risk, worst, ok := a.Engine.Worst(s.Name)
	if !ok {
		risk = shivx.Risk{SubsystemTarget: p.SubsystemTarget, Missing: "it is not watched yet"}
	}
	p.Risk, p.Prediction = risk, worst
	for _, rule := range s.Mitigations {
		p.Actions = append(p.Actions, a.action(ctx, s, rule, risk, now))
	}
	return p, activities.Stopped(ctx)
}

// action describes an action. Nobody knows what a plugin does that is not available, so that it counts as destructive.
func (a *Activities) action(ctx context.Context, s config.Subsystem, rule config.MitigationRule, risk shivx.Risk, now time.Time) activities.MitigationAction {
	m := activities.MitigationAction{
		Name: rule.Name, Plugin: rule.Plugin, Component: rule.Heal, Strategy: rule.Strategy, Snapshot: rule.Snapshot,
		Timeout: shivx.Duration(rule.Timeout), MeasureAfter: shivx.Duration(rule.MeasureAfter),
		Approval: shivx.Approval{
			Required: rule.Approval.Required, Of: rule.Approval.Of, TTL: shivx.Duration(rule.Approval.TTL), Grant: rule.Approval.Default == "approve",
		},
		Useless: a.Past.useless(s, rule, now),
	}
	if rule.When == "quiet" {
		m.QuietAt = a.quietTime(s, rule, risk, now)
	}
	if rule.Plugin != "" {
		if p, err := a.Plugins.Get(ctx, rule.Plugin); err != nil {
			a.Logger.Warn("a plugin is not available", "mitigation", rule.Name, "plugin", rule.Plugin, "error", err)
			m.Destructive, m.Unavailable = true, err.Error()
		} else {
			m.Destructive, m.CanUndo = p.Describe().Destructive, p.Describe().Can(sdk.StepUndo)
		}
	}
	if m.Destructive && m.Approval.Required == 0 && a.Mode != nil && a.Mode() == shivx.DefenseLockdown {
		// What is lost may be the traces of the attack.
		m.Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(lockdownTTL)}
	}
	return m
}

// quietTime is when an action that can wait is to be taken: when the subsystem has the least to do, outside of
// blackouts, and early enough that it is done before the failure. Zero: now, for there is no better time.
func (a *Activities) quietTime(s config.Subsystem, rule config.MitigationRule, risk shivx.Risk, now time.Time) time.Time {
	before := risk.Low
	if before.IsZero() {
		before = risk.BreachAt
	}
	if before.IsZero() {
		before = now.Add(s.Horizon)
	}
	before = before.Add(-rule.Timeout)
	at, ok := a.Engine.QuietTime(s.Name, before, rule.Timeout)
	if !ok {
		return time.Time{}
	}
	if until := a.Config.Forecast.BlackoutUntil(at); !until.IsZero() {
		at = until // the first moment after it is the next best
	}
	if !at.After(now) || at.After(before) {
		return time.Time{}
	}
	return at.UTC()
}

// refused says in words why nothing may be done now; "" when it may.
func (p *Past) refused(s config.Subsystem, host config.MitigationLimits, now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.subsystems[s.Name]
	if until := own.last.Add(s.Limits.Cooldown); !own.last.IsZero() && until.After(now) {
		return fmt.Sprintf("the last mitigation of %s was at %s; the next one may begin at %s, or by force", s.Name, stamp(own.last), stamp(until))
	}
	if n := own.within(s.Limits.Window, now); n >= s.Limits.Mitigations {
		return fmt.Sprintf("%s had %d mitigations within %s, and no more than %d are allowed: see limits of the subsystem, or use force",
			s.Name, n, s.Limits.Window, s.Limits.Mitigations)
	}
	all := 0
	for _, d := range p.subsystems {
		all += d.within(host.Window, now)
	}
	if all >= host.Mitigations {
		return fmt.Sprintf("the host had %d mitigations within %s, and no more than %d are allowed: see forecast.limits, or use force",
			all, host.Window, host.Mitigations)
	}
	return ""
}

// useless says in words why an action is not tried again yet; "" when it may be. One that was configured anew since
// is another.
func (p *Past) useless(s config.Subsystem, rule config.MitigationRule, now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.subsystems[s.Name].verdicts[rule.Name]
	again := v.at.Add(s.Limits.Window)
	if !ok || v.rule != digest(rule) || !again.After(now) {
		return ""
	}
	return fmt.Sprintf("%s at %s: %s; it may be tried again from %s on, or by force", v.what, stamp(v.at), v.why, stamp(again))
}

func stamp(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }
