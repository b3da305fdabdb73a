package sdktest

import (
	"context"
	"errors"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// recover: a broken target is healthy after it, whatever the plugin says.
func (b *bench) recover(ctx context.Context) error {
	if !b.can(sdk.StepRecover) {
		return skip("it does not claim recover")
	}
	if err := b.breakTarget(); err != nil {
		return err
	}
	reply, err := b.step(ctx, sdk.StepRecover, b.request())
	if err != nil {
		return fault(hintOf(err), "recover failed on a target that the suite broke: %v", err)
	}
	if err := b.mustBeHealthy("recover"); err != nil {
		return err
	}
	b.recovers = true
	if strings.TrimSpace(reply.Summary) == "" {
		return fault("one line for people", "recover has no summary")
	}
	return nil
}

// repeat: the same request again does no harm and, unless the plugin can say that it is done,
// nothing at all.
func (b *bench) repeat(ctx context.Context) error {
	if err := b.needsRecover(); err != nil {
		return err
	}
	req := b.request()
	if err := b.recovered(ctx, req); err != nil {
		return err
	}
	once := b.state()
	req.Attempt++
	if _, err := b.step(ctx, sdk.StepRecover, req); err != nil {
		return fault("", "recover fails when it is repeated with the same key: %v", err)
	}
	if err := b.mustBeHealthy("the repeated recover"); err != nil {
		return err
	}
	if b.runner.Describe().Can(sdk.StepDone) && !b.runner.Describe().Idempotent {
		return nil // ShivX asks Done first and does not repeat.
	}
	if b.state() != once {
		return fault("remember Request.Key in WorkDir, look whether there is anything left to do, or implement Resumer",
			"recover is doubled: repeated with the same key it changed the target again")
	}
	return nil
}

// markDone: done is false before and true after the effect, and neither touches the target.
func (b *bench) markDone(ctx context.Context) error {
	if !b.can(sdk.StepMark) {
		return skip("it does not claim mark and done")
	}
	if err := b.needsRecover(); err != nil {
		return err
	}
	if err := b.breakTarget(); err != nil {
		return err
	}
	req := b.request()
	req.Of = sdk.StepRecover
	before := b.state()
	reply, err := b.step(ctx, sdk.StepMark, req)
	if err != nil {
		return unlessUnknown("mark", err)
	}
	req.Mark = reply.Mark
	early, err := b.step(ctx, sdk.StepDone, req)
	if err != nil {
		return unlessUnknown("done", err)
	}
	switch {
	case early.Done:
		return fault("compare the target with Request.Mark", "done says that the recovery took place before it did; after a crash the step would be left out")
	case b.state() != before:
		return fault("only look", "mark or done changed the target")
	}
	if _, err := b.step(ctx, sdk.StepRecover, req); err != nil {
		return fault("", "recover failed with a mark: %v", err)
	}
	before = b.state()
	late, err := b.step(ctx, sdk.StepDone, req)
	switch {
	case err != nil:
		return fault("", "done fails after the recovery: %v", err)
	case !late.Done:
		return fault("compare the target with Request.Mark", "done says that the recovery did not take place although it did; after a crash the step would be doubled")
	case b.state() != before:
		return fault("only look", "done changed the target")
	}
	return nil
}

func unlessUnknown(step string, err error) error {
	if errors.Is(err, sdk.ErrUnknown) {
		return skip(step + " answers that it cannot tell")
	}
	return fault("answer ErrUnknown when you cannot tell", "%s fails: %v", step, err)
}

// undo: it takes back what recover did, also when it is repeated.
func (b *bench) undo(ctx context.Context) error {
	if !b.can(sdk.StepUndo) {
		return skip("it does not claim undo")
	}
	if err := b.needsRecover(); err != nil {
		return err
	}
	if err := b.breakTarget(); err != nil {
		return err
	}
	broken, req := b.state(), b.request()
	if b.can(sdk.StepMark) {
		req.Of = sdk.StepRecover
		if reply, err := b.step(ctx, sdk.StepMark, req); err == nil {
			req.Mark = reply.Mark
		}
	}
	for _, step := range []sdk.Step{sdk.StepRecover, sdk.StepUndo, sdk.StepUndo} {
		if _, err := b.step(ctx, step, req); err != nil {
			return fault("", "%s fails in recover, undo, undo: %v", step, err)
		}
	}
	if b.state() != broken {
		return fault("note in WorkDir what recover found, and put it back", "undo does not take back what recover did")
	}
	_, err := b.step(ctx, sdk.StepRecover, b.request())
	return err
}

// isolate: isolate and reintegrate are each other's opposite, also when they are repeated.
func (b *bench) isolate(ctx context.Context) error {
	if !b.can(sdk.StepIsolate) {
		return skip("it does not claim isolate")
	}
	if b.Healthy != nil && b.Healthy() != nil {
		if err := b.needsRecover(); err != nil {
			return err
		}
		if _, err := b.step(ctx, sdk.StepRecover, b.request()); err != nil {
			return err
		}
	}
	before := b.state()
	for _, half := range []struct {
		step     sdk.Step
		isolated bool
	}{{sdk.StepIsolate, true}, {sdk.StepReintegrate, false}} {
		req := b.request()
		for range 2 {
			if _, err := b.step(ctx, half.step, req); err != nil {
				return fault("", "%s fails: %v", half.step, err)
			}
		}
		if err := b.mustBeIsolated(half.step, half.isolated); err != nil {
			return err
		}
	}
	if b.state() != before {
		return fault("undo all that isolate did", "after isolate and reintegrate the target is not as it was")
	}
	if b.Healthy != nil {
		return b.mustBeHealthy("reintegrate")
	}
	return nil
}

func (b *bench) mustBeIsolated(step sdk.Step, want bool) error {
	if b.Isolated == nil {
		return nil
	}
	got, err := b.Isolated()
	if err != nil {
		return fault("", "the suite's Isolated failed: %v", err)
	}
	if got != want {
		return fault("look at the traffic before you report success", "%s reports a success that did not happen: isolated is %v", step, got)
	}
	return nil
}

// validate: a healthy target is fit for service.
func (b *bench) validate(ctx context.Context) error {
	if !b.can(sdk.StepValidate) {
		return skip("it does not claim validate")
	}
	if err := b.needsRecover(); err != nil {
		return err
	}
	if err := b.recovered(ctx, b.request()); err != nil {
		return err
	}
	before := b.state()
	if _, err := b.step(ctx, sdk.StepValidate, b.request()); err != nil {
		return fault("", "validate finds a healthy target unfit: %v", err)
	}
	if b.state() != before {
		return fault("only look", "validate changed the target")
	}
	return nil
}
