package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// GoldenRestore brings a set back to what a golden holds: verify, ask people, build the files beside those
// in use, validate, stop the services, swap, start them, check. Nothing in use is touched before the
// services are stopped; whatever fails after that puts the old state back and starts the services with it.
func GoldenRestore(ctx workflow.Context, in shivx.GoldenRestoreInput) (shivx.GoldenRestoreResult, error) {
	r, err := setupRestore(ctx, shivx.GoldenRestore, shivx.GoldenKindBackup, in)
	if err != nil {
		return shivx.GoldenRestoreResult{}, err
	}
	end := r.conduct(ctx, r)
	out := shivx.GoldenRestoreResult{GoldenResult: r.result(ctx), Restore: r.restore, Changes: r.changes,
		Swapped: r.swapped, Stopped: r.down, Downtime: r.downtime}
	return out, r.finish(ctx, end, out)
}

// goldenRestore is the state of one run.
type goldenRestore struct {
	*goldenRun
	in       shivx.GoldenRestoreInput
	kind     shivx.GoldenKind
	changes  shivx.GoldenChanges
	staged   bool   // something may lie beside the files in use
	swapping bool   // the swap has begun: some files may be swapped
	swapped  bool   // the restored state is in place
	starting bool   // a service may run with the restored state
	over     string // why the restored state cannot be undone any more
	held     []heldService
	// down are the services whose stop has begun, in the order in which they are started.
	down     []string
	attempts map[string]int // stops and starts of each service
	since    time.Time      // the first stop
	downtime float64
	healthy  time.Time // the last time that all services were found healthy
}

var _ goldenBook = (*goldenRestore)(nil)

// setupRestore checks the input of a restore.
func setupRestore(ctx workflow.Context, a shivx.GoldenAction, kind shivx.GoldenKind, in shivx.GoldenRestoreInput) (*goldenRestore, error) {
	switch in.Mode {
	case "":
		in.Mode = shivx.RestoreWhole
		if len(in.Paths) > 0 { // some files of a root cannot replace it as a whole
			in.Mode = shivx.RestoreInPlace
		}
	case shivx.RestoreWhole, shivx.RestoreInPlace:
	default:
		return nil, badInput(fmt.Sprintf("%q is no mode — write %s or %s", in.Mode, shivx.RestoreWhole, shivx.RestoreInPlace))
	}
	steps := []shivx.GoldenStep{shivx.GoldenStepInspect, shivx.GoldenStepResolve, shivx.GoldenStepVerify, shivx.GoldenStepStage}
	if !in.Plan {
		steps = []shivx.GoldenStep{shivx.GoldenStepInspect, shivx.GoldenStepResolve, shivx.GoldenStepVerify, shivx.GoldenStepApprove,
			shivx.GoldenStepStage, shivx.GoldenStepValidate, shivx.GoldenStepHold, shivx.GoldenStepStop, shivx.GoldenStepSwap,
			shivx.GoldenStepStart, shivx.GoldenStepLoad, shivx.GoldenStepCheck, shivx.GoldenStepFinish, shivx.GoldenStepLog}
	}
	g, err := setupGolden(ctx, a, in.GoldenRequest, steps...)
	if err != nil {
		return nil, err
	}
	g.restore = restoreID(ctx)
	r := &goldenRestore{goldenRun: g, in: in, kind: kind, attempts: map[string]int{}}
	r.extent = r.describe
	return r, nil
}

// restoreID names the restore of a run. It stays when the run is reset, so that what the run has done on
// the host is found again.
func restoreID(ctx workflow.Context) string {
	info := workflow.GetInfo(ctx)
	if info.OriginalRunID != "" {
		return info.OriginalRunID
	}
	return info.WorkflowExecution.RunID
}

func (r *goldenRestore) run(ctx workflow.Context) ending {
	steps := []func(workflow.Context) error{r.resolve, r.verifyNeeded, r.approve, r.stage, r.validate, r.hold,
		r.stop, r.compareAgain, r.swap, r.start, r.load, r.check}
	if r.request.Plan {
		steps = []func(workflow.Context) error{r.resolve, r.verifyNeeded, r.stage}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return r.failed(err)
		}
	}
	if r.request.Plan {
		return ending{outcome: shivx.OutcomePlanned, message: "nothing was changed; " + changesLine(r.changes)}
	}
	return ending{outcome: shivx.OutcomeRestored, message: "restored from " + r.goldenID() + "; " + changesLine(r.changes)}
}

// changesLine describes changes in one line.
func changesLine(c shivx.GoldenChanges) string {
	if c.Replaced > 0 { // as a whole, without comparing
		return fmt.Sprintf("%d files put back, each path as a whole", c.Replaced)
	}
	return fmt.Sprintf("%d added, %d removed, %d changed, %d unchanged", c.Added, c.Removed, c.Changed, c.Unchanged)
}

func (r *goldenRestore) resolve(ctx workflow.Context) error {
	return r.find(ctx, activities.FindGoldenInput{Golden: r.in.Golden, Kind: r.kind, From: r.in.From, Trust: r.in.Trust})
}

// verifyNeeded refuses a golden of which anything that is needed is damaged, before anything is touched.
func (r *goldenRestore) verifyNeeded(ctx workflow.Context) error {
	_, err := r.verify(ctx, activities.VerifyGoldenInput{Golden: r.goldenID(), Paths: r.in.Paths, Trust: r.in.Trust})
	return err
}

// approve asks people, as the configuration says.
func (r *goldenRestore) approve(ctx workflow.Context) error {
	a := r.policy.Approval
	if a.Required == 0 {
		r.skip(ctx, shivx.GoldenStepApprove, "nobody has to approve it")
		return nil
	}
	return r.step(ctx, shivx.GoldenStepApprove, "", func() (activities.RestoreStep, error) {
		what := "the restore of " + r.target.String() + " from " + r.goldenID() + " (" + r.describe() + ")"
		granted, why, err := r.control.awaitApproval(ctx, what, a, r.note)
		switch {
		case err != nil:
			return activities.RestoreStep{}, err
		case !granted:
			return activities.RestoreStep{}, temporal.NewNonRetryableApplicationError(why, errNotApproved, nil)
		}
		return activities.RestoreStep{Summary: approvedBy(r.control.decisions)}, nil
	})
}

// describe says how far the restore goes, for those who approve it.
func (r *goldenRestore) describe() string {
	parts := []string{"whole: what was added since is removed"}
	if r.in.Mode == shivx.RestoreInPlace {
		parts[0] = "in place: what differs is rewritten, what was added since is removed"
	}
	if n := len(r.in.Paths); n > 0 {
		parts = append(parts, fmt.Sprintf("only %s", strings.Join(r.in.Paths[:min(n, pathsShown)], ", ")))
		if n > pathsShown {
			parts[1] += fmt.Sprintf(" and %d more", n-pathsShown)
		}
	}
	switch {
	case r.in.LeaveServices:
		parts = append(parts, "no service is stopped, although it may have the files open")
	case r.inspected:
		parts = append(parts, "stops and starts "+orNone(strings.Join(r.policy.Services, ", "), "no service"))
	}
	if r.in.From != "" && r.in.From != r.target.Host {
		parts = append(parts, "a golden of the host "+r.in.From)
	}
	if n := len(r.in.Trust); n > 0 {
		parts = append(parts, fmt.Sprintf("believes %d keys that this request names", n))
	}
	return strings.Join(parts, "; ")
}

// pathsShown is how many paths of a restore are named.
const pathsShown = 5

// approvedBy names those who approved.
func approvedBy(ds []Decision) string {
	if len(ds) == 0 {
		return "approved by default: nobody decided in time"
	}
	var names []string
	for _, d := range ds {
		names = append(names, d.By)
	}
	return "approved by " + strings.Join(names, ", ")
}

// services are those that the run stops, in the order in which they are started.
func (r *goldenRestore) services() []string {
	if r.in.LeaveServices {
		return nil
	}
	return r.policy.Services
}

// copying runs one step of the restore's files.
func (r *goldenRestore) copying(ctx workflow.Context, name shivx.GoldenStep, a activities.Activity[activities.RestoreInput, activities.RestoreStep],
	summary string, stopped bool) (activities.RestoreStep, error) {
	var res activities.RestoreStep
	err := r.step(ctx, name, "", func() (activities.RestoreStep, error) {
		var err error
		res, err = a.Execute(longCopy(ctx, r.target.Host, summary, r.policy.Timeout.Std()), activities.RestoreInput{
			GoldenTarget: r.target, Run: r.runKey, Restore: r.restore, Golden: r.goldenID(), Paths: r.in.Paths, Mode: r.in.Mode,
			Trust: r.in.Trust, Stopped: stopped, KeepOld: r.in.KeepOld, Plan: r.request.Plan,
		})
		if err == nil && res.Changes != nil {
			r.changes = *res.Changes
		}
		return res, err
	})
	return res, err
}

// stage builds what will be put in place while the services still run.
func (r *goldenRestore) stage(ctx workflow.Context) error {
	summary := "build the files beside those in use"
	if r.request.Plan {
		summary = "list what would change"
	}
	r.staged = !r.request.Plan
	_, err := r.copying(ctx, shivx.GoldenStepStage, activities.StageRestore, summary, len(r.services()) == 0)
	return err
}

func (r *goldenRestore) validate(ctx workflow.Context) error {
	_, err := r.copying(ctx, shivx.GoldenStepValidate, activities.ValidateRestore, "read the staged configurations", false)
	return err
}

// compareAgain brings what was staged up to date with what the services wrote until they were stopped: in
// place only what differs is rewritten. What is staged anew is validated anew.
func (r *goldenRestore) compareAgain(ctx workflow.Context) error {
	if r.in.Mode != shivx.RestoreInPlace || len(r.services()) == 0 {
		return nil
	}
	res, err := r.copying(ctx, shivx.GoldenStepSettle, activities.StageRestore, "compare again, now that nothing changes any more", true)
	if err != nil || res.Files == 0 {
		return err
	}
	return r.validate(ctx)
}

func (r *goldenRestore) swap(ctx workflow.Context) error {
	if ctx.Err() == nil {
		r.swapping = true
	}
	_, err := r.copying(ctx, shivx.GoldenStepSwap, activities.SwapRestore, "put the restored files in place", true)
	r.swapped = err == nil
	return err
}

// load lets databases that are restored by their own programs take in what was restored.
func (r *goldenRestore) load(ctx workflow.Context) error {
	_, err := r.copying(ctx, shivx.GoldenStepLoad, activities.LoadRestore, "load restored databases", false)
	return err
}
