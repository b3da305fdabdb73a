package record_test

import (
	"context"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// scriptedForecast is a host whose memory is going to be full, and whose actions do what the script says.
type scriptedForecast struct {
	mu     sync.Mutex
	policy activities.SubsystemPolicy
	// helps is the action after which the failure is not forecast any more.
	helps    string
	mitigate []string
}

func (f *scriptedForecast) alert() shivx.Risk {
	now := time.Now().UTC()
	return shivx.Risk{
		SubsystemTarget: f.policy.SubsystemTarget, Risk: 83, Color: shivx.RiskRed, Alert: true, Series: "memory used", Probability: 0.83,
		BreachAt: now.Add(6 * time.Hour), Low: now.Add(5 * time.Hour), High: now.Add(7 * time.Hour), Why: "memory is full within 6h with 83 %",
	}
}

// forecasts serves a host for one recording. The runbooks that others start are scripted, too.
func (s *studio) forecasts(f *scriptedForecast, actions ...activities.MitigationAction) shivx.SubsystemTarget {
	t := shivx.SubsystemTarget{Subsystem: "memory", Host: s.t.Name()[len("TestRecord/"):]}
	f.policy.SubsystemTarget, f.policy.Actions = t, actions
	f.policy.Risk = f.alert()
	for i := range actions {
		actions[i].Timeout, actions[i].MeasureAfter = shivx.Duration(time.Minute), shivx.Duration(300*time.Millisecond)
	}
	s.work(t.Host, func(w worker.Registry) {
		w.RegisterWorkflowWithOptions(workflows.FaultForecast, workflow.RegisterOptions{Name: shivx.TypeFaultForecast})
		w.RegisterWorkflowWithOptions(workflows.Mitigation, workflow.RegisterOptions{Name: shivx.TypeMitigation})
		w.RegisterWorkflowWithOptions(func(workflow.Context, workflows.SelfHealInput) (workflows.SelfHealResult, error) {
			return workflows.SelfHealResult{Outcome: shivx.OutcomeHealed, Message: "healed by restart"}, nil
		}, workflow.RegisterOptions{Name: shivx.TypeSelfHeal})
		w.RegisterWorkflowWithOptions(func(workflow.Context, shivx.SafeSnapshotInput) (shivx.SafeSnapshotResult, error) {
			return shivx.SafeSnapshotResult{GoldenResult: shivx.GoldenResult{Outcome: shivx.OutcomeStored, Message: "stored"}}, nil
		}, workflow.RegisterOptions{Name: shivx.TypeSafeSnapshot})
	})
	s.work(shivx.HostQueue(t.Host), f.register)
	return t
}

func (f *scriptedForecast) register(w worker.Registry) {
	activities.ForecastFaults.Register(w, func(_ context.Context, in activities.ForecastFaultsInput) (activities.ForecastFaultsResult, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return activities.ForecastFaultsResult{
			Heatmap:     shivx.Heatmap{Host: in.Host, At: time.Now().UTC(), Risks: []shivx.Risk{f.policy.Risk}},
			Predictions: []shivx.Prediction{{SubsystemTarget: f.policy.SubsystemTarget, Series: "memory used", Alert: true}}, Mitigate: f.mitigate,
		}, nil
	})
	activities.InspectSubsystem.Register(w, func(context.Context, activities.InspectSubsystemInput) (activities.SubsystemPolicy, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.policy, nil
	})
	for _, a := range []activities.Activity[activities.MitigationInput, activities.StepResult]{
		activities.PlanMitigation, activities.Mitigate, activities.MarkMitigation, activities.UndoMitigation,
	} {
		a.Register(w, func(_ context.Context, in activities.MitigationInput) (activities.StepResult, error) {
			if in.Action == "fails" && a.Name == activities.Mitigate.Name {
				return activities.StepResult{}, temporal.NewNonRetryableApplicationError("as the script says", activities.ErrPlugin, nil)
			}
			return activities.StepResult{Summary: in.Action + " done", Changes: []string{"2 GiB"}}, nil
		})
	}
	activities.MeasureMitigation.Register(w, func(_ context.Context, in activities.MitigationInput) (shivx.MitigationEffect, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if in.Action == f.helps {
			f.policy.Risk.Alert = false
			return shivx.MitigationEffect{Action: in.Action, Before: 0.8, Forecast: 0.82, After: 0.4, Helped: true, Why: "half of it is free again"}, nil
		}
		return shivx.MitigationEffect{Action: in.Action, Before: 0.8, Forecast: 0.82, After: 0.82, Why: "it fills up as before"}, nil
	})
	activities.LogMitigation.Register(w, func(context.Context, activities.LogMitigationInput) (activities.LogResult, error) {
		return activities.LogResult{Seq: 1}, nil
	})
	activities.Escalate.Register(w, func(context.Context, activities.EscalateInput) (activities.EscalateResult, error) {
		return activities.EscalateResult{Told: []string{"chat"}}, nil
	})
}

// mitigates starts a Mitigation as a person does.
func (s *studio) mitigates(t shivx.SubsystemTarget, in map[string]any) run {
	s.t.Helper()
	in["subsystem"], in["host"] = t.Subsystem, t.Host
	r, err := s.server.Client().ExecuteWorkflow(s.t.Context(),
		client.StartWorkflowOptions{ID: shivx.MitigationID(t), TaskQueue: t.Host, WorkflowTaskTimeout: shivx.TaskTimeout}, shivx.TypeMitigation, in)
	require.NoError(s.t, err)
	return run{r.GetID(), r.GetRunID()}
}

func (s *studio) awaitMitigation(r run, ok func(workflows.MitigationStatus) bool) run {
	s.t.Helper()
	stand.Await(s.t, patience, "the run "+r.id, func(ctx context.Context) bool {
		var status workflows.MitigationStatus
		return s.query(ctx, r.id, &status) && ok(status)
	})
	return r
}

func asked(m workflows.MitigationStatus) bool { return m.Approval != nil }

// faultForecast starts one mitigation and finds one that is open.
func faultForecast(s *studio) run {
	f := &scriptedForecast{helps: "free", mitigate: []string{"memory", "disk"}}
	t := s.forecasts(f, activities.MitigationAction{Name: "free", Plugin: "disk", Approval: asksOne()})
	open := s.awaitMitigation(s.mitigates(t, map[string]any{}), asked)
	r, err := s.server.Client().ExecuteWorkflow(s.t.Context(),
		client.StartWorkflowOptions{ID: shivx.FaultForecastID(t.Host), TaskQueue: t.Host, WorkflowTaskTimeout: shivx.TaskTimeout},
		shivx.TypeFaultForecast, map[string]any{"host": t.Host, "reason": "schedule"})
	require.NoError(s.t, err)
	out := s.over(run{r.GetID(), r.GetRunID()})
	s.signal(open.id, shivx.SignalAbort, workflows.Abort{By: "ana"})
	s.signal(shivx.MitigationID(shivx.SubsystemTarget{Subsystem: "disk", Host: t.Host}), shivx.SignalAbort, workflows.Abort{By: "ana"})
	return out
}

// mitigationPrevented is approved, keeps the state before, is paused, and helps.
func mitigationPrevented(s *studio) run {
	t := s.forecasts(&scriptedForecast{helps: "free"},
		activities.MitigationAction{Name: "free", Plugin: "disk", Destructive: true, Snapshot: "shop", Approval: asksOne()})
	r := s.awaitMitigation(s.mitigates(t, map[string]any{"reason": "forecast: memory fills up"}), asked)
	s.update(r.id, shivx.UpdatePause, workflows.By{By: "ben"})
	s.update(r.id, shivx.UpdateApprove, workflows.Decision{By: "ben", Note: "go ahead"})
	s.awaitMitigation(r, func(m workflows.MitigationStatus) bool { return m.WaitsFor == "paused by ben" })
	s.update(r.id, shivx.UpdateResume, workflows.By{By: "ben"})
	return s.over(r)
}

// mitigationUseless has one action that is refused, one that fails, one that does not help, and a heal that does not.
func mitigationUseless(s *studio) run {
	t := s.forecasts(&scriptedForecast{},
		activities.MitigationAction{Name: "drop", Plugin: "disk", Approval: asksOne()},
		activities.MitigationAction{Name: "fails", Plugin: "disk", CanUndo: true},
		activities.MitigationAction{Name: "free", Plugin: "disk", CanUndo: true},
		activities.MitigationAction{Name: "restart", Component: "shop", Strategy: "quick"},
		activities.MitigationAction{Name: "raise", Plugin: "cgroup", Useless: "it did not help yesterday"})
	r := s.awaitMitigation(s.mitigates(t, map[string]any{}), asked)
	s.update(r.id, shivx.UpdateApprove, workflows.Decision{By: "ben", Deny: true, Note: "not now"})
	return s.over(r)
}

func mitigationPlan(s *studio) run {
	t := s.forecasts(&scriptedForecast{}, activities.MitigationAction{Name: "free", Plugin: "disk"})
	return s.over(s.mitigates(t, map[string]any{"plan": true}))
}

func mitigationRefused(s *studio) run {
	f := &scriptedForecast{}
	f.policy.Refused = "3 mitigations within 24h"
	return s.over(s.mitigates(s.forecasts(f, activities.MitigationAction{Name: "free", Plugin: "disk"}), map[string]any{}))
}

// mitigationQuiet waits for the end of a blackout, then for a quiet time.
func mitigationQuiet(s *studio) run {
	f := &scriptedForecast{helps: "free"}
	f.policy.BlackoutUntil = time.Now().Add(1500 * time.Millisecond).UTC()
	return s.over(s.mitigates(s.forecasts(f, activities.MitigationAction{Name: "free", Plugin: "disk", QuietAt: time.Now().Add(3 * time.Second).UTC()}),
		map[string]any{}))
}

// mitigationBlackout asks people whether to act in a blackout.
func mitigationBlackout(s *studio) run {
	f := &scriptedForecast{helps: "free"}
	f.policy.BlackoutUntil = time.Now().Add(8 * time.Hour).UTC()
	r := s.mitigates(s.forecasts(f, activities.MitigationAction{Name: "free", Plugin: "disk"}), map[string]any{})
	s.awaitMitigation(r, asked)
	s.update(r.id, shivx.UpdateApprove, workflows.Decision{By: "ana", Note: "it cannot wait"})
	return s.over(r)
}

// mitigationAborted is stopped while it waits for the effect.
func mitigationAborted(s *studio) run {
	actions := []activities.MitigationAction{{Name: "free", Plugin: "disk"}}
	t := s.forecasts(&scriptedForecast{helps: "free"}, actions...)
	actions[0].MeasureAfter = shivx.Duration(time.Hour)
	r := s.mitigates(t, map[string]any{})
	s.awaitMitigation(r, func(m workflows.MitigationStatus) bool { return len(m.WaitsFor) > 0 })
	s.signal(r.id, shivx.SignalAbort, workflows.Abort{By: "ana", Reason: "wrong host"})
	return s.over(r)
}
