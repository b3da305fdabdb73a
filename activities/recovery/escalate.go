package recovery

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// escalateTimeout is a little less than the workflow allows.
const escalateTimeout = 45 * time.Second

// told is what the ledger keeps of an escalation beside its message.
type told struct {
	Hint   string   `json:"hint"`
	Told   []string `json:"told"`
	Failed []string `json:"failed"`
}

// Escalate tells people that automation is at its end and records it. The same message is sent
// once: a repetition finds it in the ledger. It needs no configuration of the component, so that
// it can speak for one whose host is gone.
func (a *Activities) Escalate(ctx context.Context, in activities.EscalateInput) (activities.EscalateResult, error) {
	ctx, stop := activities.Guard(ctx, escalateTimeout)
	defer stop()
	key := in.Run + "/escalation/" + in.Key
	ctx, leave, err := a.attempts.Enter(ctx, key)
	if err != nil {
		return activities.EscalateResult{}, err
	}
	defer leave()
	if before, ok := a.escalated(in, key); ok {
		return before, nil
	}
	var res activities.EscalateResult
	res.Told, res.Failed = a.Notifier.Send(ctx, in)
	if len(res.Told) == 0 && len(res.Failed) > 0 {
		if why := activities.Stopped(ctx); why != nil {
			return res, why
		}
		return res, shivx.Hint(fmt.Errorf("nobody was told: no way worked of %s", strings.Join(res.Failed, ", ")),
			"the agent's log says why; see notify in its configuration")
	}
	_, err = a.record(context.WithoutCancel(ctx), key, shivx.RecoveryRecord{
		EventType: shivx.EventEscalation, Component: in.Component, Host: in.Host, Severity: shivx.SeverityCritical,
		Run: in.Run, Outcome: in.Outcome, Message: in.Message,
		Details: told{Hint: in.Hint, Told: res.Told, Failed: res.Failed},
	})
	if err != nil && len(res.Told) > 0 {
		a.Logger.Error("people were told, but that is not in the ledger", "component", in.Component, "error", err)
		err = nil
	}
	return res, err
}

// escalated looks for an earlier run of the same escalation. When that cannot be found out,
// people are better told twice than not at all.
func (a *Activities) escalated(in activities.EscalateInput, key string) (activities.EscalateResult, bool) {
	rec, ok, err := a.Ledger.Find(key)
	var d told
	if ok {
		err = rec.Decode(&shivx.RecoveryRecord{Details: &d})
	}
	if err != nil {
		a.Logger.Error("an earlier escalation cannot be looked up", "component", in.Component, "error", err)
	}
	return activities.EscalateResult{Told: d.Told, Failed: d.Failed}, ok && err == nil
}
