package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// fakeStore is a host with a store, in memory: services that run or not, and files that are the old ones,
// the restored ones, or a mixture while a swap is under way.
type fakeStore struct {
	// mu is held by each step from its begin to its end, as the locks of a real host have it: a step that was
	// told to stop ends before the next one does anything.
	mu     sync.Mutex
	policy activities.SetPolicy
	// failing has the error of a step, by its label; the step fails that often, 0: always.
	failing map[string]error
	times   map[string]int
	// halfway makes a swap that fails leave a mixture.
	halfway bool
	// unfit says why the services are not healthy with the state "old" or "new".
	unfit map[string][]string
	// busy is how often the lock of a service is refused.
	busy map[string]int
	// damage is what a verification finds.
	damage []shivx.GoldenDamage
	// restaged is how many files the second comparison stages.
	restaged int64

	calls     []string
	running   map[string]bool
	files     string // old, new or mixture
	staged    bool
	logged    []activities.LogGoldenInput
	escalated []activities.EscalateInput
	released  map[string]workflows.Released
	inputs    []activities.RestoreInput
	found     []activities.FindGoldenInput
	// violations are what must never happen.
	violations []string
	// before is called by each step as it begins, alone.
	before func(label string)
}

func newFakeStore(services ...string) *fakeStore {
	f := &fakeStore{
		failing: map[string]error{}, times: map[string]int{}, unfit: map[string][]string{}, busy: map[string]int{},
		running: map[string]bool{}, files: "old", released: map[string]workflows.Released{},
	}
	f.policy = activities.SetPolicy{
		Services: services, Timeout: shivx.Duration(time.Hour),
		ServiceTimeout: shivx.Duration(time.Minute), CheckTimeout: shivx.Duration(time.Minute),
	}
	for _, s := range services {
		f.running[s] = true
	}
	return f
}

// call notes a step and returns the error that it is to fail with.
func (f *fakeStore) call(label string) error {
	f.calls = append(f.calls, label)
	err := f.failing[label]
	if n, limited := f.times[label]; limited && err != nil {
		if f.times[label] = n - 1; n <= 1 {
			delete(f.failing, label)
		}
	}
	if f.before != nil {
		f.before(label)
	}
	return err
}

func goldenFailed(msg string) error {
	return temporal.NewNonRetryableApplicationError(msg, activities.ErrGoldenFailed, nil)
}

// gone is what a run sees of a host whose agent does not take the work.
func gone() error { return temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START, nil) }

func (f *fakeStore) violated(format string, args ...any) {
	f.violations = append(f.violations, fmt.Sprintf(format, args...))
}

func (f *fakeStore) someRun() bool {
	for _, s := range f.policy.Services {
		if f.running[s] {
			return true
		}
	}
	return false
}

// alone makes an activity of one step of the host's.
func alone[In, Out any](f *fakeStore, do func(In) (Out, error)) func(context.Context, In) (Out, error) {
	return func(_ context.Context, in In) (Out, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return do(in)
	}
}

func (f *fakeStore) register(env *testsuite.TestWorkflowEnvironment) {
	workflows.Register(env)
	activities.InspectSet.Register(env, alone(f, func(in activities.InspectSetInput) (activities.SetPolicy, error) {
		p := f.policy
		p.GoldenTarget = in.GoldenTarget
		return p, f.call("InspectSet")
	}))
	activities.FindGolden.Register(env, alone(f, func(in activities.FindGoldenInput) (shivx.GoldenInfo, error) {
		f.found = append(f.found, in)
		return shivx.GoldenInfo{ID: "g1", Set: in.Set, Host: in.Host, Kind: in.Kind, Files: 3}, f.call("FindGolden")
	}))
	activities.TakeGolden.Register(env, alone(f, func(in activities.TakeGoldenInput) (activities.TakeGoldenResult, error) {
		return activities.TakeGoldenResult{Summary: "stored", Capture: shivx.GoldenCapture{Files: 3, BytesRead: 5 << 20},
			Golden: shivx.GoldenInfo{ID: "g2", Set: in.Set, Host: in.Host, Name: in.Name, Kind: in.Kind}}, f.call("TakeGolden")
	}))
	activities.PruneGoldens.Register(env, alone(f, func(_ activities.PruneGoldensInput) (activities.PruneGoldensResult, error) {
		return activities.PruneGoldensResult{Summary: "one removed", Removed: []string{"g0"}, Kept: 2}, f.call("PruneGoldens")
	}))
	activities.VerifyGolden.Register(env, alone(f, func(in activities.VerifyGoldenInput) (activities.VerifyGoldenResult, error) {
		r := activities.VerifyGoldenResult{Summary: "every byte", Goldens: 1, Files: 3, Bytes: 5 << 20, Damage: slices.Clone(f.damage)}
		for i := range r.Damage {
			if r.Damage[i].Repaired = in.Repair; in.Repair {
				r.Repaired++
			} else {
				r.Damaged++
			}
		}
		return r, f.call("VerifyGolden")
	}))
	f.registerFiles(env)
	f.registerServices(env)
	activities.LogGolden.Register(env, alone(f, func(in activities.LogGoldenInput) (activities.LogResult, error) {
		f.logged = append(f.logged, in)
		return activities.LogResult{Seq: 9}, f.call("LogGolden")
	}))
	activities.Escalate.Register(env, alone(f, func(in activities.EscalateInput) (activities.EscalateResult, error) {
		f.escalated = append(f.escalated, in)
		return activities.EscalateResult{Told: []string{"chat"}}, f.call("Escalate")
	}))
}

func (f *fakeStore) registerFiles(env *testsuite.TestWorkflowEnvironment) {
	for _, a := range []activities.Activity[activities.RestoreInput, activities.RestoreStep]{
		activities.StageRestore, activities.ValidateRestore, activities.SwapRestore, activities.LoadRestore,
		activities.UndoRestore, activities.FinishRestore, activities.DiscardRestore,
	} {
		a.Register(env, alone(f, func(in activities.RestoreInput) (activities.RestoreStep, error) {
			return f.file(a.Name, in)
		}))
	}
}

// file is one step of a restore's files.
func (f *fakeStore) file(name string, in activities.RestoreInput) (activities.RestoreStep, error) {
	err := f.call(name)
	f.inputs = append(f.inputs, in)
	if name == "SwapRestore" || name == "UndoRestore" {
		if f.someRun() && !errors.Is(err, errGone) {
			f.violated("%s while a service runs: %v", name, f.running)
		}
	}
	if err != nil {
		if name == "SwapRestore" && f.halfway {
			f.files = "mixture"
		}
		return activities.RestoreStep{}, err
	}
	res := activities.RestoreStep{Summary: name + " done"}
	switch name {
	case "StageRestore":
		if in.Plan {
			res.Changes = &shivx.GoldenChanges{Changed: 2, Paths: []string{"~ /etc/a"}}
			return res, nil
		}
		if f.staged {
			res.Files = f.restaged
		}
		f.staged = true
	case "SwapRestore":
		f.files = "new"
		res.Changes = &shivx.GoldenChanges{Changed: 2, Added: 1}
	case "UndoRestore":
		f.files = "old"
	case "FinishRestore", "DiscardRestore":
		f.staged = false
	}
	return res, nil
}

// errGone marks nothing that a host did: it was not reached.
var errGone = gone()

func (f *fakeStore) registerServices(env *testsuite.TestWorkflowEnvironment) {
	activities.Acquire.Register(env, alone(f, func(in activities.AcquireInput) (activities.AcquireResult, error) {
		err := f.call("Acquire " + in.Component)
		if f.busy[in.Component] > 0 {
			f.busy[in.Component]--
			return activities.AcquireResult{}, temporal.NewNonRetryableApplicationError(in.Component+" is being healed", activities.ErrBusy, nil)
		}
		return activities.AcquireResult{}, err
	}))
	activities.StopService.Register(env, alone(f, func(in activities.ServiceInput) (activities.RestoreStep, error) {
		err := f.call("StopService " + in.Service)
		if err == nil {
			f.running[in.Service] = false
		}
		return activities.RestoreStep{Summary: "stopped"}, err
	}))
	activities.StartService.Register(env, alone(f, func(in activities.ServiceInput) (activities.RestoreStep, error) {
		err := f.call("StartService " + in.Service)
		if f.files == "mixture" {
			f.violated("%s was started on a mixture", in.Service)
		}
		if err == nil {
			f.running[in.Service] = true
		}
		return activities.RestoreStep{Summary: "started"}, err
	}))
	activities.CheckServices.Register(env, alone(f, func(in activities.CheckServicesInput) (activities.CheckServicesResult, error) {
		err := f.call("CheckServices")
		reasons := slices.Clone(f.unfit[f.files])
		for _, s := range in.Services {
			if !f.running[s] {
				reasons = append(reasons, s+": does not run")
			}
		}
		return activities.CheckServicesResult{Summary: "watched", Fit: len(reasons) == 0, Reasons: reasons}, err
	}))
	env.OnSignalExternalWorkflow(mock.Anything, mock.Anything, mock.Anything, shivx.SignalReleased, mock.Anything).Return(
		func(_, id, _, _ string, arg any) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.released[strings.TrimPrefix(id, "component/")] = arg.(workflows.Released)
			return nil
		}).Maybe()
}

func (f *fakeStore) did(label string) bool { return f.count(label) > 0 }

func (f *fakeStore) count(label string) int {
	n := 0
	for _, c := range f.calls {
		if c == label {
			n++
		}
	}
	return n
}

// inOrder requires that nothing is left half done: the files are of one state, every service runs that is
// not named, nothing lies about, and every lock was handed back.
func (f *fakeStore) inOrder(t *testing.T, files string, stopped ...string) {
	t.Helper()
	require.Empty(t, f.violations)
	require.Equal(t, files, f.files)
	for _, s := range f.policy.Services {
		require.Equal(t, !slices.Contains(stopped, s), f.running[s], "%s runs; calls: %v", s, f.calls)
		if f.did("Acquire "+s) && f.did("StopService "+s) {
			require.Contains(t, f.released, s+"@h1")
		}
	}
	require.False(t, f.staged, "what was staged was left: %v", f.calls)
}

// play runs a golden runbook; more sets up what comes meanwhile. A result in the details of a failure counts.
func play[Out any](t *testing.T, f *fakeStore, name string, in any, more ...func(*testsuite.TestWorkflowEnvironment)) Out {
	t.Helper()
	env := newEnv(t)
	f.register(env)
	for _, m := range more {
		m(env)
	}
	env.ExecuteWorkflow(name, in)
	f.mu.Lock() // a step that was told to stop may end after the run
	defer f.mu.Unlock()
	require.True(t, env.IsWorkflowCompleted())
	return ended[Out](t, env)
}

// ended is the result of a run, also of one that has failed with its result as the details of the error.
func ended[Out any](t *testing.T, env *testsuite.TestWorkflowEnvironment) Out {
	t.Helper()
	var out Out
	err := env.GetWorkflowError()
	var app *temporal.ApplicationError
	if errors.As(err, &app) && app.HasDetails() {
		require.NoError(t, app.Details(&out))
		return out
	}
	require.NoError(t, err)
	require.NoError(t, env.GetWorkflowResult(&out))
	return out
}

// asks is the least that a golden runbook is given.
func asks() shivx.GoldenRequest {
	return shivx.GoldenRequest{GoldenTarget: shivx.GoldenTarget{Set: "shop", Host: "h1"}}
}
