package sdktest

import (
	"context"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

var (
	goodName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	types    = []string{"process", "network", "data", "state", "database", "custom"}
	steps    = []sdk.Step{
		sdk.StepIsolate, sdk.StepCheckpoint, sdk.StepRecover, sdk.StepValidate, sdk.StepReintegrate,
		sdk.StepUndo, sdk.StepStop, sdk.StepStart, sdk.StepMark, sdk.StepDone, sdk.StepCheck,
	}
)

// description: what the plugin says of itself makes sense and stays the same.
func (b *bench) description(context.Context) error {
	d := b.runner.Describe()
	for _, step := range d.Steps {
		if !slices.Contains(steps, step) {
			return fault("", "it claims a step that does not exist: %q", step)
		}
	}
	switch {
	case !goodName.MatchString(d.Name):
		return fault("use small letters, digits and hyphens", "the name %q is not one", d.Name)
	case d.Version == "":
		return fault("", "it has no version")
	case !slices.Contains(types, d.RecoveryType):
		return fault("use one of "+strings.Join(types, ", "), "the recovery type %q is not one", d.RecoveryType)
	case strings.TrimSpace(d.Summary) == "" || len(d.Summary) > 200:
		return fault("one line of at most 200 bytes for people", "the summary has %d bytes", len(d.Summary))
	case !d.Can(sdk.StepRecover) && !d.Can(sdk.StepIsolate):
		return fault("", "it claims neither the step recover nor isolate")
	case len(slices.Compact(slices.Sorted(slices.Values(d.Steps)))) != len(d.Steps):
		return fault("", "it claims a step twice: %v", d.Steps)
	case d.Can(sdk.StepIsolate) != d.Can(sdk.StepReintegrate):
		return fault("what isolates must reintegrate", "it claims only one of isolate and reintegrate")
	case d.Can(sdk.StepMark) != d.Can(sdk.StepDone):
		return fault("", "it claims only one of mark and done")
	case !reflect.DeepEqual(d, b.runner.Describe()):
		return fault("", "it describes itself differently each time")
	}
	return nil
}

// options: good ones are taken, bad ones refused with a message that says which.
func (b *bench) options(ctx context.Context) error {
	const wrong = "no_such_option"
	if err := b.checkOptions(ctx, b.base); err != nil {
		return fault("", "it refuses the options of the suite: %v", err)
	}
	bad := []json.RawMessage{json.RawMessage(`[1]`)}
	var object map[string]any
	if json.Unmarshal(b.base, &object) == nil {
		if object == nil {
			object = map[string]any{}
		}
		object[wrong] = true
		raw, err := json.Marshal(object)
		if err != nil {
			return err
		}
		err = b.checkOptions(ctx, raw)
		if err == nil {
			return fault("read options with Request.Decode, or check the keys yourself", "it takes an option it cannot know: %q", wrong)
		}
		if !strings.Contains(err.Error(), wrong) {
			return fault("name the option in the message", "it refuses the unknown option %q without naming it: %v", wrong, err)
		}
	}
	for _, o := range b.BadOptions {
		raw, err := marshal(o)
		if err != nil {
			return fault("", "Suite.BadOptions: %v", err)
		}
		bad = append(bad, raw)
	}
	for _, raw := range bad {
		err := b.checkOptions(ctx, raw)
		if err == nil {
			return fault("implement CheckOptions and look at each value", "it takes bad options: %s", raw)
		}
		if panicked(err) {
			return fault("", "options %s make it panic: %v", raw, err)
		}
	}
	return nil
}

// checkOptions asks the plugin to check options, by a plan where it has no other way.
func (b *bench) checkOptions(ctx context.Context, options json.RawMessage) error {
	req := b.request()
	req.Options = options
	if b.can(sdk.StepCheck) {
		_, err := b.step(ctx, sdk.StepCheck, req)
		return err
	}
	req.Plan = true
	step := sdk.StepRecover
	if !b.can(step) {
		step = sdk.StepIsolate
	}
	_, err := b.step(ctx, step, req)
	return err
}

func panicked(err error) bool {
	return strings.Contains(err.Error(), "panicked in step") || strings.Contains(err.Error(), "it crashed")
}

// unknownStep: a step of a later version of ShivX is a clean failure.
func (b *bench) unknownStep(ctx context.Context) error {
	_, err := b.step(ctx, "no-such-step", b.request())
	switch {
	case err == nil:
		return fault("fail for steps you do not know", "it reports success for a step that does not exist")
	case panicked(err):
		return fault("fail for steps you do not know", "a step that does not exist makes it crash: %v", err)
	}
	return nil
}

// plan: with Request.Plan nothing is changed.
func (b *bench) plan(ctx context.Context) error {
	if b.State == nil {
		return skip("Suite.State is not set")
	}
	if b.Break != nil && b.Healthy != nil {
		if err := b.breakTarget(); err != nil {
			return err
		}
	}
	for _, step := range []sdk.Step{sdk.StepIsolate, sdk.StepCheckpoint, sdk.StepRecover, sdk.StepValidate, sdk.StepReintegrate, sdk.StepUndo, sdk.StepStop, sdk.StepStart} {
		if !b.can(step) {
			continue
		}
		req := b.request()
		req.Plan = true
		before, folders := b.State(), b.folders()
		reply, err := b.step(ctx, step, req)
		// A broken target may be unfit, and there may be nothing to take back.
		if err != nil && step != sdk.StepValidate && step != sdk.StepUndo {
			return fault("say what you would do", "the plan of step %s fails: %v", step, err)
		}
		if b.State() != before {
			return fault("look at Request.Plan before you change anything", "step %s changed the target although it was asked for a plan", step)
		}
		if b.folders() != folders {
			return fault("look at Request.Plan before you change anything", "step %s wrote files although it was asked for a plan", step)
		}
		if err == nil && reply.Summary == "" && len(reply.Changes) == 0 {
			return fault("fill Summary and Changes", "the plan of step %s says nothing", step)
		}
	}
	return nil
}
