package recovery

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/recovery/crashpoint"
	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// checkpointTimeout is a little less than the workflow allows, so that the error is ours.
const checkpointTimeout = 10 * time.Minute

// Checkpoint keeps a hash-listed copy of the component's state. A healthy one, to restore from,
// is taken only while every check passes, before the copy and after it.
func (a *Activities) Checkpoint(ctx context.Context, in activities.CheckpointInput) (activities.CheckpointResult, error) {
	c, err := a.component(in.Target)
	if err != nil {
		return activities.CheckpointResult{}, err
	}
	ctx, stop := beat(ctx, checkpointTimeout)
	defer stop()
	crashpoint.Reach(string(shivx.StepCheckpoint), crashpoint.Before)
	state, err := a.dump(ctx, c, in.StepInput)
	if err != nil {
		return activities.CheckpointResult{}, err
	}
	if len(state.Paths) == 0 {
		return skippedCheckpoint("no state configured; list its files under state.paths"), nil
	}
	if in.Plan {
		return skippedCheckpoint(fmt.Sprintf("would copy %v", state.Paths)), nil
	}
	kind := checkpoint.KindFault
	if in.Healthy {
		kind = checkpoint.KindHealthy
		if checks, ok := a.round(ctx, c.Name); !ok {
			return skippedCheckpoint("not healthy: " + failing(checks)[0]), nil
		}
	}
	cp, err := a.take(ctx, c, kind, state, effectKey(in.StepInput, string(shivx.StepCheckpoint)))
	if err != nil {
		return activities.CheckpointResult{}, pluginError("checkpoint", err)
	}
	if in.Healthy {
		if checks, ok := a.round(ctx, c.Name); !ok {
			return skippedCheckpoint("became unhealthy while it was copied: " + failing(checks)[0]), a.Checkpoints.Remove(cp.ID)
		}
	}
	crashpoint.Reach(string(shivx.StepCheckpoint), crashpoint.After)
	return a.keep(ctx, in, c, cp)
}

func skippedCheckpoint(why string) activities.CheckpointResult {
	return activities.CheckpointResult{StepResult: activities.StepResult{Summary: why, Skipped: true}}
}

func (a *Activities) take(ctx context.Context, c config.Component, kind checkpoint.Kind, state config.State, key string) (checkpoint.Checkpoint, error) {
	return a.Checkpoints.Take(ctx, key, c.Name, kind, state, func(done, total int64) {
		activity.RecordHeartbeat(ctx, fmt.Sprintf("%d of %d bytes", done, total))
	})
}

// keep records the checkpoint and removes those beyond the number to keep.
func (a *Activities) keep(ctx context.Context, in activities.CheckpointInput, c config.Component, cp checkpoint.Checkpoint) (activities.CheckpointResult, error) {
	res := activities.CheckpointResult{ID: cp.ID, Files: len(cp.Files), Bytes: cp.Bytes}
	res.Summary = fmt.Sprintf("%d entries, %d bytes as %s", len(cp.Files), cp.Bytes, cp.ID)
	if n := len(cp.Unstable); n > 0 {
		res.Summary += fmt.Sprintf("; %d changed while they were read", n)
	}
	ok := true
	_, err := a.record(ctx, cp.Key, shivx.RecoveryRecord{
		EventType: shivx.EventCheckpoint, Component: in.Component, Host: in.Host, Severity: shivx.SeverityInfo,
		Run: in.Run, Step: shivx.StepCheckpoint, Success: &ok, Message: res.Summary,
		Details: map[string]any{"id": cp.ID, "kind": cp.Kind, "unstable": cp.Unstable, "missing": cp.Missing},
	})
	if err != nil {
		return res, err
	}
	if _, err := a.Checkpoints.Prune(c.Name, cp.Kind, c.State.Keep); err != nil {
		a.Logger.Warn("old checkpoints were not removed", "component", c.Name, "error", err)
	}
	return res, nil
}

// dump lets the plugins of the ladder that can do so write state that files do not show, and
// returns the state with their folders added.
func (a *Activities) dump(ctx context.Context, c config.Component, in activities.StepInput) (config.State, error) {
	state := c.State
	seen := map[string]bool{}
	for _, s := range c.Ladder {
		if seen[s.Plugin] {
			continue
		}
		seen[s.Plugin] = true
		p, err := a.Plugins.Get(ctx, s.Plugin)
		if err != nil || !p.Describe().Can(sdk.StepCheckpoint) {
			continue // a plugin that is not available fails its own rung
		}
		dir := filepath.Join(a.Config.Paths.Var, "work", c.Name, s.Plugin, "dump")
		state.Paths = append(append([]string{}, state.Paths...), dir)
		if in.Plan {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return state, fmt.Errorf("make the folder for the state of %s: %w", s.Plugin, err)
		}
		options, err := s.OptionsJSON()
		if err != nil {
			return state, pluginError(s.Plugin, err)
		}
		req, err := a.request(in, sdk.StepCheckpoint, options, s.Plugin)
		if err != nil {
			return state, pluginError(s.Plugin, err)
		}
		req.CheckpointDir = dir
		if _, err := p.Run(ctx, sdk.StepCheckpoint, req); err != nil {
			return state, pluginError(s.Plugin, err)
		}
	}
	return state, nil
}
