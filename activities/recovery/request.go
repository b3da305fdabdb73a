package recovery

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/plugins/sdk"
)

// request builds what a plugin is told about a step. Checkpoints that cannot be read are left out with the reason:
// most steps need none, and what damaged the store, or filled its disk, may be what they are to repair.
func (a *Activities) request(ctx context.Context, in activities.StepInput, step sdk.Step, options []byte, plugin string) sdk.Request {
	req := sdk.Request{
		Key: effectKey(in, string(step)), Component: in.Component, Host: in.Host, Run: in.Run,
		Attempt: in.Attempt, Reason: in.Reason, Options: options, Plan: in.Plan,
		WorkDir: filepath.Join(a.Config.Paths.Var, "work", in.Component, plugin),
	}
	if in.CheckpointID != "" {
		c, err := a.Checkpoints.Get(ctx, in.CheckpointID)
		req.CheckpointID, req.CheckpointErr = c.ID, err
	}
	good, _, err := a.Checkpoints.Latest(ctx, in.Component, checkpoint.KindHealthy)
	req.HealthyID, req.HealthyErr = good.ID, err
	if err := errors.Join(req.CheckpointErr, req.HealthyErr); err != nil {
		a.Logger.Error("a step does without a checkpoint that cannot be read", "step", step, "component", in.Component, "error", err)
	}
	if needsFolders(step) {
		req = req.WithFolders(a.folders(in))
	}
	return req
}

// needsFolders says whether a plugin of another process is given the checkpoints as folders. Steps that take a
// component out of traffic or put it back do not wait for that.
func needsFolders(step sdk.Step) bool {
	return slices.Contains([]sdk.Step{sdk.StepRecover, sdk.StepUndo, sdk.StepValidate, sdk.StepMark, sdk.StepDone}, step)
}

// folders lays checkpoints out for one step.
func (a *Activities) folders(in activities.StepInput) func(ctx context.Context, id string) (string, error) {
	return func(ctx context.Context, id string) (string, error) {
		has := timeLeft(ctx)
		if err := a.late.before(in.Run, id, has); err != nil {
			return "", err
		}
		dir, err := a.Checkpoints.Folder(ctx, id)
		if err != nil {
			a.Logger.Warn("a plugin gets no folder of a checkpoint", "component", in.Component, "checkpoint", id, "error", err)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			a.late.add(in.Run, id, has, err)
		}
		return dir, err
	}
}
