package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// SelfHealInput is what a person or an entity gives to SelfHeal. Only Component is required.
type SelfHealInput struct {
	shivx.Target
	// Plan reports what would be done and changes nothing.
	Plan bool `json:"plan,omitempty"`
	// Strategy starts the ladder at this rung.
	Strategy string `json:"strategy,omitempty"`
	// VerifyOnly recovers nothing: it validates, and puts the component back into traffic.
	VerifyOnly bool `json:"verify_only,omitempty"`
	// Window replaces the configured observation window.
	Window *shivx.Duration `json:"window,omitempty"`
	// Force runs also in maintenance.
	Force bool `json:"force,omitempty"`
	// Isolated is set by the entity when an earlier run left the component out of traffic.
	Isolated bool `json:"isolated,omitempty"`
	// Reason says why, in one line.
	Reason      string         `json:"reason,omitempty"`
	RequestedBy string         `json:"requested_by,omitempty"`
	Finding     *shivx.Finding `json:"finding,omitempty"`
}

// SelfHealResult is how a run ended.
type SelfHealResult struct {
	shivx.Target
	Outcome shivx.Outcome `json:"outcome"`
	// Strategy that healed.
	Strategy string `json:"strategy,omitempty"`
	Message  string `json:"message"`
	Isolated bool   `json:"isolated,omitempty"`
	// Acted is true when a recovery was begun.
	Acted bool `json:"acted,omitempty"`
	// Recovered is when the last recovery had been done: a fault seen later is a new one.
	Recovered time.Time      `json:"recovered,omitzero"`
	Took      shivx.Duration `json:"took"`
	// Checkpoint is the copy of the state taken before the recovery.
	Checkpoint string                  `json:"checkpoint,omitempty"`
	Steps      []activities.StepReport `json:"steps"`
	// LedgerSeq is the record of this run in the operational ledger.
	LedgerSeq uint64 `json:"ledger_seq,omitempty"`
}

// SelfHeal brings one component back: isolate, checkpoint, recover, validate, reintegrate, log.
// A strategy that does not help is taken back and the next of the ladder is tried; when the
// ladder is used up, people are told.
func SelfHeal(ctx workflow.Context, in SelfHealInput) (SelfHealResult, error) {
	h, err := setupSelfHeal(ctx, in)
	if err != nil {
		return SelfHealResult{}, err
	}
	return h.run(ctx)
}

func (h *selfHeal) run(ctx workflow.Context) (SelfHealResult, error) {
	work, stop := workflow.WithCancel(ctx)
	h.listen(ctx, stop)

	end := h.heal(work)
	if ctx.Err() != nil {
		// The goroutine that listens may not have had its turn yet.
		h.control.halt(cancelled, stop)
	}

	// From here on nothing may be lost to a cancelled context.
	after, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if h.stopped() {
		end = h.compensate(after, end)
	}
	if end.escalate {
		end = h.escalate(after, end)
	}
	h.log(after, end)
	h.release(after, end)
	return h.result, h.finish(after, end)
}

// heal is the runbook itself. It returns early wherever the run must not or need not go on.
func (h *selfHeal) heal(ctx workflow.Context) ending {
	if end := h.locate(ctx); end.over() {
		return end
	}
	if end := h.acquire(ctx); end.over() {
		return end
	}
	if end := h.inspect(ctx); end.over() {
		return end
	}
	if end := h.awaitDependencies(ctx); end.over() {
		return end
	}
	if h.in.VerifyOnly {
		return h.verifyAndReturn(ctx, shivx.OutcomeHealthy)
	}

	h.isolate(ctx)
	h.checkpoint(ctx)
	for _, rung := range h.ladder() {
		if !h.goesOn() || !h.allowed(ctx, rung) {
			continue
		}
		for attempt := 1; attempt <= h.attempts(rung) && h.goesOn(); attempt++ {
			if h.try(ctx, rung, attempt) {
				return h.reintegrate(ctx, rung)
			}
		}
	}
	return h.giveUp(ctx)
}

// try runs one strategy once and says whether the component is fit again.
func (h *selfHeal) try(ctx workflow.Context, rung activities.Strategy, attempt int) bool {
	recovered := h.recover(ctx, rung, attempt)
	if h.in.Plan {
		return false // a plan shows every rung
	}
	if recovered && h.validate(ctx, rung, attempt) {
		return true
	}
	if !h.stopped() {
		h.undo(ctx, rung, attempt)
	}
	return false
}

// ending is how a run ended; the zero value means that it goes on.
type ending struct {
	outcome  shivx.Outcome
	message  string
	hint     string
	strategy activities.Strategy
	escalate bool
}

func (e ending) over() bool { return e.outcome != "" }

// Timeouts of steps that have none of their own in the configuration.
const (
	checkpointTimeout = 10 * time.Minute
	undoGrace         = 30 * time.Second
)

// How often and how soon putting a component back into traffic is tried.
const (
	putBackTries = 3
	putBackPause = time.Second
)
