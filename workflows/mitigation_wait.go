package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// awaitTime waits for the end of a blackout and, with quiet, for the quiet time of an action. From time to time it
// looks whether the failure is still forecast, and for when; and at first, when the run was held up since it looked last.
func (m *mitigation) awaitTime(ctx workflow.Context, name string, quiet bool) ending {
	defer m.note(ctx, "")
	m.control.awaitResume(ctx, m.note)
	if workflow.Now(ctx).Sub(m.looked) > current {
		if end := m.lookAgain(ctx); end.over() {
			return end
		}
	}
	for {
		until, what := m.holdUntil(name, quiet, workflow.Now(ctx))
		switch {
		case until.IsZero():
			return ending{}
		case workflow.GetInfo(ctx).GetContinueAsNewSuggested(): // by then the plan is weeks old, too
			return ending{outcome: shivx.OutcomeRefused, message: "it has waited for too long; the next forecast starts it anew if it is needed"}
		}
		if err := m.hold(ctx, name, until, what); err != nil {
			return m.failed(err)
		}
		if end := m.lookAgain(ctx); end.over() {
			return end
		}
	}
}

// lookAgain looks whether there is still something to do.
func (m *mitigation) lookAgain(ctx workflow.Context) ending {
	if end := m.inspect(ctx); end.over() {
		return end
	}
	return m.judge()
}

// hold waits until then, or for some of that time, or asks people whether to wait at all.
func (m *mitigation) hold(ctx workflow.Context, name string, until time.Time, what string) error {
	now := workflow.Now(ctx)
	if m.mustAsk(now) {
		return m.step(ctx, shivx.MitigationApprove, name, func() (activities.StepResult, error) {
			decided, err := m.ask(ctx, now)
			return activities.StepResult{Summary: decided}, err
		})
	}
	return m.step(ctx, shivx.MitigationWait, name, func() (activities.StepResult, error) {
		m.note(ctx, what+" until "+until.UTC().Format(time.DateTime)+" UTC")
		due := until
		if soon := now.Add(lookAgain); soon.Before(due) {
			due = soon
		}
		return activities.StepResult{Summary: what}, waitUntil(ctx, due, what, func() bool { return false })
	})
}

// holdUntil says until when nothing is done, and why; zero: it may be done now.
func (m *mitigation) holdUntil(name string, quiet bool, now time.Time) (time.Time, string) {
	if m.in.Force {
		return time.Time{}, ""
	}
	if until := m.policy.BlackoutUntil; until.After(now) && (!m.granted || until.After(m.asked)) {
		return until, "wait for the end of the blackout"
	}
	a, ok := m.action(name)
	if !quiet || !ok || !a.QuietAt.After(now) {
		return time.Time{}, ""
	}
	at := a.QuietAt
	if by, before := m.quietBy[name]; before && by.Before(at) {
		at = by
	}
	m.quietBy[name] = at
	if !at.After(now) {
		return time.Time{}, ""
	}
	return at, "wait for a quiet time"
}

// mustAsk says whether people are to decide on a blackout: the failure is forecast for before its end.
func (m *mitigation) mustAsk(now time.Time) bool {
	until := m.policy.BlackoutUntil
	low := m.policy.Risk.Low
	if low.IsZero() {
		low = m.policy.Risk.BreachAt
	}
	return until.After(now) && until.After(m.asked) && !low.IsZero() && low.Before(until)
}

// breakBlackout begins the question whether to.
const breakBlackout = "to act in the blackout"

// ask tells people that the failure comes before the end of the blackout, and waits for their decision until then.
func (m *mitigation) ask(ctx workflow.Context, now time.Time) (decided string, err error) {
	until := m.policy.BlackoutUntil
	m.asked, m.granted = until, false
	what := breakBlackout + " that ends at " + until.UTC().Format(time.DateTime) + " UTC"
	m.tell(ctx, ending{message: m.forecastLine() + ", which is before the end of the blackout at " + until.UTC().Format(time.DateTime) + " UTC",
		hint: "to act now: shivx approve " + shivx.MitigationID(m.target) + ` --for "` + breakBlackout + `"`}, "blackout/"+until.UTC().Format(time.RFC3339))
	granted, why, err := m.control.awaitApproval(ctx, what, shivx.Approval{Required: 1, TTL: shivx.Duration(until.Sub(now))}, m.note)
	switch {
	case err != nil:
		return "", err
	case !granted:
		return "the blackout holds: " + why, nil
	}
	m.granted = true
	return "the blackout may be broken: " + approvedBy(m.control.decisions), nil
}

// approve asks people, as the action's configuration says. People are told of a question that a forecast asks.
func (m *mitigation) approve(ctx workflow.Context, name string) (end ending, granted bool) {
	a, ok := m.action(name)
	if !ok || a.Approval.Required == 0 || m.approved == name {
		return ending{}, true
	}
	err := m.step(ctx, shivx.MitigationApprove, name, func() (activities.StepResult, error) {
		what := m.describe(a)
		if m.in.RequestedBy == "" {
			m.tell(ctx, ending{message: m.forecastLine() + "; " + what + " waits for " + approvals(a.Approval.Required),
				hint: "answer with: shivx approve " + shivx.MitigationID(m.target) + " --for " + name + " [--deny]"}, "approve/"+name)
		}
		granted, why, err := m.control.awaitApproval(ctx, what, a.Approval, m.note)
		switch {
		case err != nil:
			return activities.StepResult{}, err
		case !granted:
			return activities.StepResult{}, temporal.NewNonRetryableApplicationError(why, errNotApproved, nil)
		}
		return activities.StepResult{Summary: approvedBy(m.control.decisions)}, nil
	})
	switch {
	case err == nil:
		m.approved = name
		return ending{}, true
	case isType(err, errNotApproved):
		if slices.ContainsFunc(m.control.decisions, func(d Decision) bool { return d.Deny }) {
			m.denied, m.excused = append(m.denied, name), true
		}
		m.leaveOut(ctx, name, reason(err))
		return ending{}, false
	default:
		return m.failed(err), false
	}
}

// describe says what an action does, for those who approve it.
func (m *mitigation) describe(a activities.MitigationAction) string {
	what := a.Name
	i := slices.IndexFunc(m.actions, func(p shivx.PlannedAction) bool { return p.Name == a.Name && p.Summary != "" })
	if i >= 0 {
		what += " (" + m.actions[i].Summary + ")"
	}
	if a.Destructive {
		what += ", which may lose something"
	}
	return what + " for " + m.target.String()
}
