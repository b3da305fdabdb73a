package workflows

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// goldenTake stores a golden of a kind and removes those that the retention of the kind does not ask for.
type goldenTake struct {
	*goldenRun
	kind shivx.GoldenKind
	name string
	// keepOlder removes no older golden for the one that is taken.
	keepOlder bool
	// allowMissing takes one that lacks what the one before has.
	allowMissing bool
	capture      shivx.GoldenCapture
	removed      []string
}

var _ goldenBook = (*goldenTake)(nil)

func (t *goldenTake) run(ctx workflow.Context) ending {
	if err := t.take(ctx); err != nil {
		return t.failed(err)
	}
	end := ending{outcome: shivx.OutcomeStored, message: "stored as " + t.goldenID()}
	if t.request.Plan {
		end = ending{outcome: shivx.OutcomePlanned, message: "nothing was stored"}
	}
	if t.keepOlder {
		t.skip(ctx, shivx.GoldenStepPrune, "the older ones stay")
		return end
	}
	// A golden that is stored stays so: what it cannot take the place of needs room alone.
	if err := t.prune(ctx); err != nil {
		end.message += "; older ones were not removed: " + reason(err)
		end.escalate = !temporal.IsCanceledError(err)
		end.hint = "the store grows until that succeeds: on " + t.target.Host + " run shivx golden prune " + t.target.Set
	}
	return end
}

// settle has nothing to do: the host removes what a backup that was cut off has left.
func (*goldenTake) settle(_ workflow.Context, end ending) ending { return end }

func (t *goldenTake) take(ctx workflow.Context) error {
	return t.step(ctx, shivx.GoldenStepTake, "", func() (activities.RestoreStep, error) {
		r, err := activities.TakeGolden.Execute(
			longCopy(ctx, t.target.Host, "store the files of "+t.target.Set, t.policy.Timeout.Std()),
			activities.TakeGoldenInput{GoldenTarget: t.target, Run: t.runKey, Kind: t.kind, Name: t.name, Reason: t.why(),
				AllowMissing: t.allowMissing, Plan: t.request.Plan})
		if err != nil {
			return activities.RestoreStep{}, err
		}
		t.capture = r.Capture
		if !t.request.Plan {
			t.golden = &r.Golden
		}
		return activities.RestoreStep{Summary: r.Summary, Files: r.Capture.Files, Bytes: r.Capture.BytesRead}, nil
	})
}

func (t *goldenTake) prune(ctx workflow.Context) error {
	return t.step(ctx, shivx.GoldenStepPrune, "", func() (activities.RestoreStep, error) {
		r, err := activities.PruneGoldens.Execute(
			longCopy(ctx, t.target.Host, "remove goldens that need not be kept", t.policy.Timeout.Std()),
			activities.PruneGoldensInput{GoldenTarget: t.target, Run: t.runKey, Kind: t.kind, Plan: t.request.Plan})
		t.removed = r.Removed
		return activities.RestoreStep{Summary: r.Summary, Bytes: r.Freed, Skipped: err == nil && len(r.Removed) == 0}, err
	})
}
