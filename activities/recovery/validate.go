package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/recovery/crashpoint"
	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// The shortest pause between two rounds of checks while a component settles; it doubles up to
// the configured one, so that a fast service is not kept waiting and a slow one not pestered.
const settlePause = 10 * time.Millisecond

// Validate says whether the component is fit for service: every check passes over the whole
// window, the state differs from the checkpoint only as the rules allow, and the consistency
// commands and the strategy's plugin agree. It changes nothing and may be repeated.
func (a *Activities) Validate(ctx context.Context, in activities.ValidateInput) (activities.Validation, error) {
	c, err := a.component(in.Target)
	if err != nil {
		return activities.Validation{}, err
	}
	parts := a.parts(c, in)
	var whole time.Duration
	for _, p := range parts {
		whole += p.budget
	}
	ctx, stop := activities.Guard(ctx, whole)
	defer stop()
	crashpoint.Reach(string(shivx.StepValidate), crashpoint.Before)
	var v activities.Validation
	for _, p := range parts {
		if err := p.run(ctx, &v); err != nil {
			return v, err
		}
	}
	v.Fit = len(v.Reasons) == 0
	if v.Fit {
		v.Summary = fmt.Sprintf("%d checks passed over %s", len(v.Checks), in.Observe.Window)
		if d := v.Delta; d != (activities.Delta{}) {
			v.Summary += fmt.Sprintf("; state: %d unchanged, %d changed, %d added, %d removed", d.Unchanged, d.Changed, d.Added, d.Removed)
		}
	}
	crashpoint.Reach(string(shivx.StepValidate), crashpoint.After)
	return v, nil
}

// part is one part of the judgement, with the time it has.
type part struct {
	name   string
	budget time.Duration
	judge  func(ctx context.Context, v *activities.Validation) error
}

// run judges within the part's budget. Time that runs out is a verdict, as the next try would
// take as long; only the end of the whole step is an error.
func (p part) run(ctx context.Context, v *activities.Validation) error {
	bound, cancel := context.WithTimeout(ctx, p.budget)
	defer cancel()
	err := p.judge(bound, v)
	if err == nil {
		return nil
	}
	if why := activities.Stopped(ctx); why != nil {
		return why
	}
	if bound.Err() != nil {
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s: not judged within %s", p.name, p.budget))
		return nil
	}
	return err
}

func (a *Activities) parts(c config.Component, in activities.ValidateInput) []part {
	all := []part{
		{"checks", observeBudget(in.Observe), func(ctx context.Context, v *activities.Validation) error {
			return a.observe(ctx, c.Name, in.Observe, v)
		}},
		{"state", stateBudget(c), func(ctx context.Context, v *activities.Validation) error {
			return a.judgeState(ctx, c, in.CheckpointID, v)
		}},
		{"consistency", consistencyBudget(c), func(ctx context.Context, v *activities.Validation) error {
			return judgeConsistency(ctx, c, v)
		}},
	}
	for _, s := range c.Ladder {
		if s.Name == in.Strategy {
			all = append(all, part{s.Plugin, s.Timeout, func(ctx context.Context, v *activities.Validation) error {
				return a.judgeByPlugin(ctx, s, in, v)
			}})
		}
	}
	return all
}

// validateTimeout bounds the whole of the judgement, whichever strategy is used.
func validateTimeout(c config.Component) time.Duration {
	var plugin time.Duration
	for _, s := range c.Ladder {
		plugin = max(plugin, s.Timeout)
	}
	return observeBudget(observation(c.Validate)) + stateBudget(c) + consistencyBudget(c) + plugin
}

func observeBudget(o activities.Observation) time.Duration {
	return o.Window.Std() + o.Settle.Std() + o.Every.Std() + 10*time.Second
}

func stateBudget(c config.Component) time.Duration {
	if len(c.State.Paths) == 0 {
		return 0
	}
	return checkpointTimeout
}

// consistencyBudget has a little more than the commands, so that one that takes too long is
// ended, and named, by its own timeout.
func consistencyBudget(c config.Component) time.Duration {
	var sum time.Duration
	for _, cmd := range c.State.Consistency {
		if cmd.Timeout <= 0 {
			cmd.Timeout = command.DefaultTimeout
		}
		sum += cmd.Timeout + time.Second
	}
	return sum
}

// observe watches the checks: within Settle a round must pass, and from then on every round
// until the window is over. A failure begins the window anew while there is time to settle.
func (a *Activities) observe(ctx context.Context, component string, o activities.Observation, v *activities.Validation) error {
	settled := time.Now().Add(o.Settle.Std())
	var since time.Time
	for pause := settlePause; ; {
		checks, healthy := a.round(ctx, component)
		now := time.Now()
		v.Checks = checks
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !healthy && now.After(settled):
			v.Reasons = failing(checks)
			return nil
		case !healthy:
			since, v.Rounds = time.Time{}, 0
			activities.Tell(ctx, "settling: "+failing(checks)[0])
		default:
			if since.IsZero() {
				since = now
			}
			v.Rounds++
			if now.Sub(since) >= o.Window.Std() {
				return nil
			}
			pause = o.Every.Std()
		}
		if err := sleep(ctx, min(pause, max(o.Every.Std(), settlePause))); err != nil {
			return err
		}
		pause = min(2*pause, max(o.Every.Std(), settlePause))
	}
}

func failing(checks []shivx.CheckResult) []string {
	var out []string
	for _, c := range checks {
		if !c.Healthy {
			out = append(out, c.Check+": "+c.Error)
		}
	}
	if len(out) == 0 {
		out = []string{"no check answered"}
	}
	return out
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// judgeState compares the state with the checkpoint by hashes and judges the difference. A checkpoint that cannot be
// read is as good as none, but told: what is fit by all else must not stay out of traffic for it.
func (a *Activities) judgeState(ctx context.Context, c config.Component, id string, v *activities.Validation) error {
	if id == "" || len(c.State.Paths) == 0 {
		return nil
	}
	before, err := a.Checkpoints.Get(ctx, id)
	unreadable := err != nil
	var delta checkpoint.Delta
	if err == nil {
		delta, err = a.Checkpoints.Compare(ctx, before, c.State)
		unreadable = errors.Is(err, checkpoint.ErrDamaged)
	}
	if unreadable && ctx.Err() == nil {
		a.Logger.Error("the state is judged without its checkpoint", "component", c.Name, "checkpoint", id, "error", err)
		v.Changes = append(v.Changes, fmt.Sprintf("note: the state was not compared with checkpoint %s: %v", id, err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("compare the state with checkpoint %s: %w", id, err)
	}
	v.Delta = activities.Delta{
		Added: delta.Added, Removed: delta.Removed, Changed: delta.Changed + delta.Shrunk, Unchanged: delta.Unchanged,
	}
	if verdict := delta.Judge(c.State.Rules); !verdict.Acceptable {
		v.Reasons = append(v.Reasons, verdict.Reasons...)
	}
	return nil
}

// judgeConsistency runs the declared consistency commands.
func judgeConsistency(ctx context.Context, c config.Component, v *activities.Validation) error {
	for _, cmd := range c.State.Consistency {
		_, err := command.Run(ctx, command.Spec{Argv: cmd.Argv, Dir: cmd.Dir, Env: cmd.Env, Timeout: cmd.Timeout})
		switch {
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			v.Reasons = append(v.Reasons, "consistency: "+err.Error())
		}
	}
	return nil
}

// judgeByPlugin asks the strategy's plugin, if it can validate.
func (a *Activities) judgeByPlugin(ctx context.Context, s config.Strategy, in activities.ValidateInput, v *activities.Validation) error {
	answer, err := a.runner().Ask(ctx, a.step(in.StepInput, sdk.StepValidate, s.Use))
	switch {
	case err != nil:
		return err
	case answer != nil && ctx.Err() != nil:
		return answer
	case answer != nil:
		v.Reasons = append(v.Reasons, s.Plugin+": "+answer.Error())
	}
	return nil
}
