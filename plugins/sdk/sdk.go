// Package sdk is what authors of recovery plugins import.
//
// A plugin implements [Plugin] and any of the optional abilities below, and its main
// function calls [Serve]. ShivX starts it as a process of its own, talks to it over
// gRPC with mutual TLS, and treats whatever goes wrong in it as a failed step.
package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Plugin repairs components. Recover must be safe to call again with the same Request.Key.
// One that only isolates embeds [NoRecovery].
type Plugin interface {
	// Describe says what the plugin is. It is called once, at start.
	Describe() Description
	// Recover repairs the component. With Request.Plan it only says what it would do.
	// It returns when the repair is done; ShivX judges by itself whether it helped.
	Recover(ctx context.Context, req Request) (Result, error)
}

// NoRecovery is embedded by a plugin that isolates and cannot recover. Its description leaves
// the step recover out, so that a ladder does not take it for a strategy.
type NoRecovery struct{}

// Recover fails.
func (NoRecovery) Recover(context.Context, Request) (Result, error) {
	return Result{}, Failf("use the plugin under isolate or as a load-shedding hook", "the plugin cannot recover")
}

func (NoRecovery) cannotRecover() {}

// recovers says whether p has a Recover of use.
func recovers(p Plugin) bool {
	_, cannot := p.(interface{ cannotRecover() })
	return !cannot
}

// Isolator takes a component out of traffic and puts it back.
type Isolator interface {
	Isolate(ctx context.Context, req Request) (Result, error)
	Reintegrate(ctx context.Context, req Request) (Result, error)
}

// Stopper stops and starts the component's service, so that its files can be put back meanwhile.
// Both say how it stands when they return, and are safe to call again.
type Stopper interface {
	// Stop ends the service and returns when nothing of it runs; one that does not run is a success.
	Stop(ctx context.Context, req Request) (Result, error)
	// Start starts the service; one that runs is a success.
	Start(ctx context.Context, req Request) (Result, error)
}

// Checkpointer adds state that files do not show to a checkpoint, by writing into Request.CheckpointDir.
type Checkpointer interface {
	Checkpoint(ctx context.Context, req Request) (Result, error)
}

// Validator adds consistency checks to those in the configuration; an error means unfit for service.
type Validator interface {
	Validate(ctx context.Context, req Request) (Result, error)
}

// Undoer takes back what Recover did, when the recovery did not help.
type Undoer interface {
	Undo(ctx context.Context, req Request) (Result, error)
}

// Resumer tells after a crash whether a step's effect already took place, so that it is not doubled.
// Both methods answer [ErrUnknown] when they cannot tell.
type Resumer interface {
	// Mark returns what identifies the state before the effect of step, at most 4 KiB.
	Mark(ctx context.Context, step Step, req Request) (string, error)
	// Done says whether the effect of step took place since Request.Mark.
	Done(ctx context.Context, step Step, req Request) (bool, error)
}

// OptionsChecker checks the options of a strategy when the configuration is read.
// An error made by [BadOption] or [Request.Decode] points at the option in the file.
type OptionsChecker interface {
	CheckOptions(options json.RawMessage) error
}

// StepOptionsChecker is an [OptionsChecker] whose options may do for one step and not for another:
// a script with commands to isolate is no strategy of a ladder.
type StepOptionsChecker interface {
	OptionsChecker
	// CheckOptionsFor does what CheckOptions does, and checks that the options say what to do in
	// step: StepRecover in a ladder, StepIsolate, which includes StepReintegrate, elsewhere.
	CheckOptionsFor(step Step, options json.RawMessage) error
}

// Step names what a plugin is asked to do.
type Step string

// The steps.
const (
	StepIsolate     Step = "isolate"
	StepCheckpoint  Step = "checkpoint"
	StepRecover     Step = "recover"
	StepValidate    Step = "validate"
	StepReintegrate Step = "reintegrate"
	StepUndo        Step = "undo"
	StepMark        Step = "mark"
	StepDone        Step = "done"
	StepCheck       Step = "check"
	StepStop        Step = "stop"
	StepStart       Step = "start"
)

// Description says what a plugin is.
type Description struct {
	Name    string
	Version string
	// RecoveryType is process, network, data, state, database or custom.
	RecoveryType string
	// Summary is one line for people.
	Summary string
	// Steps is filled in by the SDK from the abilities the plugin implements.
	Steps []Step
	// Destructive says that the recovery changes data or cannot be undone.
	Destructive bool
	// Idempotent says that doing a step twice has the effect of doing it once.
	Idempotent bool
}

// Can says whether the plugin implements step.
func (d Description) Can(step Step) bool {
	return slices.Contains(d.Steps, step)
}

// Request is one step of one run.
type Request struct {
	// Key is the same for every repetition of the same step of the same run.
	Key       string
	Component string
	Host      string
	// Run is the workflow id and run id, for messages.
	Run     string
	Attempt int
	// Reason says why the run was started.
	Reason string
	// Options of the strategy, one JSON object; see [Request.Decode].
	Options json.RawMessage
	// Plan asks for what would be done; nothing may be changed.
	Plan bool
	// CheckpointDir is the checkpoint taken before the recovery: a folder in which the files lie below files/ as
	// they do on the host. In the step checkpoint it is the empty folder to write into. It is filled in for
	// recover, undo, validate, mark and done.
	CheckpointDir string
	// HealthyDir is the last checkpoint taken while the component was healthy; "" if there is none.
	HealthyDir string
	// CheckpointID and HealthyID name the same checkpoints to plugins of the agent's own process, which read
	// them where they are stored. A plugin that is a process of its own gets the folders alone.
	CheckpointID, HealthyID string
	// CheckpointErr and HealthyErr say why that id is empty although there may be such a checkpoint. A plugin that
	// needs it fails with that; all others do their work.
	CheckpointErr, HealthyErr error
	// WorkDir is where the plugin may keep files of its own between runs.
	WorkDir string
	// Mark is what Resumer.Mark answered before the effect.
	Mark string
	// Of is the step that Mark and Done are asked about; "" means recover.
	Of Step

	progress func(string)
	folder   func(ctx context.Context, id string) (string, error)
}

// Result is what a step did.
type Result struct {
	// Summary is one line for people.
	Summary string
	// Changes lists what was changed, or would be changed by a plan.
	Changes []string
}

// Decode reads the options into v, refusing unknown keys.
func (r Request) Decode(v any) error { return decodeStrict(r.Options, v) }

// Progress tells people what is going on; it also keeps a long step from being taken for a hung one.
func (r Request) Progress(format string, args ...any) {
	if r.progress != nil {
		r.progress(fmt.Sprintf(format, args...))
	}
}

// WithProgress returns r with f called by Progress; for hosts and tests.
func (r Request) WithProgress(f func(string)) Request {
	r.progress = f
	return r
}

// WithFolders returns r with f, which lays a checkpoint out as a folder when one is needed; for hosts and tests.
func (r Request) WithFolders(f func(ctx context.Context, id string) (string, error)) Request {
	r.folder = f
	return r
}

// folderShare is the part of a step's time that laying out one of the two checkpoints may take, so that both take a
// quarter at most: the plugin may not want them, and the rest is for its work.
const folderShare = 8

// Folders returns r with the folders of its checkpoints, for who passes it on to another process. That takes time
// and room, so nobody else asks for it. A checkpoint that cannot be laid out is told as progress and left out: a
// full disk must not keep the repair that frees it from running.
func (r Request) Folders(ctx context.Context) Request {
	if r.folder == nil {
		return r
	}
	var most time.Duration
	if end, ok := ctx.Deadline(); ok {
		most = time.Until(end) / folderShare
	}
	for _, c := range []struct {
		id  string
		dir *string
	}{{r.CheckpointID, &r.CheckpointDir}, {r.HealthyID, &r.HealthyDir}} {
		if c.id == "" || *c.dir != "" {
			continue
		}
		dir, err := r.layOut(ctx, c.id, most)
		if err != nil {
			r.Progress("there is no folder of checkpoint %s: %v", c.id, err)
			continue
		}
		*c.dir = dir
	}
	return r
}

// layOut lays a checkpoint out within most of the step's time; 0: as long as the step lasts.
func (r Request) layOut(ctx context.Context, id string, most time.Duration) (string, error) {
	if most == 0 {
		return r.folder(ctx, id)
	}
	bound, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	dir, err := r.folder(bound, id)
	if err != nil && bound.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("it took longer than %s, which is what may be spent of the step's timeout: %w", most.Round(time.Millisecond), err)
	}
	return dir, err
}

// Fail is an error with a hint for the operator.
type Fail struct {
	Message string
	// Hint says what a person can do about it.
	Hint string
	// Retryable says that the same step may succeed when it is tried again.
	Retryable bool
	// Err is the cause for errors.Is and errors.As; only ErrUnknown among causes crosses the wire.
	Err error
}

// Error returns the message.
func (f *Fail) Error() string { return f.Message }

// Unwrap returns the cause.
func (f *Fail) Unwrap() error { return f.Err }

// Failf returns a Fail with a hint.
func Failf(hint, format string, args ...any) error {
	return &Fail{Message: fmt.Sprintf(format, args...), Hint: hint}
}
