package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// asksApproval describes the update "approve".
const asksApproval = `Approve what waits, or refuse it with "deny":true. With "for" only what begins so. {"by":"ana","for":"restart"}`

// mayApprove says what is wrong with a decision.
func (c *control) mayApprove(d Decision) error {
	switch {
	case c.waiting == "":
		return temporal.NewNonRetryableApplicationError("the run waits for no approval", "NotWaiting", nil)
	case d.By == "":
		return badInput(`say who decides: {"by":"NAME"}`)
	case !d.means(c.waiting):
		return temporal.NewNonRetryableApplicationError(fmt.Sprintf("the run does not wait for %s; it waits for %s", d.For, c.waiting), "NotWaiting", nil)
	case len(c.approval.Of) > 0 && !slices.Contains(c.approval.Of, d.By):
		return temporal.NewNonRetryableApplicationError(
			fmt.Sprintf("%s is not among those who may approve: %v", d.By, c.approval.Of), "NotAllowed", nil)
	default:
		return nil
	}
}

// means says whether a decision is on what a run waits for, and not on what it waited for before.
func (d Decision) means(waiting string) bool {
	rest, ok := strings.CutPrefix(waiting, d.For)
	return ok && (d.For == "" || rest == "" || strings.ContainsAny(rest[:1], " ,"))
}

// decide records a decision; a second one by the same person replaces the first.
func (c *control) decide(d Decision) {
	c.decisions = slices.DeleteFunc(c.decisions, func(o Decision) bool { return o.By == d.By })
	c.decisions = append(c.decisions, d)
}

// decided says whether the approval asked for is granted or refused; open is true while neither.
func (c *control) decided() (granted, open bool) {
	yes := 0
	for _, d := range c.decisions {
		if d.Deny {
			return false, false
		}
		yes++
	}
	return yes >= c.approval.Required, yes < c.approval.Required
}

// awaitApproval waits until what is approved, refused, or its time is over. note tells people what the run
// waits for. refused says in words why it was not granted.
func (c *control) awaitApproval(ctx workflow.Context, what string, a shivx.Approval, note func(workflow.Context, string)) (granted bool, refused string, err error) {
	c.waiting, c.approval, c.decisions = what, a, nil
	until := workflow.Now(ctx).Add(a.TTL.Std())
	note(ctx, fmt.Sprintf("%s waits for %s until %s", what, approvals(a.Required), until.UTC().Format("2006-01-02 15:04:05 UTC")))
	inTime, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout:      a.TTL.Std(),
		TimerOptions: workflow.TimerOptions{Summary: "approval of " + what},
	}, func() bool {
		_, open := c.decided()
		return !open
	})
	granted, _ = c.decided()
	if !inTime {
		granted = a.Grant
	}
	c.waiting = ""
	note(ctx, "")
	if !granted {
		refused = refusal(c.decisions, inTime, a)
	}
	return granted, refused, err
}

func refusal(ds []Decision, inTime bool, a shivx.Approval) string {
	for _, d := range ds {
		if d.Deny {
			return "refused by " + d.By + " " + d.Note
		}
	}
	if !inTime {
		return fmt.Sprintf("not approved within %s", a.TTL)
	}
	return "not approved"
}

// approvals counts them in words.
func approvals(n int) string {
	if n == 1 {
		return "1 approval"
	}
	return fmt.Sprintf("%d approvals", n)
}
