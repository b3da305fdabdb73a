package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// settle ends what was begun when a run was stopped. An action that was cut off is taken back; one that has taken place
// stays, and its effect is measured at once: it may be what keeps the failure away, and what it did is on record.
func (m *mitigation) settle(ctx workflow.Context, end ending) ending {
	if m.control.stop == nil || end.outcome != shivx.OutcomeAborted && end.outcome != shivx.OutcomeFailed {
		return end
	}
	end = ending{outcome: shivx.OutcomeAborted, message: m.control.stop.message()}
	a, known := m.action(m.unsettled)
	switch {
	case !known || m.vanished != nil:
	case !m.taken:
		m.undo(ctx, a)
		end.message += "; " + a.Name + " was cut off"
	default:
		err := m.step(ctx, shivx.MitigationMeasure, a.Name, func() (activities.StepResult, error) {
			effect, err := m.compare(ctx, a.Name)
			return activities.StepResult{Summary: "measured early: " + effect.Why}, err
		})
		if err != nil {
			workflow.GetLogger(ctx).Warn("an effect was not measured", "action", a.Name, "error", reason(err))
		}
		end.message += "; " + a.Name + " was taken and stays"
	}
	return end
}

// tell tells people; it says whether somebody was told. The key is the same in every repetition.
func (m *mitigation) tell(ctx workflow.Context, end ending, key string) bool {
	run := m.runKey
	if end.outcome == shivx.OutcomeRefused { // the forecast starts it again and again: once a day is enough
		run, key = shivx.MitigationID(m.target), key+"/"+workflow.Now(ctx).UTC().Format(time.DateOnly)
	}
	return tell(ctx, activities.EscalateInput{
		Target: shivx.Target{Component: "mitigation/" + m.target.Subsystem, Host: m.target.Host},
		Run:    run, Outcome: end.outcome, Message: end.message, Hint: end.hint, Key: key,
	}, m.vanished != nil)
}

// log writes the end of the run to the operational ledger.
func (m *mitigation) log(ctx workflow.Context, end ending) {
	m.outcome, m.message = end.outcome, end.message
	m.dropWaiting()
	m.show(ctx)
	if m.in.Plan || !m.inspected || m.vanished != nil {
		return
	}
	err := m.step(ctx, shivx.MitigationLog, "", func() (activities.StepResult, error) {
		r, err := activities.LogMitigation.Execute(record(ctx, shivx.HostQueue(m.target.Host), "write the run to the operational ledger"),
			activities.LogMitigationInput{
				SubsystemTarget: m.target, Run: m.runKey, Outcome: end.outcome, Message: end.message, Prediction: m.prediction,
				Effects: m.effects, Started: m.started, Seconds: secondsSince(ctx, m.started), Steps: m.steps,
				Denied: m.denied, Reason: m.why(), RequestedBy: m.in.RequestedBy,
			})
		m.ledgerSeq = r.Seq
		return activities.StepResult{Summary: "recorded"}, err
	})
	if err != nil {
		workflow.GetLogger(ctx).Error("the end of the run is not in the ledger", "error", reason(err))
	}
}

func (m *mitigation) result(ctx workflow.Context) shivx.MitigationResult {
	return shivx.MitigationResult{
		SubsystemTarget: m.target, Outcome: m.outcome, Message: m.message, Prediction: m.prediction, Actions: m.actions, Effects: m.effects,
		Started: m.started.UTC(), Seconds: secondsSince(ctx, m.started), Steps: m.steps, LedgerSeq: m.ledgerSeq,
	}
}

// finish sets the outcome that people search for and decides how the run shows in the Temporal UI: a failure carries
// the result as its details.
func (m *mitigation) finish(ctx workflow.Context, end ending) error {
	return finish(ctx, end, m.result(ctx), shivx.OutcomeUseless)
}
