package recovery

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

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
	o := in.Observe
	ctx, stop := beat(ctx, o.Window.Std()+o.Settle.Std()+o.Every.Std()+10*time.Second)
	defer stop()
	crashpoint.Reach(string(shivx.StepValidate), crashpoint.Before)
	v, err := a.observe(ctx, c.Name, o)
	if err != nil {
		return v, err
	}
	for _, judge := range []func(context.Context, config.Component, activities.ValidateInput, *activities.Validation) error{
		a.judgeState, a.judgeConsistency, a.judgeByPlugin,
	} {
		if err := judge(ctx, c, in, &v); err != nil {
			return v, err
		}
	}
	v.Fit = len(v.Reasons) == 0
	if v.Fit {
		v.Summary = fmt.Sprintf("%d checks passed over %s", len(v.Checks), o.Window)
		if d := v.Delta; d != (activities.Delta{}) {
			v.Summary += fmt.Sprintf("; state: %d unchanged, %d changed, %d added, %d removed", d.Unchanged, d.Changed, d.Added, d.Removed)
		}
	}
	crashpoint.Reach(string(shivx.StepValidate), crashpoint.After)
	return v, nil
}

// observe watches the checks: within Settle a round must pass, and from then on every round
// until the window is over. A failure begins the window anew while there is time to settle.
func (a *Activities) observe(ctx context.Context, component string, o activities.Observation) (activities.Validation, error) {
	var v activities.Validation
	settled := time.Now().Add(o.Settle.Std())
	var since time.Time
	for pause := settlePause; ; {
		checks, healthy := a.round(ctx, component)
		now := time.Now()
		v.Checks = checks
		switch {
		case ctx.Err() != nil:
			return v, ctx.Err()
		case !healthy && now.After(settled):
			v.Reasons = failing(checks)
			return v, nil
		case !healthy:
			since, v.Rounds = time.Time{}, 0
			activity.RecordHeartbeat(ctx, "settling: "+failing(checks)[0])
		default:
			if since.IsZero() {
				since = now
			}
			v.Rounds++
			if now.Sub(since) >= o.Window.Std() {
				return v, nil
			}
			pause = o.Every.Std()
		}
		if err := sleep(ctx, min(pause, max(o.Every.Std(), settlePause))); err != nil {
			return v, err
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

// judgeState compares the state with the checkpoint by hashes and judges the difference.
func (a *Activities) judgeState(ctx context.Context, c config.Component, in activities.ValidateInput, v *activities.Validation) error {
	if in.CheckpointID == "" || len(c.State.Paths) == 0 {
		return nil
	}
	before, err := a.Checkpoints.Get(in.CheckpointID)
	if err != nil {
		return err
	}
	delta, err := checkpoint.Compare(ctx, before, c.State)
	if err != nil {
		return fmt.Errorf("compare the state with checkpoint %s: %w", in.CheckpointID, err)
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
func (a *Activities) judgeConsistency(ctx context.Context, c config.Component, _ activities.ValidateInput, v *activities.Validation) error {
	for _, cmd := range c.State.Consistency {
		if _, err := command.Run(ctx, command.Spec{Argv: cmd.Argv, Dir: cmd.Dir, Env: cmd.Env, Timeout: cmd.Timeout}); err != nil {
			v.Reasons = append(v.Reasons, "consistency: "+err.Error())
		}
	}
	return ctx.Err()
}

// judgeByPlugin asks the strategy's plugin, if it can validate.
func (a *Activities) judgeByPlugin(ctx context.Context, c config.Component, in activities.ValidateInput, v *activities.Validation) error {
	for _, s := range c.Ladder {
		if s.Name != in.Strategy {
			continue
		}
		e, err := a.prepare(ctx, in.StepInput, sdk.StepValidate, s.Use)
		if err != nil || e.skip != "" {
			return err
		}
		if _, err := e.plugin.Run(ctx, sdk.StepValidate, e.req); err != nil {
			v.Reasons = append(v.Reasons, s.Plugin+": "+err.Error())
		}
	}
	return ctx.Err()
}
