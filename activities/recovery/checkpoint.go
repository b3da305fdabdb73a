package recovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/effect"
	"github.com/shivx/shivx/activities/recovery/crashpoint"
	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// checkpointTimeout is a little less than the workflow allows, so that the error is ours.
const checkpointTimeout = 10 * time.Minute

// maxCopies is how many healthy states are copied at the same time.
const maxCopies = 4

// What a person can do about a component without a checkpoint.
const listThem = "list the component's files under state.paths"

// Checkpoint keeps a hash-listed copy of the component's state. A healthy one, to restore from,
// is taken only while every check passes, before the copy and after it.
func (a *Activities) Checkpoint(ctx context.Context, in activities.CheckpointInput) (activities.CheckpointResult, error) {
	c, err := a.component(in.Target)
	if err != nil {
		return activities.CheckpointResult{}, err
	}
	if in.Healthy && !in.Plan {
		// Copies of healthy states can wait; the heals that share the agent with them cannot.
		if a.copies.Add(1) > maxCopies {
			a.copies.Add(-1)
			return skippedCheckpoint("enough other checkpoints are being taken; try again in a minute"), nil
		}
		defer a.copies.Add(-1)
	}
	ctx, stop := activities.Guard(ctx, checkpointTimeout)
	defer stop()
	key := effectKey(in.StepInput, string(shivx.StepCheckpoint))
	ctx, leave, err := a.attempts.Enter(ctx, key)
	if err != nil {
		return activities.CheckpointResult{}, err
	}
	defer leave()
	crashpoint.Reach(string(shivx.StepCheckpoint), crashpoint.Before)
	state, err := a.dump(ctx, c, in.StepInput)
	if err != nil {
		return activities.CheckpointResult{}, err
	}
	if len(state.Paths) == 0 {
		return skippedCheckpoint("there is no state to keep; " + listThem), nil
	}
	if in.Plan {
		return skippedCheckpoint(fmt.Sprintf("would copy %v", state.Paths)), nil
	}
	cp, skip, err := a.take(ctx, c, in.Healthy, state, key)
	if err != nil {
		return activities.CheckpointResult{}, effect.StepError(ctx, "checkpoint", err)
	}
	if skip != "" {
		return skippedCheckpoint(skip), nil
	}
	crashpoint.Reach(string(shivx.StepCheckpoint), crashpoint.After)
	return a.keep(ctx, in, c, cp), nil
}

func skippedCheckpoint(why string) activities.CheckpointResult {
	return activities.CheckpointResult{StepResult: activities.StepResult{Summary: why, Skipped: true}}
}

// take copies the state; skip says why there is no checkpoint. A healthy one is kept only if every check still
// passes when all is read.
func (a *Activities) take(ctx context.Context, c config.Component, healthy bool, state config.State, key string) (cp checkpoint.Checkpoint, skip string, err error) {
	o := checkpoint.Order{Key: key, Component: c.Name, Kind: checkpoint.KindFault, State: state, Progress: func(done, total int64) {
		activities.Tell(ctx, bytesOf(done, total))
	}}
	if healthy {
		o.Kind = checkpoint.KindHealthy
		o.Confirm = func(ctx context.Context) error { return a.confirm(ctx, c.Name) }
		if checks, ok := a.round(ctx, c.Name); !ok {
			return cp, "not healthy: " + failing(checks)[0], ctx.Err()
		}
	}
	cp, err = a.Checkpoints.Take(ctx, o)
	if checkpoint.Full(err) && a.makeRoom(ctx, o, c.State.Keep) {
		cp, err = a.Checkpoints.Take(ctx, o)
	}
	if errors.Is(err, checkpoint.ErrNothing) {
		return cp, fmt.Sprintf("none of %v exists; %s", state.Paths, listThem), nil
	}
	if sick, ok := errors.AsType[*unhealthy](err); ok {
		return cp, "became unhealthy while it was copied: " + sick.check, ctx.Err()
	}
	return cp, "", err
}

// makeRoom removes old checkpoints of the component, and what nobody needs, from a disk that is full. It says whether
// there is more room now: otherwise another try would end as the first.
func (a *Activities) makeRoom(ctx context.Context, o checkpoint.Order, keep int) bool {
	removed, freed, err := a.Checkpoints.MakeRoom(ctx, o.Component, o.Kind, keep)
	if err != nil {
		a.Logger.Warn("no room could be made for a checkpoint", "component", o.Component, "error", err)
	}
	if freed {
		a.Logger.Warn("room was made, as there was none for a new checkpoint", "component", o.Component, "removed", removed)
	}
	return freed
}

// unhealthy says which check failed at the end of a copy.
type unhealthy struct{ check string }

func (u *unhealthy) Error() string { return "it is not healthy: " + u.check }

// confirm runs the checks once more.
func (a *Activities) confirm(ctx context.Context, component string) error {
	if checks, ok := a.round(ctx, component); !ok {
		return &unhealthy{failing(checks)[0]}
	}
	return nil
}

func bytesOf(done, total int64) string {
	if total < done {
		return fmt.Sprintf("%d bytes", done)
	}
	return fmt.Sprintf("%d of %d bytes", done, total)
}

// keep records the checkpoint and removes those beyond the number to keep. One that could not be recorded is there
// all the same: a ledger on a full disk must not hide the way back, nor keep old ones on that disk.
func (a *Activities) keep(ctx context.Context, in activities.CheckpointInput, c config.Component, cp checkpoint.Checkpoint) activities.CheckpointResult {
	res := activities.CheckpointResult{ID: cp.ID, Files: int(cp.Entries), Bytes: cp.Bytes}
	res.Summary = fmt.Sprintf("%d entries, %d bytes as %s", cp.Entries, cp.Bytes, cp.ID)
	if n := len(cp.Unstable); n > 0 {
		res.Summary += fmt.Sprintf("; %d changed while they were read", n)
	}
	if n := len(cp.Skipped); n > 0 {
		res.Summary += fmt.Sprintf("; %d left out, such as %s", n, cp.Skipped[0])
	}
	ok := true
	_, err := a.record(context.WithoutCancel(ctx), cp.Key, shivx.RecoveryRecord{
		EventType: shivx.EventCheckpoint, Component: in.Component, Host: in.Host, Severity: shivx.SeverityInfo,
		Run: in.Run, Step: shivx.StepCheckpoint, Success: &ok, Message: res.Summary,
		Details: map[string]any{"id": cp.ID, "kind": cp.Kind, "unstable": cp.Unstable, "missing": cp.Missing, "skipped": cp.Skipped},
	})
	if err != nil {
		a.Logger.Error("a checkpoint is not in the ledger", "component", c.Name, "checkpoint", cp.ID, "error", err)
	}
	if _, err := a.Checkpoints.Prune(ctx, c.Name, cp.Kind, c.State.Keep); err != nil {
		a.Logger.Warn("old checkpoints were not removed", "component", c.Name, "error", err)
	}
	return res
}

// dump lets the plugins of the ladder that can do so write state that files do not show, and
// returns the state with the folders added to which one wrote something.
func (a *Activities) dump(ctx context.Context, c config.Component, in activities.StepInput) (config.State, error) {
	state := c.State
	state.Paths = slices.Clone(state.Paths)
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
		wrote := in.Plan // it might
		if !in.Plan {
			if wrote, err = a.dumpTo(ctx, dir, p, s, in); err != nil {
				return state, effect.StepError(ctx, s.Plugin, err)
			}
		}
		if wrote {
			state.Paths = append(state.Paths, dir)
		}
	}
	return state, nil
}

// dumpTo asks one plugin and says whether it wrote a file.
func (a *Activities) dumpTo(ctx context.Context, dir string, p host.Runner, s config.Strategy, in activities.StepInput) (bool, error) {
	// What an earlier dump wrote is no state of now.
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return false, fmt.Errorf("make the folder for its state: %w", err)
	}
	options, err := s.OptionsJSON()
	if err != nil {
		return false, err
	}
	req := a.request(ctx, in, sdk.StepCheckpoint, options, s.Plugin)
	req.CheckpointDir = dir
	if _, err := p.Run(ctx, sdk.StepCheckpoint, req); err != nil {
		return false, err
	}
	wrote := false
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			wrote = true
			return fs.SkipAll
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look at what it wrote: %w", err)
	}
	return wrote, nil
}
