package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// MitigationStatus is the answer to the query "status" of a Mitigation.
type MitigationStatus struct {
	shivx.SubsystemTarget
	Plan    bool                         `json:"plan,omitempty"`
	Reason  string                       `json:"reason"`
	Risk    shivx.Risk                   `json:"risk"`
	Actions []shivx.PlannedAction        `json:"actions,omitempty"`
	Effects []shivx.MitigationEffect     `json:"effects,omitempty"`
	Steps   []shivx.MitigationStepReport `json:"steps"`
	// WaitsFor says in words what holds the run up.
	WaitsFor string `json:"waits_for,omitempty"`
	// Approval is set while the run waits for people.
	Approval  *shivx.Approval `json:"approval,omitempty"`
	Decisions []Decision      `json:"decisions,omitempty"`
	Paused    string          `json:"paused_by,omitempty"`
	Outcome   shivx.Outcome   `json:"outcome,omitempty"`
	Message   string          `json:"message,omitempty"`
}

// serve registers the query and the updates.
func (m *mitigation) serve(ctx workflow.Context) error {
	answer := func(ctx workflow.Context) MitigationStatus {
		m.show(ctx)
		return m.status()
	}
	return errors.Join(
		workflow.SetQueryHandlerWithOptions(ctx, shivx.QueryStatus, func() (MitigationStatus, error) { return m.status(), nil },
			workflow.QueryHandlerOptions{Description: "Where the run is: what is forecast, the plan, the effects so far, and what it waits for."}),
		serveApproval(ctx, &m.control, asksApproval, answer),
		servePause(ctx, &m.control, m.mayPause, answer))
}

// mayPause refuses to hold up a run that is ending.
func (m *mitigation) mayPause(by By) error {
	if m.control.stop != nil || m.outcome != "" {
		return temporal.NewNonRetryableApplicationError("the run is ending", "Ending", nil)
	}
	return named(by)
}

func (m *mitigation) status() MitigationStatus {
	s := MitigationStatus{
		SubsystemTarget: m.target, Plan: m.in.Plan, Reason: m.why(), Risk: m.policy.Risk, Actions: m.actions, Effects: m.effects, Steps: m.steps,
		WaitsFor: m.waitsFor, Paused: m.control.paused, Outcome: m.outcome, Message: m.message,
	}
	if m.control.waiting != "" {
		a := m.control.approval
		s.Approval, s.Decisions = &a, m.control.decisions
	}
	return s
}

// why says in one line why the run was started.
func (m *mitigation) why() string {
	switch {
	case m.in.Reason != "":
		return m.in.Reason
	case m.in.RequestedBy != "":
		return "asked for by " + m.in.RequestedBy
	default:
		return "started by hand"
	}
}

// step runs one step, of an action where it is about one, and keeps its report. A stopped run begins no further step.
func (m *mitigation) step(ctx workflow.Context, name shivx.MitigationStep, action string, act func() (activities.StepResult, error)) error {
	m.control.awaitResume(ctx, m.note)
	if err := ctx.Err(); err != nil {
		return err
	}
	i := m.add(shivx.MitigationStepReport{Name: name, Action: action, Outcome: shivx.StepRunning, Started: workflow.Now(ctx).UTC()})
	m.show(ctx)
	res, err := act()
	r := &m.steps[i]
	r.Seconds = secondsSince(ctx, r.Started)
	r.Outcome, r.Summary, r.Changes = shivx.StepDone, res.Summary, res.Changes
	switch {
	case err != nil:
		r.Outcome, r.Summary = shivx.StepFailed, reason(err)
		if hostVanished(err) {
			m.vanished = err
		}
		if isType(err, activities.ErrBusy) { // nothing was done
			r.Outcome = shivx.StepSkipped
		}
	case res.Skipped:
		r.Outcome = shivx.StepSkipped
	}
	m.show(ctx)
	return err
}

// add puts a report in the place of the waiting one of its step, or in that of a wait for the same that goes on, or
// behind the steps that have begun; it returns its index.
func (m *mitigation) add(r shivx.MitigationStepReport) int {
	at := len(m.steps)
	for i, s := range slices.Backward(m.steps) {
		if s.Outcome == shivx.StepWaiting {
			at = i
		}
	}
	if r.Name == shivx.MitigationWait && at > 0 {
		if last := m.steps[at-1]; last.Name == r.Name && last.Action == r.Action && last.Outcome == shivx.StepDone {
			r.Started = last.Started
			m.steps[at-1] = r
			return at - 1
		}
	}
	for i, s := range m.steps {
		if s.Name == r.Name && s.Outcome == shivx.StepWaiting {
			m.steps = slices.Delete(m.steps, i, i+1)
			break
		}
	}
	at = min(at, len(m.steps))
	m.steps = slices.Insert(m.steps, at, r)
	return at
}

// dropStep forgets a step that is not taken.
func (m *mitigation) dropStep(name shivx.MitigationStep) {
	m.steps = slices.DeleteFunc(m.steps, func(s shivx.MitigationStepReport) bool { return s.Name == name && s.Outcome == shivx.StepWaiting })
}

// dropWaiting forgets the steps that were not begun.
func (m *mitigation) dropWaiting() {
	m.steps = slices.DeleteFunc(m.steps, func(s shivx.MitigationStepReport) bool { return s.Outcome == shivx.StepWaiting })
}

// note says what the run waits for; "" when it waits for nothing.
func (m *mitigation) note(ctx workflow.Context, waitsFor string) {
	m.waitsFor = waitsFor
	m.show(ctx)
}

// show writes the run's story where the Temporal UI shows it.
func (m *mitigation) show(ctx workflow.Context) {
	var b strings.Builder
	title := activities.MitigationSummary(m.target)
	if m.in.Plan {
		title = "Plan: " + title
	}
	fmt.Fprintf(&b, "### %s\n\n**Why:** %s\n\n", title, cell(m.why()))
	if m.inspected {
		fmt.Fprintf(&b, "**Forecast:** %s %s\n\n", colors[m.policy.Risk.Color], cell(m.riskLine()))
	}
	if m.waitsFor != "" {
		fmt.Fprintf(&b, "**Waits:** %s\n\n", cell(m.waitsFor))
	}
	if m.outcome != "" {
		fmt.Fprintf(&b, "**%s** — %s\n\n", m.outcome, cell(m.message))
	}
	m.showPlan(&b)
	m.showEffects(&b)
	b.WriteString("| | step | action | what | took |\n|---|---|---|---|---|\n")
	for _, s := range m.steps {
		took := ""
		if s.Seconds > 0 {
			took = time.Duration(s.Seconds * float64(time.Second)).Round(time.Millisecond).String()
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", marks[s.Outcome], s.Name, cell(s.Action), cell(s.Summary), took)
	}
	workflow.SetCurrentDetails(ctx, b.String())
}

func (m *mitigation) showPlan(b *strings.Builder) {
	if len(m.actions) == 0 {
		return
	}
	b.WriteString("| action | by | what it would do | when | left out |\n|---|---|---|---|---|\n")
	for _, a := range m.actions {
		by, at := orNone(a.Plugin, "heal of "+a.Component), "at once"
		if !a.At.IsZero() {
			at = a.At.UTC().Format(time.DateTime) + " UTC"
		}
		what := a.Summary
		if a.Destructive {
			what += " **may lose something**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", cell(a.Name), cell(by), cell(what), at, cell(a.Skip))
	}
	b.WriteString("\n")
}

func (m *mitigation) showEffects(b *strings.Builder) {
	if len(m.effects) == 0 {
		return
	}
	b.WriteString("| action | before | forecast without it | measured | probability | helped |\n|---|---|---|---|---|---|\n")
	for _, e := range m.effects {
		helped := "no"
		if e.Helped {
			helped = "**yes**"
		}
		fmt.Fprintf(b, "| %s | %.4g | %.4g | %.4g | %.0f %% → %.0f %% | %s: %s |\n", cell(e.Action), e.Before, e.Forecast, e.After,
			100*e.ProbabilityBefore, 100*e.ProbabilityAfter, helped, cell(e.Why))
	}
	b.WriteString("\n")
}
