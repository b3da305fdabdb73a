package workflows_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// fakeMitigation is a host whose memory fills up until an action helps, in memory.
type fakeMitigation struct {
	mu  sync.Mutex
	env *testsuite.TestWorkflowEnvironment
	// policy is what the host says; changes are made to it when they are due.
	policy  activities.SubsystemPolicy
	changes map[time.Time]func(*activities.SubsystemPolicy)
	// helps is the action that helps.
	helps string
	// breachAfter is when a failure is forecast for after that.
	breachAfter time.Time
	failing     map[string]error
	// healed is how a heal ends, kept whether a snapshot can be taken.
	healed error
	heal   workflows.SelfHealResult
	kept   error
	// keeping is how a snapshot ends.
	keeping shivx.Outcome

	calls     []string
	logged    []activities.LogMitigationInput
	escalated []activities.EscalateInput
	heals     []workflows.SelfHealInput
	snapshots []shivx.SafeSnapshotInput
	// acted is when each action was taken.
	acted map[string]time.Time
	// before is called at the start of each step, alone.
	before func(label string)
}

// noon is when the runs of the tests begin; a failure is forecast for the evening.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func newFakeMitigation(actions ...string) *fakeMitigation {
	f := &fakeMitigation{
		changes: map[time.Time]func(*activities.SubsystemPolicy){}, failing: map[string]error{}, acted: map[string]time.Time{},
		heal: workflows.SelfHealResult{Outcome: shivx.OutcomeHealed, Message: "healed by restart"}, keeping: shivx.OutcomeStored,
	}
	r := risk("memory", 83, true)
	r.Low, r.BreachAt, r.High = noon.Add(5*time.Hour), noon.Add(6*time.Hour), noon.Add(7*time.Hour)
	f.policy = activities.SubsystemPolicy{
		SubsystemTarget: r.SubsystemTarget, Risk: r, Prediction: &shivx.Prediction{Series: "memory used", Alert: true, Probability: 0.83},
	}
	for _, a := range actions {
		f.policy.Actions = append(f.policy.Actions, activities.MitigationAction{
			Name: a, Plugin: "fake", Timeout: shivx.Duration(time.Minute), MeasureAfter: shivx.Duration(15 * time.Minute), CanUndo: true,
		})
	}
	return f
}

func (f *fakeMitigation) action(name string) *activities.MitigationAction {
	i := slices.IndexFunc(f.policy.Actions, func(a activities.MitigationAction) bool { return a.Name == name })
	return &f.policy.Actions[i]
}

// at makes a change some time after the run has begun.
func (f *fakeMitigation) at(after time.Duration, change func(*activities.SubsystemPolicy)) {
	f.changes[noon.Add(after)] = change
}

func noAlert(p *activities.SubsystemPolicy) { p.Risk.Alert, p.Risk.Risk = false, 5 }

func (f *fakeMitigation) call(label string) error {
	f.calls = append(f.calls, label)
	if f.before != nil {
		f.before(label)
	}
	return f.failing[label]
}

func registerStep[In, Out any](f *fakeMitigation, env *testsuite.TestWorkflowEnvironment, a activities.Activity[In, Out], do func(In) (Out, error)) {
	a.Register(env, func(_ context.Context, in In) (Out, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return do(in)
	})
}

func (f *fakeMitigation) register(env *testsuite.TestWorkflowEnvironment) {
	f.env = env
	env.SetStartTime(noon)
	env.RegisterWorkflowWithOptions(workflows.Mitigation, workflow.RegisterOptions{Name: shivx.TypeMitigation})
	registerStep(f, env, activities.InspectSubsystem, func(activities.InspectSubsystemInput) (activities.SubsystemPolicy, error) {
		for _, due := range slices.SortedFunc(maps.Keys(f.changes), time.Time.Compare) {
			if !env.Now().Before(due) {
				f.changes[due](&f.policy)
				delete(f.changes, due)
			}
		}
		p := f.policy
		p.Actions = slices.Clone(p.Actions)
		return p, f.call("InspectSubsystem")
	})
	registerStep(f, env, activities.PlanMitigation, func(in activities.MitigationInput) (activities.StepResult, error) {
		return activities.StepResult{Summary: "would " + in.Action, Changes: []string{"one"}}, f.call("PlanMitigation " + in.Action)
	})
	registerStep(f, env, activities.Mitigate, func(in activities.MitigationInput) (activities.StepResult, error) {
		f.acted[in.Action] = env.Now()
		return activities.StepResult{Summary: in.Action + " done"}, f.call("Mitigate " + in.Action)
	})
	registerStep(f, env, activities.MarkMitigation, func(in activities.MitigationInput) (activities.StepResult, error) {
		return activities.StepResult{}, f.call("MarkMitigation " + in.Action)
	})
	registerStep(f, env, activities.UndoMitigation, func(in activities.MitigationInput) (activities.StepResult, error) {
		return activities.StepResult{Summary: "undone"}, f.call("UndoMitigation " + in.Action)
	})
	registerStep(f, env, activities.MeasureMitigation, func(in activities.MitigationInput) (shivx.MitigationEffect, error) {
		e := shivx.MitigationEffect{Action: in.Action, Taken: f.acted[in.Action], Measured: env.Now(), Why: "it fills up as before"}
		if in.Action == f.helps {
			e.Helped, e.Why, e.BreachAfter = true, "the level fell by half", f.breachAfter
			noAlert(&f.policy)
		}
		return e, f.call("MeasureMitigation " + in.Action)
	})
	registerStep(f, env, activities.LogMitigation, func(in activities.LogMitigationInput) (activities.LogResult, error) {
		f.logged = append(f.logged, in)
		return activities.LogResult{Seq: 7}, f.call("LogMitigation")
	})
	registerStep(f, env, activities.Escalate, func(in activities.EscalateInput) (activities.EscalateResult, error) {
		f.escalated = append(f.escalated, in)
		return activities.EscalateResult{Told: []string{"chat"}}, f.call("Escalate")
	})
	f.registerChildren(env)
}

func (f *fakeMitigation) registerChildren(env *testsuite.TestWorkflowEnvironment) {
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context, in workflows.SelfHealInput) (workflows.SelfHealResult, error) {
		_ = workflow.Sleep(ctx, f.heal.Took.Std())
		f.mu.Lock()
		defer f.mu.Unlock()
		f.heals = append(f.heals, in)
		f.acted["restart"] = workflow.Now(ctx)
		return f.heal, f.healed
	}, workflow.RegisterOptions{Name: shivx.TypeSelfHeal})
	env.RegisterWorkflowWithOptions(func(_ workflow.Context, in shivx.SafeSnapshotInput) (shivx.SafeSnapshotResult, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.snapshots = append(f.snapshots, in)
		return shivx.SafeSnapshotResult{GoldenResult: shivx.GoldenResult{Outcome: f.keeping, Message: "stored as g1"}}, f.kept
	}, workflow.RegisterOptions{Name: shivx.TypeSafeSnapshot})
}

// childFailed is how a runbook ends that has failed with an outcome.
func childFailed(o shivx.Outcome, msg string) error {
	return temporal.NewNonRetryableApplicationError(string(o)+": "+msg, string(o), nil)
}

// mitigate runs a Mitigation; more sets up what comes meanwhile.
func mitigate(t *testing.T, f *fakeMitigation, in shivx.MitigationInput, more ...func(*testsuite.TestWorkflowEnvironment)) shivx.MitigationResult {
	t.Helper()
	out, _ := mitigateShown(t, f, in, more...)
	return out
}

func mitigateShown(t *testing.T, f *fakeMitigation, in shivx.MitigationInput, more ...func(*testsuite.TestWorkflowEnvironment)) (shivx.MitigationResult, string) {
	t.Helper()
	env := newEnv(t)
	f.register(env)
	for _, m := range more {
		m(env)
	}
	in.SubsystemTarget = shivx.SubsystemTarget{Subsystem: "memory", Host: "h1"}
	env.ExecuteWorkflow(shivx.TypeMitigation, in)
	f.mu.Lock() // a step that was told to stop may end after the run
	defer f.mu.Unlock()
	if !env.IsWorkflowCompleted() {
		t.Fatalf("the run has not ended: %v", f.calls)
	}
	return ended[shivx.MitigationResult](t, env), details(t, env)
}
