package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	goldenacts "github.com/shivx/shivx/activities/golden"
	engine "github.com/shivx/shivx/internal/golden"
)

// restoreTo puts the files of a golden below another folder.
func (a *app) restoreTo(ctx context.Context, l *localGolden, r engine.Restore, info shivx.GoldenInfo, in shivx.GoldenRestoreInput) error {
	if err := l.openLedger(ctx); err != nil {
		return err
	}
	began := time.Now()
	var res shivx.GoldenRestoreResult
	res.GoldenTarget, res.Golden, res.Restore, res.Started = in.GoldenTarget, &info, r.ID, began.UTC()
	err := l.putElsewhere(ctx, r, &res)
	res.Seconds, res.Outcome, res.Message = time.Since(began).Seconds(), shivx.OutcomeRestored, fmt.Sprintf("%s below %s", count(int(res.Changes.Replaced), "file"), r.To)
	if err = coded(err, exitNotHealed); err != nil {
		res.Outcome, res.Message = outcomeOf(err), err.Error()
	}
	acts := goldenacts.Activities{Config: l.cfg, Engine: l.engine, Ledger: l.led, Logger: l.log}
	if _, logErr := acts.LogGolden(context.WithoutCancel(ctx), activities.LogGoldenInput{
		GoldenTarget: in.GoldenTarget, Run: "local " + r.ID, Action: shivx.GoldenRestore, Outcome: res.Outcome, Message: res.Message, Golden: info.ID,
		Restore: r.ID, Started: res.Started, Seconds: res.Seconds, Steps: res.Steps, Reason: in.Reason, RequestedBy: in.RequestedBy}); logErr != nil {
		l.log.Error("the end of the restore is not in the ledger", "error", logErr)
	}
	if a.json() {
		return errors.Join(a.document(res), quiet(codeOfGolden(res.Outcome)))
	}
	if err != nil {
		return err
	}
	a.out.line(green, fmt.Sprintf("restored %s with %s below %s in %s", count(int(res.Changes.Replaced), "file"), bytesText(res.Changes.Bytes), r.To, took(time.Since(began))))
	return nil
}

// outcomeOf is how a restore ends on an error, of which the exit code is known.
func outcomeOf(err error) shivx.Outcome {
	switch exitCode(err) {
	case exitTampered:
		return shivx.OutcomeDamaged
	case exitRefused:
		return shivx.OutcomeRefused
	}
	return shivx.OutcomeFailed
}

// putElsewhere does the steps of restoreTo.
func (l *localGolden) putElsewhere(ctx context.Context, r engine.Restore, res *shivx.GoldenRestoreResult) error {
	step, err := l.step(shivx.GoldenStepStage, func() (string, error) {
		c, err := l.engine.Stage(ctx, r, l.tell)
		res.Changes = engine.Summary(c)
		return fmt.Sprintf("verified and built %s with %s", count(int(res.Changes.Replaced), "file"), bytesText(res.Changes.Bytes)), err
	})
	res.Steps = append(list(res.Steps), step)
	if err != nil {
		return err
	}
	step, err = l.step(shivx.GoldenStepSwap, func() (string, error) {
		if _, err := l.engine.Swap(ctx, r); err != nil {
			_, undo := l.engine.Undo(context.WithoutCancel(ctx), r)
			return "", errors.Join(err, undo)
		}
		_, err := l.engine.Finish(ctx, r, false)
		return "put below " + r.To, err
	})
	res.Steps = append(res.Steps, step)
	return err
}
