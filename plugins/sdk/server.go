package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"google.golang.org/grpc"

	"github.com/shivx/shivx/plugins/proto"
)

// server answers the wire contract with a Plugin.
type server struct {
	proto.UnimplementedRecoveryServer
	plugin Plugin
	// ending ends when the process has been asked to end.
	ending  context.Context
	running sync.WaitGroup
	// first is called at the beginning of each call.
	first func()
}

var _ proto.RecoveryServer = (*server)(nil)

func newServer(ending context.Context, p Plugin) *server {
	return &server{plugin: p, ending: ending, first: func() {}}
}

// Describe answers with what the plugin is.
func (s *server) Describe(context.Context, *proto.DescribeRequest) (*proto.Description, error) {
	s.first()
	d := Describe(s.plugin)
	out := &proto.Description{
		Name: d.Name, Version: d.Version, RecoveryType: d.RecoveryType, Summary: d.Summary,
		Destructive: d.Destructive, Idempotent: d.Idempotent,
	}
	for _, step := range d.Steps {
		out.Steps = append(out.Steps, string(step))
	}
	return out, nil
}

// Run does one step. A failed step is an event of the stream, not an error of the call.
func (s *server) Run(in *proto.RunRequest, stream grpc.ServerStreamingServer[proto.RunEvent]) error {
	s.first()
	s.running.Add(1)
	defer s.running.Done()
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()

	events := sender{stream: stream}
	defer events.close()
	req := requestOf(in).WithProgress(func(line string) {
		_ = events.send(&proto.RunEvent{Event: &proto.RunEvent_Progress{Progress: strings.ToValidUTF8(line, "\uFFFD")}})
	})
	reply, err := Dispatch(ctx, s.plugin, Step(in.GetStep()), req)
	if err != nil {
		return events.send(&proto.RunEvent{Event: &proto.RunEvent_Failure{Failure: failureOf(err)}})
	}
	return events.send(&proto.RunEvent{Event: &proto.RunEvent_Result{Result: resultOf(reply)}})
}

// sender keeps progress from several goroutines apart, and from coming after the end.
type sender struct {
	mu     sync.Mutex
	stream grpc.ServerStreamingServer[proto.RunEvent]
	closed bool
}

func (s *sender) send(e *proto.RunEvent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return s.stream.Send(e)
}

func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func requestOf(in *proto.RunRequest) Request {
	return Request{
		Key: in.GetKey(), Component: in.GetComponent(), Host: in.GetHost(), Run: in.GetRun(),
		Attempt: int(in.GetAttempt()), Reason: in.GetReason(), Options: json.RawMessage(in.GetOptions()),
		Plan: in.GetPlan(), CheckpointDir: in.GetCheckpointDir(), HealthyDir: in.GetHealthyDir(),
		WorkDir: in.GetWorkDir(), Mark: in.GetMark(), Of: Step(in.GetOf()),
	}
}

func resultOf(r Reply) *proto.Result {
	out := &proto.Result{Summary: valid(r.Summary), Mark: valid(r.Mark), Done: r.Done}
	for _, c := range r.Changes {
		out.Changes = append(out.Changes, valid(c))
	}
	return out
}

// failureOf keeps of err what crosses the wire.
func failureOf(err error) *proto.Failure {
	out := &proto.Failure{Message: valid(err.Error()), Unknown: errors.Is(err, ErrUnknown)}
	if fail, ok := errors.AsType[*Fail](err); ok {
		out.Hint, out.Retryable = valid(fail.Hint), fail.Retryable
	}
	var option interface{ Option() string }
	if errors.As(err, &option) {
		out.Option = valid(option.Option())
	}
	if crash, ok := errors.AsType[*Panic](err); ok {
		_, _ = fmt.Fprintf(os.Stderr, "%v\n%s", err, crash.Stack)
	}
	return out
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
