package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// GoldenBackup stores a set as it is and removes the goldens that its retention does not ask for.
func GoldenBackup(ctx workflow.Context, in shivx.GoldenBackupInput) (shivx.GoldenBackupResult, error) {
	g, err := setupGolden(ctx, shivx.GoldenBackup, in.GoldenRequest,
		shivx.GoldenStepInspect, shivx.GoldenStepTake, shivx.GoldenStepPrune, shivx.GoldenStepLog)
	if err != nil {
		return shivx.GoldenBackupResult{}, err
	}
	t := &goldenTake{goldenRun: g, kind: shivx.GoldenKindBackup, name: in.Name, allowMissing: in.AllowMissing}
	end := g.conduct(ctx, t)
	out := shivx.GoldenBackupResult{GoldenResult: g.result(ctx), Capture: t.capture, Removed: t.removed}
	return out, g.finish(ctx, end, out)
}
