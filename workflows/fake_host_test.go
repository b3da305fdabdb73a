package workflows_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// fakeHost is a host that works, in memory: a component that is broken until a strategy that
// helps was used, in traffic or not.
type fakeHost struct {
	mu sync.Mutex
	// what the configuration says
	policy activities.Inspection
	// what makes the component fit again: the strategy's name and the attempt, 1-based
	helps   string
	attempt int
	// steps that fail, by activity name
	failing map[string]error
	// what was done, in order
	calls     []string
	healthy   bool
	isolated  bool
	logged    []activities.LogInput
	escalated []activities.EscalateInput
	// busy makes the lock unavailable
	busy string
	// before is called at the start of each activity
	before func(name string)
}

func newFakeHost(strategies ...string) *fakeHost {
	f := &fakeHost{failing: map[string]error{}, attempt: 1}
	f.policy = activities.Inspection{
		Policy: shivx.Policy{Limits: shivx.DefaultLimits()}, IsolatedBy: "network",
		IsolateTimeout: shivx.Duration(time.Second), StayIsolated: true,
		Observe:        activities.Observation{Window: shivx.Duration(time.Second), Every: shivx.Duration(time.Second)},
		DependencyWait: shivx.Duration(10 * time.Second),
	}
	for _, s := range strategies {
		f.policy.Ladder = append(f.policy.Ladder, activities.Strategy{
			Name: s, Plugin: "fake", Type: shivx.RecoverProcess, Attempts: 1, Timeout: shivx.Duration(time.Second), CanUndo: true,
		})
	}
	return f
}

func (f *fakeHost) call(name string) error {
	f.mu.Lock()
	f.calls = append(f.calls, name)
	err := f.failing[name]
	hook := f.before
	f.mu.Unlock()
	if hook != nil {
		hook(name)
	}
	return err
}

func pluginFailed(msg string) error {
	return temporal.NewNonRetryableApplicationError(msg, activities.ErrPlugin, nil)
}

func (f *fakeHost) register(env *testsuite.TestWorkflowEnvironment) {
	workflows.Register(env)
	activities.Locate.Register(env, func(_ context.Context, in activities.LocateInput) (shivx.Target, error) {
		return shivx.Target{Component: in.Component, Host: "h1"}, f.call("Locate")
	})
	activities.Acquire.Register(env, func(context.Context, activities.AcquireInput) (activities.AcquireResult, error) {
		if f.busy != "" {
			return activities.AcquireResult{}, temporal.NewNonRetryableApplicationError(f.busy, activities.ErrBusy, nil)
		}
		return activities.AcquireResult{}, f.call("Acquire")
	})
	activities.RunOpen.Register(env, func(context.Context, activities.RunRef) (bool, error) { return false, f.call("RunOpen") })
	activities.Inspect.Register(env, func(_ context.Context, in activities.InspectInput) (activities.Inspection, error) {
		err := f.call("Inspect")
		f.mu.Lock()
		defer f.mu.Unlock()
		p := f.policy
		p.Target, p.Healthy = in.Target, f.healthy
		return p, err
	})
	activities.Checkpoint.Register(env, func(context.Context, activities.CheckpointInput) (activities.CheckpointResult, error) {
		if err := f.call("Checkpoint"); err != nil {
			return activities.CheckpointResult{}, err
		}
		return activities.CheckpointResult{ID: "cp1", StepResult: activities.StepResult{Summary: "copied"}}, nil
	})
	activities.Validate.Register(env, func(context.Context, activities.ValidateInput) (activities.Validation, error) {
		err := f.call("Validate")
		f.mu.Lock()
		defer f.mu.Unlock()
		v := activities.Validation{Fit: f.healthy}
		if !f.healthy {
			v.Reasons = []string{"http: still down"}
		}
		return v, err
	})
	for name, a := range map[string]activities.Activity[activities.StepInput, activities.StepResult]{
		"Isolate": activities.Isolate, "Recover": activities.Recover, "Undo": activities.Undo, "Reintegrate": activities.Reintegrate,
	} {
		a.Register(env, func(_ context.Context, in activities.StepInput) (activities.StepResult, error) {
			return f.step(name, in)
		})
	}
	activities.Log.Register(env, func(_ context.Context, in activities.LogInput) (activities.LogResult, error) {
		f.mu.Lock()
		f.logged = append(f.logged, in)
		f.mu.Unlock()
		return activities.LogResult{Seq: 7}, f.call("Log")
	})
	activities.Escalate.Register(env, func(_ context.Context, in activities.EscalateInput) (activities.EscalateResult, error) {
		f.mu.Lock()
		f.escalated = append(f.escalated, in)
		f.mu.Unlock()
		return activities.EscalateResult{}, f.call("Escalate")
	})
}

func (f *fakeHost) step(name string, in activities.StepInput) (activities.StepResult, error) {
	label := name
	if in.Strategy != "" {
		label += " " + in.Strategy
	}
	if err := f.call(label); err != nil {
		return activities.StepResult{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if in.Plan {
		return activities.StepResult{Summary: "would " + name}, nil
	}
	switch name {
	case "Isolate":
		f.isolated = true
	case "Reintegrate":
		f.isolated = false
	case "Recover":
		f.healthy = in.Strategy == f.helps && in.Attempt == f.attempt
	case "Undo":
		f.healthy = false
	}
	return activities.StepResult{Summary: name + " done"}, nil
}

func (f *fakeHost) did(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.calls, name)
}

func (f *fakeHost) sequence() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func newEnv(t *testing.T) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	var s testsuite.WorkflowTestSuite
	s.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := s.NewTestWorkflowEnvironment()
	env.SetTestTimeout(20 * time.Second)
	return env
}
