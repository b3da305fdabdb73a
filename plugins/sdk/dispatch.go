package sdk

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"unicode/utf8"
)

// ErrUnknown is what a Resumer answers when it cannot tell whether an effect took place.
// ShivX then treats the step as if the plugin were no Resumer.
var ErrUnknown = errors.New("cannot tell whether the effect took place")

// MaxMark is the greatest length of what Resumer.Mark answers, in bytes.
const MaxMark = 4096

// Reply is what one step answers: a Result, for mark also Mark, for done also Done.
type Reply struct {
	Result
	// Mark is the state before the effect; see [Resumer].
	Mark string
	// Done says that the effect took place; see [Resumer].
	Done bool
}

// Panic is the cause of a Fail that stands for a panic in a plugin.
type Panic struct {
	Value any
	Stack []byte
}

// Error returns the panic's value as text.
func (p *Panic) Error() string { return fmt.Sprint(p.Value) }

// Abilities lists the steps p implements, in the order of a run.
func Abilities(p Plugin) []Step {
	var steps []Step
	add := func(ok bool, s ...Step) {
		if ok {
			steps = append(steps, s...)
		}
	}
	_, isolator := p.(Isolator)
	_, checkpointer := p.(Checkpointer)
	_, validator := p.(Validator)
	_, undoer := p.(Undoer)
	_, stopper := p.(Stopper)
	_, resumer := p.(Resumer)
	_, checker := p.(OptionsChecker)
	add(isolator, StepIsolate)
	add(checkpointer, StepCheckpoint)
	add(recovers(p), StepRecover)
	add(validator, StepValidate)
	add(isolator, StepReintegrate)
	add(undoer, StepUndo)
	add(stopper, StepStop, StepStart)
	add(resumer, StepMark, StepDone)
	add(checker, StepCheck)
	return steps
}

// Describe returns what p says of itself, with Steps filled in.
func Describe(p Plugin) Description {
	d := p.Describe()
	d.Steps = Abilities(p)
	return d
}

// Dispatch does one step with the ability of p it belongs to. A step p does not implement and
// a panic are each a *Fail; the panic's stack is in the Fail's cause, a *Panic.
func Dispatch(ctx context.Context, p Plugin, step Step, req Request) (reply Reply, err error) {
	name := "plugin"
	defer func() {
		if v := recover(); v != nil {
			reply = Reply{}
			err = &Fail{
				Message: fmt.Sprintf("plugin %s panicked in step %s: %v", name, step, v),
				Hint:    "this is a fault of the plugin; tell its author, the log has the stack",
				Err:     &Panic{Value: v, Stack: debug.Stack()},
			}
		}
	}()
	name = p.Describe().Name
	if err := ctx.Err(); err != nil {
		return Reply{}, &Fail{Message: fmt.Sprintf("step %s not begun: %v", step, err), Err: err}
	}
	reply, err = call(ctx, p, name, step, req)
	if err != nil {
		return Reply{}, err
	}
	if !utf8.ValidString(reply.Mark) {
		return Reply{}, &Fail{Message: fmt.Sprintf("plugin %s: mark is not UTF-8", name), Hint: "encode binary marks, e.g. in hexadecimal"}
	}
	if len(reply.Mark) > MaxMark {
		return Reply{}, &Fail{Message: fmt.Sprintf("plugin %s: mark has %d bytes, more than %d", name, len(reply.Mark), MaxMark)}
	}
	return reply, nil
}

func call(ctx context.Context, p Plugin, name string, step Step, req Request) (Reply, error) {
	if req.Of == "" && (step == StepMark || step == StepDone) {
		req.Of = StepRecover
	}
	if do := ability(p, step); do != nil {
		result, err := do(ctx, req)
		return Reply{Result: result}, err
	}
	resumer, _ := p.(Resumer)
	checker, _ := p.(OptionsChecker)
	switch {
	case step == StepMark && resumer != nil:
		mark, err := resumer.Mark(ctx, req.Of, req)
		return Reply{Mark: mark}, err
	case step == StepDone && resumer != nil:
		done, err := resumer.Done(ctx, req.Of, req)
		return Reply{Done: done}, err
	case step == StepCheck && checker != nil:
		return Reply{Result: Result{Summary: "options are valid"}}, checker.CheckOptions(req.Options)
	}
	return Reply{}, notImplemented(p, name, step)
}

// ability returns the method of p that does step and answers a plain Result, or nil.
func ability(p Plugin, step Step) func(context.Context, Request) (Result, error) {
	switch step {
	case StepRecover:
		if recovers(p) {
			return p.Recover
		}
	case StepIsolate:
		if a, ok := p.(Isolator); ok {
			return a.Isolate
		}
	case StepReintegrate:
		if a, ok := p.(Isolator); ok {
			return a.Reintegrate
		}
	case StepStop:
		if a, ok := p.(Stopper); ok {
			return a.Stop
		}
	case StepStart:
		if a, ok := p.(Stopper); ok {
			return a.Start
		}
	case StepCheckpoint:
		if a, ok := p.(Checkpointer); ok {
			return a.Checkpoint
		}
	case StepValidate:
		if a, ok := p.(Validator); ok {
			return a.Validate
		}
	case StepUndo:
		if a, ok := p.(Undoer); ok {
			return a.Undo
		}
	default: // mark, done and check answer more than a Result
	}
	return nil
}

func notImplemented(p Plugin, name string, step Step) error {
	var can []string
	for _, s := range Abilities(p) {
		can = append(can, string(s))
	}
	return &Fail{
		Message: fmt.Sprintf("plugin %s does not implement step %q", name, step),
		Hint:    "it implements: " + strings.Join(can, ", "),
	}
}
