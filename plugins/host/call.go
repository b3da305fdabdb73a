package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shivx/shivx/plugins/proto"
	"github.com/shivx/shivx/plugins/sdk"
)

// ErrKilled is the cause of a Fail of a step that did not heed its cancellation.
var ErrKilled = errors.New("the plugin did not heed the cancellation and was killed")

// run does one step. It says whether the process is sound, that is fit for another step. When
// ctx ends, the process is ended with it, so that nothing is under way once run has returned.
func (p *process) run(ctx context.Context, step sdk.Step, req sdk.Request) (reply sdk.Reply, sound bool, err error) {
	stream, err := p.rpc.Run(ctx, requestOf(step, req))
	if err != nil {
		return sdk.Reply{}, false, p.ended(ctx, step, err)
	}
	final, err := p.events(stream, limitProgress(req))
	if err != nil {
		return sdk.Reply{}, false, p.ended(ctx, step, err)
	}
	if failure := final.GetFailure(); failure != nil {
		return sdk.Reply{}, true, failOf(failure)
	}
	result := final.GetResult()
	if len(result.GetMark()) > sdk.MaxMark {
		return sdk.Reply{}, true, p.owner.fail(nil, fmt.Sprintf("its mark has %d bytes, more than %d", len(result.GetMark()), sdk.MaxMark), "")
	}
	return cleanReply(sdk.Reply{
		Result: sdk.Result{Summary: result.GetSummary(), Changes: result.GetChanges()},
		Mark:   result.GetMark(), Done: result.GetDone(),
	}), true, nil
}

// events reads the stream to its end and returns its one result or failure.
func (p *process) events(stream grpc.ServerStreamingClient[proto.RunEvent], progress func(string)) (*proto.RunEvent, error) {
	var final *proto.RunEvent
	for {
		event, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && final == nil:
			return nil, &garbage{"it ended the step without a result"}
		case errors.Is(err, io.EOF):
			return final, nil
		case err != nil:
			return nil, err
		}
		switch said := event.GetEvent().(type) {
		case *proto.RunEvent_Progress:
			progress(said.Progress)
		case nil:
			return nil, &garbage{"it sent an event that says nothing"}
		default:
			if final != nil {
				return nil, &garbage{"it sent two results"}
			}
			final = event
		}
	}
}

// garbage is a breach of the contract that gRPC lets pass.
type garbage struct{ message string }

func (g *garbage) Error() string { return g.message }

// ended turns the end of a stream that gave no answer into the reason for people.
func (p *process) ended(ctx context.Context, step sdk.Step, err error) error {
	if breach, ok := errors.AsType[*garbage](err); ok {
		return p.owner.fail(err, fmt.Sprintf("%s (during step %s)", breach.message, step), "this is a fault of the plugin; see docs/PLUGINS.md, wire contract")
	}
	if status.Code(err) == codes.DeadlineExceeded {
		// The plugin's clock for the same deadline may run out a moment before ours.
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	if ctx.Err() == nil {
		return p.broken(err, "step "+string(step))
	}
	cause, how := ctx.Err(), "it was asked to end and did"
	if p.end(grace) {
		cause, how = errors.Join(cause, ErrKilled), "it did not heed that and was killed"
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return p.owner.fail(cause, fmt.Sprintf("step %s did not finish in time; %s", step, how), "give the step a longer timeout, or see the log for what it waited for")
	}
	return p.owner.fail(cause, fmt.Sprintf("step %s was cancelled; %s", step, how), "")
}

func requestOf(step sdk.Step, req sdk.Request) *proto.RunRequest {
	return &proto.RunRequest{
		Step: string(step), Key: req.Key, Component: req.Component, Host: req.Host, Run: req.Run,
		Attempt: int32(req.Attempt), Reason: req.Reason, Options: req.Options, Plan: req.Plan,
		CheckpointDir: req.CheckpointDir, HealthyDir: req.HealthyDir, WorkDir: req.WorkDir,
		Mark: req.Mark, Of: string(req.Of),
	}
}

func descriptionOf(d *proto.Description) sdk.Description {
	out := sdk.Description{
		Name: d.GetName(), Version: d.GetVersion(), RecoveryType: d.GetRecoveryType(), Summary: d.GetSummary(),
		Destructive: d.GetDestructive(), Idempotent: d.GetIdempotent(),
	}
	for _, step := range d.GetSteps() {
		out.Steps = append(out.Steps, sdk.Step(step))
	}
	return cleanDescription(out)
}

// failOf turns a failure off the wire into the error an in-process plugin would have returned.
func failOf(f *proto.Failure) error {
	fail := &sdk.Fail{Message: line(f.GetMessage(), maxMessage), Hint: line(f.GetHint(), maxLine), Retryable: f.GetRetryable()}
	if fail.Message == "" {
		fail.Message = "the plugin failed without saying why"
	}
	if f.GetUnknown() {
		fail.Err = sdk.ErrUnknown
	}
	if f.GetOption() != "" {
		return &sdk.OptionError{Name: line(f.GetOption(), maxLine), Fail: fail}
	}
	return fail
}
