package workflows

import (
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// snapshot keeps the state before a risky action. An action whose state could not be kept is not taken.
func (m *mitigation) snapshot(ctx workflow.Context, a activities.MitigationAction) (end ending, kept bool) {
	t := shivx.GoldenTarget{Set: a.Snapshot, Host: m.target.Host}
	err := m.step(ctx, shivx.MitigationSnapshot, a.Name, func() (activities.StepResult, error) {
		var out shivx.SafeSnapshotResult
		err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID:            shivx.GoldenID(shivx.GoldenSnapshot, t) + "/mitigation/" + m.target.Subsystem,
			WorkflowTaskTimeout:   shivx.TaskTimeout,
			WaitForCancellation:   true,
			ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
			TypedSearchAttributes: activities.GoldenAttributes(shivx.GoldenSnapshot, t),
			StaticSummary:         activities.GoldenSummary(shivx.GoldenSnapshot, t), StaticDetails: activities.GoldenDetails(shivx.GoldenSnapshot),
		}), shivx.TypeSafeSnapshot, shivx.SafeSnapshotInput{GoldenRequest: shivx.GoldenRequest{
			GoldenTarget: t, Reason: "before the mitigation " + a.Name + " of " + m.target.String(), RequestedBy: m.in.RequestedBy,
		}}).Get(ctx, &out)
		if err == nil && out.Outcome != shivx.OutcomeStored { // one that was stopped ends without an error
			err = temporal.NewNonRetryableApplicationError(out.Message, string(out.Outcome), nil)
		}
		return activities.StepResult{Summary: out.Message}, err
	})
	switch {
	case err == nil:
		return ending{}, true
	case temporal.IsCanceledError(err):
		return m.failed(err), false
	}
	m.leaveOut(ctx, a.Name, "its state could not be kept before: "+reason(err))
	return ending{}, false
}

// act takes one action. taken is true when its effect is to be measured.
func (m *mitigation) act(ctx workflow.Context, a activities.MitigationAction) (taken bool, end ending) {
	do := m.byPlugin
	if a.Component != "" {
		do = m.byHeal
	}
	err := m.step(ctx, shivx.MitigationAct, a.Name, func() (activities.StepResult, error) { return do(ctx, a) })
	switch {
	case err == nil, isType(err, activities.ErrUnknownEffect): // what came of it is what is measured
		m.taken = true
		return true, ending{}
	case hostVanished(err), temporal.IsCanceledError(err):
		return false, m.failed(err)
	case isType(err, activities.ErrBusy):
		m.excused = true
		m.leaveOut(ctx, a.Name, reason(err))
		return false, ending{}
	}
	m.acted = true
	m.leaveOut(ctx, a.Name, "it failed: "+reason(err))
	return false, m.undo(ctx, a)
}

// byPlugin takes an action by its plugin.
func (m *mitigation) byPlugin(ctx workflow.Context, a activities.MitigationAction) (activities.StepResult, error) {
	m.begin(a)
	return activities.Mitigate.Execute(
		hostChange(ctx, m.target.Host, a.Name+": act by the plugin "+a.Plugin, a.Timeout.Std()), m.input(a.Name))
}

// begin notes that an action is under way, and for what.
func (m *mitigation) begin(a activities.MitigationAction) {
	m.acted, m.unsettled, m.taken = true, a.Name, false
	m.prediction, m.wasForecast = m.policy.Prediction, m.policy.Risk.Alert
}

// byHeal has a component healed by its own runbook, which takes the component's lock by itself. A component that is
// busy, or in maintenance, is left alone.
func (m *mitigation) byHeal(ctx workflow.Context, a activities.MitigationAction) (activities.StepResult, error) {
	_, err := activities.MarkMitigation.Execute(
		hostChange(ctx, m.target.Host, a.Name+": keep the forecast without it", markTimeout), m.input(a.Name))
	if err != nil {
		return activities.StepResult{}, err
	}
	t := shivx.Target{Component: a.Component, Host: m.target.Host}
	var out SelfHealResult
	err = workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            shivx.SelfHealID(t),
		WorkflowTaskTimeout:   shivx.TaskTimeout,
		WaitForCancellation:   true,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		TypedSearchAttributes: activities.SearchAttributes(shivx.RunbookSelfHeal, t),
		StaticSummary:         "Heal " + t.String() + " before it fails",
	}), shivx.TypeSelfHeal, SelfHealInput{
		Target: t, Strategy: a.Strategy, Reason: "mitigation of " + m.target.String() + ": " + m.why(), RequestedBy: m.in.RequestedBy,
	}).Get(ctx, &out)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return activities.StepResult{}, busy("a heal of " + t.String() + " is under way")
	}
	if err == nil && out.Outcome == shivx.OutcomeAborted {
		why := "the heal of " + t.String() + " was stopped: " + out.Message
		if out.Acted { // and took back what it could
			return activities.StepResult{}, temporal.NewNonRetryableApplicationError(why, string(out.Outcome), nil)
		}
		return activities.StepResult{}, busy(why)
	}
	if isType(err, string(shivx.OutcomeRefused)) {
		return activities.StepResult{}, busy(strings.TrimPrefix(reason(err), string(shivx.OutcomeRefused)+": "))
	}
	if err != nil {
		return activities.StepResult{}, err
	}
	m.begin(a)
	return activities.StepResult{Summary: out.Message}, nil
}

// busy is the error for an action that cannot be taken now, and did nothing.
func busy(why string) error {
	return temporal.NewNonRetryableApplicationError(why, activities.ErrBusy, nil)
}

// measure waits until the effect of an action can be seen, and compares it with the forecast without the action.
func (m *mitigation) measure(ctx workflow.Context, a activities.MitigationAction) (effect shivx.MitigationEffect, err error) {
	err = m.step(ctx, shivx.MitigationMeasure, a.Name, func() (activities.StepResult, error) {
		defer m.note(ctx, "")
		due := workflow.Now(ctx).Add(a.MeasureAfter.Std())
		what := "wait for the effect of " + a.Name
		m.note(ctx, what+" until "+due.UTC().Format("15:04:05")+" UTC")
		if err := waitUntil(ctx, due, what, func() bool { return false }); err != nil {
			return activities.StepResult{}, err
		}
		effect, err = m.compare(ctx, a.Name)
		return activities.StepResult{Summary: effect.Why}, err
	})
	return effect, err
}

// compare compares what came with what was forecast without an action.
func (m *mitigation) compare(ctx workflow.Context, action string) (shivx.MitigationEffect, error) {
	effect, err := activities.MeasureMitigation.Execute(
		hostChange(ctx, m.target.Host, "compare with the forecast without "+action, measureTimeout), m.input(action))
	if err == nil {
		m.effects = slices.DeleteFunc(m.effects, func(e shivx.MitigationEffect) bool { return e.Action == action })
		m.effects = append(m.effects, effect)
	}
	return effect, err
}

// undo takes back an action that did not help, where its plugin can, also when the run is stopped meanwhile. A failure
// is told and does not end the run, but on a host that is gone nothing more is begun.
func (m *mitigation) undo(ctx workflow.Context, a activities.MitigationAction) ending {
	m.unsettled = ""
	if !a.CanUndo || a.Component != "" || m.vanished != nil {
		return ending{}
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	err := m.step(ctx, shivx.MitigationUndo, a.Name, func() (activities.StepResult, error) {
		return activities.UndoMitigation.Execute(
			hostChange(ctx, m.target.Host, a.Name+": take it back by the plugin "+a.Plugin, a.Timeout.Std()+undoGrace), m.input(a.Name))
	})
	if err != nil {
		workflow.GetLogger(ctx).Warn("an action was not taken back", "action", a.Name, "error", reason(err))
	}
	if m.vanished != nil {
		return m.failed(m.vanished)
	}
	return ending{}
}
