package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// Mitigation acts before a failure that is forecast: inspect, plan, approve, wait for the right time, keep the state,
// act, and compare what comes with what was forecast without the action. An action that does not help is taken
// back where that can be done, and the next one is tried; when none helps people are told.
func Mitigation(ctx workflow.Context, in shivx.MitigationInput) (shivx.MitigationResult, error) {
	m, err := setupMitigation(ctx, in)
	if err != nil {
		return shivx.MitigationResult{}, err
	}
	return m.run(ctx)
}

func (m *mitigation) run(ctx workflow.Context) (shivx.MitigationResult, error) {
	work, stop := workflow.WithCancel(ctx)
	m.control.listenForAbort(ctx, "Stop this run. An action under way is taken back where that can be done; one that was taken stays, and "+
		`its effect is measured at once. {"by":"ana","reason":"wrong host"}`, stop, func() {})

	end := m.mitigate(work)
	if ctx.Err() != nil {
		// The goroutine that listens may not have had its turn yet.
		m.control.halt(cancelled, stop)
	}

	// From here on nothing may be lost to a cancelled context.
	after, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	end = m.settle(after, end)
	if end.escalate && !m.in.Plan && !m.tell(after, end, string(end.outcome)) {
		end.message += " (nobody could be told)"
	}
	m.log(after, end)
	return m.result(ctx), m.finish(after, end)
}

// mitigate is the runbook itself. It returns early wherever the run must not or need not go on.
func (m *mitigation) mitigate(ctx workflow.Context) ending {
	if end := m.inspect(ctx); end.over() {
		return end
	}
	if end := m.judge(); end.over() && !m.in.Plan {
		return end
	}
	if end := m.plan(ctx); end.over() {
		return end
	}
	if m.in.Plan {
		return ending{outcome: shivx.OutcomePlanned, message: "nothing was changed; " + m.planLine()}
	}
	for i := range m.actions {
		if m.actions[i].Skip != "" {
			continue
		}
		if end := m.try(ctx, m.actions[i].Name); end.over() {
			return end
		}
	}
	if err := ctx.Err(); err != nil { // the last action ended without an error when it was stopped, such as a heal
		return m.failed(err)
	}
	return m.giveUp()
}

// judge says why nothing is to be done now: nothing is forecast, or the host's limits forbid it.
func (m *mitigation) judge() ending {
	switch {
	case m.in.Force:
		return ending{}
	case m.in.Action == "" && !m.policy.Risk.Alert && m.acted:
		return ending{outcome: shivx.OutcomeUnneeded, message: "the failure is not forecast any more, though no action is known to have brought that about"}
	case m.in.Action == "" && !m.policy.Risk.Alert:
		return ending{outcome: shivx.OutcomeUnneeded, message: orNone(m.policy.Risk.Missing, "no failure is forecast")}
	case m.policy.Refused != "" && !m.acted: // what the run does itself is no reason to stop it
		return ending{outcome: shivx.OutcomeRefused, message: m.policy.Refused}
	default:
		return ending{}
	}
}

// try takes one action, from the approval to the measure of its effect. The ending is the zero value when the next one
// is to be tried.
func (m *mitigation) try(ctx workflow.Context, name string) ending {
	if end := m.awaitTime(ctx, name, false); end.over() {
		return end
	}
	a, ready, end := m.ready(ctx, name)
	if !ready {
		return end
	}
	if a.Snapshot != "" {
		if end, kept := m.snapshot(ctx, a); end.over() || !kept {
			return end
		}
		// What is kept is large at times: by now it may be another hour.
		if a, ready, end = m.ready(ctx, name); !ready {
			return end
		}
	}
	taken, end := m.act(ctx, a)
	if end.over() || !taken {
		return end
	}
	return m.judgeEffect(ctx, a)
}

// ready has an action approved and waits for its time. By then approval may be wanted that was not before, as in a
// lockdown. ready is false when the action is not to be taken; the ending says whether the run ends, too.
func (m *mitigation) ready(ctx workflow.Context, name string) (a activities.MitigationAction, ready bool, end ending) {
	for {
		if end, granted := m.approve(ctx, name); end.over() || !granted {
			return a, false, end
		}
		// What was approved by day is taken in the quiet of the night.
		if end := m.awaitTime(ctx, name, true); end.over() {
			return a, false, end
		}
		a, known := m.action(name)
		if !known {
			m.leaveOut(ctx, name, "it is not in the configuration any more")
			return a, false, ending{}
		}
		if a.Approval.Required == 0 || m.approved == name {
			return a, true, ending{}
		}
	}
}

// judgeEffect measures an action that was taken, and takes it back when it did not help.
func (m *mitigation) judgeEffect(ctx workflow.Context, a activities.MitigationAction) ending {
	effect, err := m.measure(ctx, a)
	if hostVanished(err) || temporal.IsCanceledError(err) {
		return m.failed(err)
	}
	if effect.Helped {
		m.unsettled = ""
		end := ending{outcome: shivx.OutcomePrevented, message: a.Name + " helped: " + effect.Why}
		if !effect.BreachAfter.IsZero() {
			end.message += "; a failure is still forecast, for " + when(effect.BreachAfter, time.Time{}, time.Time{})
		}
		return end
	}
	if end := m.inspect(ctx); end.over() {
		return end
	}
	if !m.wasForecast && !m.policy.Risk.Alert { // whoever asked for it had a reason of their own
		m.unsettled = ""
		why := effect.Why
		if err != nil {
			why = reason(err)
		}
		return ending{outcome: shivx.OutcomeUnneeded, message: "no failure is forecast; " + a.Name + " was taken as asked and stays: " + why}
	}
	if err != nil && !m.policy.Risk.Alert {
		m.unsettled = ""
		return ending{outcome: shivx.OutcomePrevented,
			message: "the failure is not forecast any more; what " + a.Name + " did for that could not be measured: " + reason(err)}
	}
	if end := m.undo(ctx, a); end.over() {
		return end
	}
	return m.judge()
}

// giveUp ends a run of which no action is left.
func (m *mitigation) giveUp() ending {
	t := m.target.String()
	if m.vanished != nil {
		return m.failed(m.vanished)
	}
	if m.acted {
		return ending{outcome: shivx.OutcomeUseless, escalate: true, message: "no action helped: " + m.effectLine(),
			hint: m.forecastLine() + "; act by hand, or give " + m.target.Subsystem + " another mitigation in the configuration of " + m.target.Host}
	}
	var why []string
	for _, a := range m.actions {
		why = append(why, a.Name+": "+a.Skip)
	}
	end := ending{outcome: shivx.OutcomeRefused, message: "no action may be taken: " + strings.Join(why, "; ")}
	if len(m.actions) == 0 {
		end.message = "the configuration has no mitigation for " + t
	}
	// Whoever asked is told by the end of the run. Nobody asked for what a forecast starts; but who refused it, or works
	// on the component, knows.
	if m.in.RequestedBy == "" && !m.excused {
		end.escalate, end.hint = true, m.forecastLine()+"; act by hand, or start the mitigation with \"force\":true"
	}
	return end
}

// planLine counts in words what a plan would do.
func (m *mitigation) planLine() string {
	taken := 0
	for _, a := range m.actions {
		if a.Skip == "" {
			taken++
		}
	}
	line := fmt.Sprintf("%d of %d actions may be tried, in this order, until one helps", taken, len(m.actions))
	if end := m.judge(); end.over() {
		line += "; now it would end as " + string(end.outcome) + ": " + end.message
	}
	return line
}

// forecastLine says in words what is forecast.
func (m *mitigation) forecastLine() string {
	if line := m.policy.Risk.Why; line != "" {
		return line
	}
	if at := when(m.policy.Risk.BreachAt, m.policy.Risk.Low, m.policy.Risk.High); at != "" {
		return m.target.Subsystem + " is forecast to fail at " + at
	}
	return "the risk of " + m.target.Subsystem + " is " + fmt.Sprint(m.policy.Risk.Risk)
}

// effectLine says in words what the actions did.
func (m *mitigation) effectLine() string {
	var lines []string
	for _, e := range m.effects {
		lines = append(lines, e.Action+": "+e.Why)
	}
	for _, a := range m.actions {
		if a.Skip != "" {
			lines = append(lines, a.Name+" was left out: "+a.Skip)
		}
	}
	return orNone(strings.Join(lines, "; "), "nothing could be measured")
}

// How long steps take that have no timeout of their own in the configuration, and how often a run that waits looks
// whether there is still something to wait for.
const (
	planTimeout    = time.Minute
	markTimeout    = 30 * time.Second
	measureTimeout = time.Minute
	lookAgain      = 15 * time.Minute
	// current is how old a look at the host may be when an action is taken.
	current = time.Minute
)
