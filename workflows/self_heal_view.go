package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// States of a step.
const (
	stateWaiting = "waiting"
	stateRunning = "running"
	stateDone    = "done"
	stateSkipped = "skipped"
	stateFailed  = "failed"
)

// SelfHealStatus is the answer to the query "status".
type SelfHealStatus struct {
	shivx.Target
	Reason string                  `json:"reason"`
	Steps  []activities.StepReport `json:"steps"`
	// WaitsFor says in words what holds the run up.
	WaitsFor string `json:"waits_for,omitempty"`
	// Approval is set while a strategy waits for people.
	Approval  *shivx.Approval `json:"approval,omitempty"`
	Strategy  string          `json:"strategy,omitempty"`
	Decisions []Decision      `json:"decisions,omitempty"`
	Paused    string          `json:"paused_by,omitempty"`
	Isolated  bool            `json:"isolated"`
	Outcome   shivx.Outcome   `json:"outcome,omitempty"`
	Message   string          `json:"message,omitempty"`
}

func (h *selfHeal) status() SelfHealStatus {
	s := SelfHealStatus{
		Target: h.target, Reason: h.why(), Steps: h.steps, WaitsFor: h.waitsFor,
		Paused: h.control.paused, Isolated: h.isolated, Outcome: h.result.Outcome, Message: h.result.Message,
	}
	if h.control.waiting != "" {
		a := h.control.approval
		s.Approval, s.Strategy, s.Decisions = &a, h.control.waiting, h.control.decisions
	}
	return s
}

// why says in one line why the run was started.
func (h *selfHeal) why() string {
	switch {
	case h.in.Reason != "":
		return h.in.Reason
	case h.in.Finding != nil:
		return h.in.Finding.Reason
	case h.in.RequestedBy != "":
		return "asked for by " + h.in.RequestedBy
	default:
		return "started by hand"
	}
}

// doStep runs one step and keeps its report; it says whether the step succeeded. A stopped run
// begins no further step, and a host that has vanished ends it.
func (h *selfHeal) doStep(ctx workflow.Context, step shivx.Step, strategy string, attempt int,
	act func() (activities.StepResult, error)) bool {
	h.control.awaitResume(ctx, h.note)
	if ctx.Err() != nil || h.vanished != nil {
		return false
	}
	report := activities.StepReport{Step: step, Strategy: strategy, Attempt: attempt, State: stateRunning, Started: workflow.Now(ctx)}
	i := h.add(report)
	h.show(ctx)
	res, err := act()
	report.Took = since(ctx, report.Started)
	report.State, report.Summary, report.Changes = stateDone, res.Summary, res.Changes
	switch {
	case err != nil:
		report.State, report.Summary = stateFailed, reason(err)
		if hostVanished(err) {
			h.vanished = err
		}
		if step == shivx.StepIsolate {
			h.unisolated = report.Summary
		}
	case res.Skipped:
		report.State = stateSkipped
	}
	h.steps[i] = report
	h.show(ctx)
	return err == nil
}

// since returns the time passed since t, to the millisecond.
func since(ctx workflow.Context, t time.Time) shivx.Duration {
	return shivx.Duration(workflow.Now(ctx).Sub(t).Round(time.Millisecond))
}

// skip reports a step that has nothing to do.
func (h *selfHeal) skip(ctx workflow.Context, step shivx.Step, why string) {
	h.add(activities.StepReport{Step: step, State: stateSkipped, Summary: why, Started: workflow.Now(ctx)})
	h.show(ctx)
}

// add puts a report in the place of the waiting one of its step, or behind the last of the
// steps that have begun, and returns its index.
func (h *selfHeal) add(r activities.StepReport) int {
	for i, s := range h.steps {
		if s.Step == r.Step && s.State == stateWaiting {
			h.steps[i] = r
			return i
		}
	}
	at := len(h.steps)
	for i, s := range h.steps {
		if s.State == stateWaiting {
			at = i
			break
		}
	}
	h.steps = slices.Insert(h.steps, at, r)
	return at
}

// last returns the latest report of a step.
func (h *selfHeal) last(step shivx.Step) activities.StepReport {
	for _, s := range slices.Backward(h.steps) {
		if s.Step == step {
			return s
		}
	}
	return activities.StepReport{}
}

func (h *selfHeal) lastFailure() string {
	for _, s := range slices.Backward(h.steps) {
		if s.State == stateFailed {
			return string(s.Step) + ": " + s.Summary
		}
	}
	return "none was tried"
}

// note says what the run waits for; "" when it waits for nothing.
func (h *selfHeal) note(ctx workflow.Context, waitsFor string) {
	h.waitsFor = waitsFor
	h.show(ctx)
}

var marks = map[string]string{
	stateWaiting: "·", stateRunning: "▶", stateDone: "✔", stateSkipped: "–", stateFailed: "✘",
}

// show writes the run's story where the Temporal UI shows it.
func (h *selfHeal) show(ctx workflow.Context) {
	var b strings.Builder
	title := "Heal"
	if h.in.Plan {
		title = "Plan to heal"
	}
	fmt.Fprintf(&b, "### %s %s\n\n**Why:** %s\n\n", title, h.target, cell(h.why()))
	if h.waitsFor != "" {
		fmt.Fprintf(&b, "**Waits:** %s\n\n", cell(h.waitsFor))
	}
	if h.result.Outcome != "" {
		fmt.Fprintf(&b, "**%s** — %s\n\n", h.result.Outcome, cell(h.result.Message))
	}
	b.WriteString("| | step | strategy | what | took |\n|---|---|---|---|---|\n")
	for _, s := range h.steps {
		strategy, took := s.Strategy, ""
		if s.Attempt > 1 {
			strategy += fmt.Sprintf(" (attempt %d)", s.Attempt)
		}
		if s.Took > 0 {
			took = s.Took.String()
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", marks[s.State], s.Step, cell(strategy), cell(s.Summary), took)
	}
	workflow.SetCurrentDetails(ctx, b.String())
}

// cell makes text safe to stand in a Markdown table.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ").Replace(s)
}
