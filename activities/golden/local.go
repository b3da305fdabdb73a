package golden

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/golden/format"
)

// Local is a whole restore in this process, for when there is no Temporal to run one: the same steps in the
// same order as the runbook GoldenRestore, with a job in a file in place of its history.
type Local struct {
	*Activities
	// Told is told of each step, when it begins and when it has ended.
	Told func(shivx.GoldenStepReport)
	// Ended is told of each restore that was cut off and has been ended; nil: nobody is.
	Ended func(shivx.GoldenRestoreResult)
	// May is asked once no other local restore can begin, and before anything is done; its error refuses. An
	// agent that starts from then on waits. Nil: nobody is asked.
	May func() error

	in      shivx.GoldenRestoreInput
	restore activities.RestoreInput
	policy  activities.SetPolicy
	out     shivx.GoldenRestoreResult
	job     job
	try     int       // how often it was taken up
	since   time.Time // the first stop
	// swapped is true from before the first rename on until the old state is back, undone after that.
	swapped, undone bool
	// healthy is true once the services were judged with the restored state: it stays.
	healthy bool
	// removed is true once what was staged of a restore that was cut off is.
	removed bool
	// aborted is true for one that was cut off before the swap, ended for one that was put back.
	aborted, ended bool
}

// Restore restores a set, after it has ended what earlier restores left. Nobody is asked for approval: who may
// run it has the host already. The error is restore.ErrBusy while another restore is under way on this host.
// When ctx ends in the middle, everything is put back as it was. It plans nothing: see engine.PlanRestore.
func (l *Local) Restore(ctx context.Context, in shivx.GoldenRestoreInput) (shivx.GoldenRestoreResult, error) {
	l.in = in
	if l.in.Mode == "" {
		l.in.Mode = shivx.RestoreWhole
	}
	id := ulid.Make().String()
	target := shivx.GoldenTarget{Set: in.Set, Host: l.Config.Host}
	l.restore = activities.RestoreInput{GoldenTarget: target, Run: "local " + id, Restore: id, Paths: in.Paths, Mode: l.in.Mode, Trust: in.Trust,
		KeepOld: in.KeepOld}
	l.out = shivx.GoldenRestoreResult{GoldenResult: shivx.GoldenResult{GoldenTarget: target, Started: time.Now().UTC()}, Restore: id}
	err := l.alone(ctx, l.run)
	return l.end(ctx, err)
}

// alone keeps other local restores away while it runs do, and puts back what do has left halfway.
func (l *Local) alone(ctx context.Context, do func(context.Context) error) error {
	release, err := lockJobs(l.Engine.Journals())
	if err != nil {
		return err
	}
	defer release()
	if err := l.may(); err != nil {
		return err
	}
	if err := errors.Join(l.resumeAll(ctx), l.Engine.EndOthers(ctx)); err != nil {
		return fmt.Errorf("a restore that was cut off must be ended first: %w", err)
	}
	if err = do(ctx); err == nil {
		return nil
	}
	if back := l.compensate(ctx); back != nil {
		return shivx.Hint(fmt.Errorf("%w; %w", err, back), shivx.HintOf(back))
	}
	switch {
	case l.undone:
		err = fmt.Errorf("%w; the old state is back", err)
	case !l.since.IsZero():
		err = fmt.Errorf("%w; no file was changed, and the services run again", err)
	case ctx.Err() != nil:
		err = fmt.Errorf("%w; nothing was changed", err)
	}
	return err
}

func (l *Local) run(ctx context.Context) error {
	if err := l.prepare(ctx); err != nil {
		return err
	}
	l.job = job{Format: jobFormat, Restore: l.restore, Began: l.out.Started, Policy: l.policy}
	if err := l.job.write(l.Engine.Journals()); err != nil {
		return err
	}
	if err := l.build(ctx, shivx.GoldenStepStage); err != nil {
		return err
	}
	if err := l.stop(ctx); err != nil {
		return err
	}
	// In place only what differs is rewritten, so it is compared again now that nothing changes any more.
	if l.in.Mode == shivx.RestoreInPlace && len(l.policy.Services) > 0 {
		l.restore.Stopped = true
		if err := l.build(ctx, shivx.GoldenStepSettle); err != nil {
			return err
		}
	}
	l.swapped = true
	if err := l.files(ctx, shivx.GoldenStepSwap, l.SwapRestore); err != nil {
		return err
	}
	return l.bringUp(ctx)
}

// prepare finds the golden and verifies what is needed of it.
func (l *Local) prepare(ctx context.Context) error {
	var err error
	if l.policy, err = l.InspectSet(ctx, activities.InspectSetInput{GoldenTarget: l.restore.GoldenTarget}); err != nil {
		return Plain(err)
	}
	if l.in.LeaveServices {
		l.policy.Services = nil
	}
	err = l.step(shivx.GoldenStepResolve, "", func() (activities.RestoreStep, error) {
		golden := l.in.Golden
		if golden == "" {
			golden = shivx.GoldenLatest
		}
		info, err := l.FindGolden(ctx, activities.FindGoldenInput{GoldenTarget: l.restore.GoldenTarget, Golden: golden,
			Kind: shivx.GoldenKindBackup, From: l.in.From, Trust: l.in.Trust})
		if err != nil {
			return activities.RestoreStep{}, err
		}
		l.out.Golden, l.restore.Golden = &info, info.ID
		return activities.RestoreStep{Summary: info.ID + " of " + info.Created.Local().Format(time.DateTime)}, nil
	})
	if err != nil {
		return err
	}
	return l.step(shivx.GoldenStepVerify, "", func() (activities.RestoreStep, error) {
		if l.in.Mode == shivx.RestoreInPlace {
			return activities.RestoreStep{Summary: "in place, what is needed is verified once it is known", Skipped: true}, nil
		}
		v, err := l.VerifyGolden(ctx, activities.VerifyGoldenInput{GoldenTarget: l.restore.GoldenTarget, Run: l.restore.Run,
			Golden: l.restore.Golden, Paths: l.in.Paths, Trust: l.in.Trust})
		if err == nil && v.Damaged > 0 {
			err = shivx.Hint(fmt.Errorf("%w, and nothing was touched; %s; the first: %s", format.ErrDamaged, v.Summary, v.Damage[0].What),
				"shivx golden scrub --repair mends what parity can mend; else take an older golden: shivx golden list "+l.in.Set)
		}
		return activities.RestoreStep{Summary: v.Summary, Files: v.Files, Bytes: v.Bytes}, err
	})
}

// build stages and validates.
func (l *Local) build(ctx context.Context, name shivx.GoldenStep) error {
	if err := l.files(ctx, name, l.StageRestore); err != nil {
		return err
	}
	return l.files(ctx, shivx.GoldenStepValidate, l.ValidateRestore)
}

// end says how it went and records it.
func (l *Local) end(ctx context.Context, err error) (shivx.GoldenRestoreResult, error) {
	r := &l.out
	r.Seconds, r.Swapped = time.Since(r.Started).Seconds(), l.swapped
	switch {
	case err == nil && l.aborted:
		r.Outcome, r.Message = shivx.OutcomeAborted, "cut off before the swap; nothing was changed"
	case err == nil:
		r.Outcome, r.Message = shivx.OutcomeRestored, strings.TrimSuffix("restored from "+l.restore.Golden+"; "+r.Message, "; ")
	default:
		r.Outcome, r.Message = l.failure(ctx, err), err.Error()
	}
	rec, logErr := l.LogGolden(context.WithoutCancel(ctx), activities.LogGoldenInput{
		GoldenTarget: r.GoldenTarget, Run: l.restore.Run, Action: shivx.GoldenRestore, Outcome: r.Outcome, Message: r.Message,
		Golden: l.restore.Golden, Restore: r.Restore, Started: r.Started, Seconds: r.Seconds, Steps: r.Steps,
		Reason: l.in.Reason, RequestedBy: l.in.RequestedBy, Try: l.try,
	})
	if logErr != nil {
		l.Logger.Error("the end of the restore is not in the ledger", "error", logErr)
	}
	r.LedgerSeq = rec.Seq
	return *r, err
}

// failure is the outcome of a restore that an error has ended.
func (l *Local) failure(ctx context.Context, err error) shivx.Outcome {
	switch {
	case l.swapped || len(l.out.Stopped) > 0: // not put back
		return shivx.OutcomeFailed
	case ctx.Err() != nil:
		return shivx.OutcomeAborted
	case l.undone:
		return shivx.OutcomeUndone
	default:
		return OutcomeOf(err)
	}
}

// files runs a step of the restore's files.
func (l *Local) files(ctx context.Context, name shivx.GoldenStep, do func(context.Context, activities.RestoreInput) (activities.RestoreStep, error)) error {
	return l.step(name, "", func() (activities.RestoreStep, error) {
		r, err := do(ctx, l.restore)
		if err == nil && r.Changes != nil {
			l.out.Changes = *r.Changes
		}
		return r, err
	})
}

// Plain takes off an error of a step what is for a workflow.
func Plain(err error) error {
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok && app.Unwrap() != nil {
		return app.Unwrap()
	}
	return err
}

// step runs one step and tells of it.
func (l *Local) step(name shivx.GoldenStep, service string, do func() (activities.RestoreStep, error)) error {
	r := shivx.GoldenStepReport{Name: name, Service: service, Started: time.Now().UTC(), Outcome: shivx.StepRunning}
	l.Told(r)
	done, err := do()
	err = Plain(err)
	r.Seconds, r.Summary, r.Files, r.Bytes = time.Since(r.Started).Seconds(), done.Summary, done.Files, done.Bytes
	switch {
	case err != nil:
		r.Outcome, r.Summary = shivx.StepFailed, short(err.Error())
	case done.Skipped:
		r.Outcome = shivx.StepSkipped
	default:
		r.Outcome = shivx.StepDone
	}
	l.out.Steps = append(l.out.Steps, r)
	l.Told(r)
	return err
}
