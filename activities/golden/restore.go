package golden

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	engine "github.com/shivx/shivx/internal/golden"
)

// files runs one step of a restore's files.
func (a *Activities) files(ctx context.Context, in activities.RestoreInput, name shivx.GoldenStep, key string,
	do func(context.Context, engine.Restore, func(shivx.GoldenProgress)) (activities.RestoreStep, error)) (activities.RestoreStep, error) {
	timeout := endTimeout
	if s, err := a.set(in.GoldenTarget); err == nil {
		timeout = s.Timeout
	} else if !slices.Contains(ends, name) {
		return activities.RestoreStep{}, err
	}
	if key != "" {
		key = in.Restore + "/" + key
	}
	return record(ctx, a, step{target: in.GoldenTarget, run: in.Run, alone: in.Restore, key: key, name: name, timeout: timeout, plan: in.Plan,
		allowed: func() error { return a.goesOn(in.Restore, name) }},
		func(r activities.RestoreStep) string { return r.Summary },
		func(ctx context.Context) (activities.RestoreStep, error) {
			return do(ctx, engine.Restore{
				ID: in.Restore, Set: in.Set, Golden: in.Golden, Only: in.Paths, InPlace: in.Mode == shivx.RestoreInPlace, Trust: in.Trust}, a.tell(ctx))
		})
}

// ends are the steps that end a restore. They need nothing of the configuration, which the restore itself may
// have replaced by one that does not know the set.
var ends = []shivx.GoldenStep{shivx.GoldenStepUndo, shivx.GoldenStepDiscard, shivx.GoldenStepFinish}

// endTimeout bounds the end of a restore whose set is not configured any more.
const endTimeout = 6 * time.Hour

// goesOn returns engine.ErrOver for a step that an ended restore does not take. A run that is reset repeats its
// steps, and the ledger would tell it that they are done, although they were undone since.
func (a *Activities) goesOn(restore string, name shivx.GoldenStep) error {
	switch name {
	case shivx.GoldenStepUndo, shivx.GoldenStepDiscard:
		return nil
	case shivx.GoldenStepLoad, shivx.GoldenStepFinish:
		return a.Engine.CalledOff(restore)
	default:
		return a.Engine.Over(restore)
	}
}

// StageRestore builds what a restore will put in place, beside the files in use.
func (a *Activities) StageRestore(ctx context.Context, in activities.RestoreInput) (activities.RestoreStep, error) {
	name, key := shivx.GoldenStepStage, "stage"
	if in.Stopped {
		name, key = shivx.GoldenStepSettle, "settle"
	}
	return a.files(ctx, in, name, key, func(ctx context.Context, r engine.Restore, tell func(shivx.GoldenProgress)) (activities.RestoreStep, error) {
		if in.Plan {
			c, err := a.Engine.PlanRestore(ctx, r, tell)
			return changed("would change: ", engine.Summary(c)), err
		}
		c, err := a.Engine.Stage(ctx, r, tell)
		return changed("staged: ", engine.Summary(c)), err
	})
}

// changed describes a step that comes with changes.
func changed(what string, c shivx.GoldenChanges) activities.RestoreStep {
	summary := fmt.Sprintf("%s%d added, %d removed, %d changed, %d unchanged; %d bytes", what, c.Added, c.Removed, c.Changed, c.Unchanged, c.Bytes)
	if c.Replaced > 0 { // as a whole, without comparing
		summary = fmt.Sprintf("%s%d files; %d bytes", what, c.Replaced, c.Bytes)
	}
	return activities.RestoreStep{Summary: summary, Files: c.Added + c.Changed + c.Removed + c.Replaced, Bytes: c.Bytes, Changes: &c}
}

// ValidateRestore runs the set's validations on what is staged.
func (a *Activities) ValidateRestore(ctx context.Context, in activities.RestoreInput) (activities.RestoreStep, error) {
	// It has no key, so that what is staged anew is validated anew.
	return a.files(ctx, in, shivx.GoldenStepValidate, "",
		func(ctx context.Context, r engine.Restore, _ func(shivx.GoldenProgress)) (activities.RestoreStep, error) {
			n, err := a.Engine.Validate(ctx, r)
			return activities.RestoreStep{Summary: "valid: " + counted(n, "staged file"), Skipped: n == 0, Files: n}, err
		})
}

// SwapRestore puts what is staged in place and keeps what was there.
func (a *Activities) SwapRestore(ctx context.Context, in activities.RestoreInput) (activities.RestoreStep, error) {
	return a.files(ctx, in, shivx.GoldenStepSwap, "swap", func(ctx context.Context, r engine.Restore, _ func(shivx.GoldenProgress)) (activities.RestoreStep, error) {
		if err := a.keepDown(ctx, in); err != nil {
			return activities.RestoreStep{}, err
		}
		c, err := a.Engine.Swap(ctx, r)
		return changed("exchanged: ", engine.Summary(c)), err
	})
}

// LoadRestore does what databases need that are restored by their own programs.
func (a *Activities) LoadRestore(ctx context.Context, in activities.RestoreInput) (activities.RestoreStep, error) {
	return a.files(ctx, in, shivx.GoldenStepLoad, "load", func(ctx context.Context, r engine.Restore, _ func(shivx.GoldenProgress)) (activities.RestoreStep, error) {
		done, err := a.Engine.Load(ctx, r)
		summary := []string{"loaded: " + counted(done.Databases, "database")}
		for _, j := range done.Ledgers {
			summary = append(summary, j.String())
		}
		return activities.RestoreStep{Summary: short(strings.Join(summary, "; ")), Skipped: done.Databases == 0 && len(done.Ledgers) == 0}, err
	})
}

// UndoRestore puts back what was there.
func (a *Activities) UndoRestore(ctx context.Context, in activities.RestoreInput) (activities.RestoreStep, error) {
	return a.end(ctx, in, shivx.GoldenStepUndo, "the old state is back", func(ctx context.Context, r engine.Restore) (bool, error) {
		if state, err := a.Engine.State(in.Restore); err != nil || mayRename(state) {
			if err := errors.Join(err, a.keepDown(ctx, in)); err != nil {
				return false, err
			}
		}
		return a.Engine.Undo(ctx, r)
	})
}

// DiscardRestore removes what was staged.
func (a *Activities) DiscardRestore(ctx context.Context, in activities.RestoreInput) (activities.RestoreStep, error) {
	return a.end(ctx, in, shivx.GoldenStepDiscard, "what was staged is removed", a.Engine.Discard)
}

func (a *Activities) end(ctx context.Context, in activities.RestoreInput, name shivx.GoldenStep, did string,
	do func(context.Context, engine.Restore) (bool, error)) (activities.RestoreStep, error) {
	return a.files(ctx, in, name, string(name), func(ctx context.Context, r engine.Restore, _ func(shivx.GoldenProgress)) (activities.RestoreStep, error) {
		any, err := do(ctx, r)
		if !any {
			did = "there was nothing to do"
		}
		return activities.RestoreStep{Summary: did, Skipped: !any}, err
	})
}

// FinishRestore ends a restore that holds.
func (a *Activities) FinishRestore(ctx context.Context, in activities.RestoreInput) (activities.RestoreStep, error) {
	return a.files(ctx, in, shivx.GoldenStepFinish, "finish", func(ctx context.Context, r engine.Restore, _ func(shivx.GoldenProgress)) (activities.RestoreStep, error) {
		kept, err := a.Engine.Finish(ctx, r, in.KeepOld)
		summary := "the old state is removed"
		if len(kept) > 0 {
			summary = fmt.Sprintf("the old state is kept in %s", kept)
		}
		return activities.RestoreStep{Summary: short(summary)}, err
	})
}
