package recovery

import (
	"context"
	"errors"
	"fmt"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/effect"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// stepOf is the runbook's step for each step of a plugin that has an effect.
var stepOf = map[sdk.Step]shivx.Step{
	sdk.StepIsolate: shivx.StepIsolate, sdk.StepRecover: shivx.StepRecover,
	sdk.StepReintegrate: shivx.StepReintegrate, sdk.StepUndo: shivx.StepUndo,
}

// effect runs one step of a plugin so that its effect takes place once.
func (a *Activities) effect(ctx context.Context, in activities.StepInput, step sdk.Step, use config.Use) (activities.StepResult, error) {
	return a.runner().Run(ctx, a.step(in, step, use))
}

func (a *Activities) runner() effect.Runner {
	return effect.Runner{Plugins: a.Plugins, Ledger: a.Ledger, Logger: a.Logger, Attempts: &a.attempts}
}

// step is one step of a heal. All of a component's are kept apart.
func (a *Activities) step(in activities.StepInput, step sdk.Step, use config.Use) effect.Step {
	s := effect.Step{
		Do: step, Use: use, Plan: in.Plan, Alone: in.Component,
		Request: func(ctx context.Context, options []byte) sdk.Request {
			return a.request(ctx, in, step, options, use.Plugin)
		},
		Record: shivx.RecoveryRecord{
			Component: in.Component, Host: in.Host, Run: in.Run, Step: stepOf[step], Strategy: in.Strategy, Attempt: in.Attempt,
		},
	}
	if step == sdk.StepRecover {
		s.Allowed = wayBack
	}
	return s
}

// wayBack is an error unless there is a checkpoint to go back to from what changes data.
func wayBack(about sdk.Description, req sdk.Request) error {
	switch {
	case !about.Destructive:
		return nil
	case req.CheckpointErr != nil:
		return fmt.Errorf("it changes data, and the checkpoint to go back to cannot be read: %w", req.CheckpointErr)
	case req.CheckpointID == "":
		return shivx.Hint(errors.New("it changes data, and there is no checkpoint to go back to"), listThem)
	}
	return nil
}
