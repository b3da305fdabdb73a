package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// SafeSnapshot keeps the state of a set before something risky is done to it, or rolls back to such a
// state. A rollback is a restore like any other: people approve it as the set's configuration asks.
func SafeSnapshot(ctx workflow.Context, in shivx.SafeSnapshotInput) (shivx.SafeSnapshotResult, error) {
	switch in.Action {
	case "", shivx.SnapshotTake:
		return takeSnapshot(ctx, in)
	case shivx.SnapshotRestore:
		return rollBack(ctx, in)
	default:
		return shivx.SafeSnapshotResult{}, badInput(fmt.Sprintf("%q is no action — write %s or %s", in.Action, shivx.SnapshotTake, shivx.SnapshotRestore))
	}
}

func takeSnapshot(ctx workflow.Context, in shivx.SafeSnapshotInput) (shivx.SafeSnapshotResult, error) {
	if in.Golden != "" {
		return shivx.SafeSnapshotResult{}, badInput(`"golden" says which snapshot to restore — write "action":"restore", or leave it out`)
	}
	g, err := setupGolden(ctx, shivx.GoldenSnapshot, in.GoldenRequest,
		shivx.GoldenStepInspect, shivx.GoldenStepTake, shivx.GoldenStepPrune, shivx.GoldenStepLog)
	if err != nil {
		return shivx.SafeSnapshotResult{}, err
	}
	t := &goldenTake{goldenRun: g, kind: shivx.GoldenKindSnapshot, name: in.Name, keepOlder: in.KeepOlder}
	end := g.conduct(ctx, t)
	out := shivx.SafeSnapshotResult{GoldenResult: g.result(ctx), Action: shivx.SnapshotTake, Capture: &t.capture, Removed: t.removed}
	return out, g.finish(ctx, end, out)
}

func rollBack(ctx workflow.Context, in shivx.SafeSnapshotInput) (shivx.SafeSnapshotResult, error) {
	if in.Name != "" {
		return shivx.SafeSnapshotResult{}, badInput(`"name" is for a snapshot that is taken — write "golden" to say which one to restore`)
	}
	r, err := setupRestore(ctx, shivx.GoldenSnapshot, shivx.GoldenKindSnapshot,
		shivx.GoldenRestoreInput{GoldenRequest: in.GoldenRequest, Golden: in.Golden, Mode: in.Mode})
	if err != nil {
		return shivx.SafeSnapshotResult{}, err
	}
	end := r.conduct(ctx, r)
	out := shivx.SafeSnapshotResult{GoldenResult: r.result(ctx), Action: shivx.SnapshotRestore, Restore: r.restore,
		Changes: &r.changes, Swapped: r.swapped, Stopped: r.down, Downtime: r.downtime}
	return out, r.finish(ctx, end, out)
}
