package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// GoldenVerify reads a golden, or all of them, and compares every byte with what was signed. People are
// told of damage, which with Repair is mended as far as there is parity.
func GoldenVerify(ctx workflow.Context, in shivx.GoldenVerifyInput) (shivx.GoldenVerifyResult, error) {
	if in.All && in.Golden != "" {
		return shivx.GoldenVerifyResult{}, badInput(`"all" verifies every golden — leave out "golden"`)
	}
	g, err := setupGolden(ctx, shivx.GoldenVerify, in.GoldenRequest,
		shivx.GoldenStepInspect, shivx.GoldenStepResolve, shivx.GoldenStepVerify, shivx.GoldenStepLog)
	if err != nil {
		return shivx.GoldenVerifyResult{}, err
	}
	v := &goldenVerify{goldenRun: g, in: in}
	end := g.conduct(ctx, v)
	out := shivx.GoldenVerifyResult{GoldenResult: g.result(ctx), Goldens: v.found.Goldens, Bytes: v.found.Bytes,
		Damaged: v.found.Damaged, Repaired: v.found.Repaired, Damage: v.found.Damage}
	return out, g.finish(ctx, end, out)
}

// goldenVerify is the state of one run.
type goldenVerify struct {
	*goldenRun
	in    shivx.GoldenVerifyInput
	found activities.VerifyGoldenResult
}

var _ goldenBook = (*goldenVerify)(nil)

func (v *goldenVerify) run(ctx workflow.Context) ending {
	if v.in.All {
		v.skip(ctx, shivx.GoldenStepResolve, "all are meant")
	} else if err := v.find(ctx, activities.FindGoldenInput{
		Golden: v.in.Golden, Kind: shivx.GoldenKindBackup, From: v.in.From, Trust: v.in.Trust}); err != nil {
		return v.failed(err)
	}
	r, err := v.verify(ctx, activities.VerifyGoldenInput{Golden: v.goldenID(), All: v.in.All, Repair: v.in.Repair, Trust: v.in.Trust})
	v.found = r
	if err != nil {
		return v.failed(err)
	}
	end := ending{outcome: shivx.OutcomeVerified, message: r.Summary}
	if r.Repaired > 0 {
		end.message = fmt.Sprintf("%d damaged places were repaired: the disk may be failing", r.Repaired)
		end.escalate, end.hint = true, "look at the disk's health, and take a backup elsewhere"
	}
	if v.request.Plan {
		end = ending{outcome: shivx.OutcomePlanned, message: r.Summary}
	}
	return end
}

// settle has nothing to do: a verification changes nothing that would have to be taken back.
func (*goldenVerify) settle(_ workflow.Context, end ending) ending { return end }

// verify is the step of that name of every run that reads a golden. Damage that is left is an error.
func (g *goldenRun) verify(ctx workflow.Context, in activities.VerifyGoldenInput) (activities.VerifyGoldenResult, error) {
	var r activities.VerifyGoldenResult
	err := g.step(ctx, shivx.GoldenStepVerify, "", func() (activities.RestoreStep, error) {
		in.GoldenTarget, in.Run, in.Plan = g.target, g.runKey, g.request.Plan && g.action == shivx.GoldenVerify
		var err error
		r, err = activities.VerifyGolden.Execute(longCopy(ctx, g.target.Host, "compare what is stored with what was signed", g.policy.Timeout.Std()), in)
		if err == nil && r.Damaged > 0 {
			err = damaged(r)
		}
		return activities.RestoreStep{Summary: r.Summary, Files: r.Files, Bytes: r.Bytes}, err
	})
	return r, err
}

// damaged is the error for damage that is left.
func damaged(r activities.VerifyGoldenResult) error {
	msg := fmt.Sprintf("damaged places of the store: %d", r.Damaged)
	if i := slices.IndexFunc(r.Damage, func(d shivx.GoldenDamage) bool { return !d.Repaired }); i >= 0 {
		d := r.Damage[i]
		msg += fmt.Sprintf("; the first is %s: %s", d.Object, d.What)
		if d.Path != "" {
			msg += " (of " + d.Path + ")"
		}
	}
	return temporal.NewNonRetryableApplicationError(msg, activities.ErrDamaged, nil)
}
