package workflows

import (
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// How often an entity looks whether the run that holds its lock still lives.
const lookEvery = time.Minute

// How soon an entity looks after a run that it found under way.
const lookSoon = 5 * time.Second

// How soon people are told again that could not be reached.
const tellAgain = time.Minute

// How soon a heal that could not start is tried again.
const startAgain = 500 * time.Millisecond

// How soon a checkpoint that could not be taken is tried again.
const checkpointAgain = time.Minute

// How often an entity looks whether a component left out of traffic is well again.
const probeEvery = time.Minute

// signalChecks stands for all checks of the agent.
const signalChecks = "checks"

// How many signals and sources are kept of one fault.
const (
	maxSignals = 8
	maxSources = 20
)

// How many findings an entity remembers, so that one delivered twice counts once.
const remembered = 200

// ComponentState is what an entity knows; it is the answer to the query "status".
type ComponentState struct {
	shivx.Target
	Policy      shivx.Policy `json:"policy"`
	Maintenance *Maintenance `json:"maintenance,omitempty"`
	// Holder is the run that has the lock.
	Holder *Holder `json:"holder,omitempty"`
	// Pending lists faults that wait for a cooldown, the budget or the end of maintenance, one of
	// each signal, oldest first.
	Pending []shivx.Finding `json:"pending,omitempty"`
	// NotBefore is the end of the cooldown.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Heals lists the starts of heals within the budget's window.
	Heals []time.Time `json:"heals,omitempty"`
	// InRow counts heals that followed each other within the budget's window.
	InRow int `json:"in_row"`
	// Last is how the last run ended.
	Last *LastRun `json:"last,omitempty"`
	// Isolated is true when the last run left the component out of traffic.
	Isolated bool `json:"isolated"`
	// Escalated is true from the time a run gave up until the component is in service again.
	Escalated bool `json:"escalated"`
	// Verify is true while a component in traffic that a run gave up on is to be verified, as its
	// fault has resolved.
	Verify bool `json:"verify,omitempty"`
	// OverBudget is true from the time people were told that the budget is used up until the
	// next heal starts.
	OverBudget     bool      `json:"over_budget,omitempty"`
	LastCheckpoint time.Time `json:"last_checkpoint,omitzero"`
	// NextCheckpoint is when the next one is due, where the policy asks for them.
	NextCheckpoint time.Time `json:"next_checkpoint,omitzero"`
	// Seen lists the ids of the latest findings, oldest first.
	Seen []string `json:"seen,omitempty"`
	// Suppressed counts findings that an earlier run had dealt with.
	Suppressed int `json:"suppressed,omitempty"`
}

// Holder is a run that has the lock.
type Holder struct {
	activities.RunRef
	Since   time.Time      `json:"since"`
	Reason  string         `json:"reason,omitempty"`
	Finding *shivx.Finding `json:"finding,omitempty"`
	// Sources lists findings that came while the run was under way, the latest ones.
	Sources []string `json:"sources,omitempty"`
	// Open lists the signals of the fault that have not resolved.
	Open []string `json:"open,omitempty"`
	// Later lists findings of the time of the run, of each signal the latest.
	Later []shivx.Finding `json:"later,omitempty"`
}

// LastRun is how the last run ended.
type LastRun struct {
	activities.RunRef
	Outcome shivx.Outcome `json:"outcome"`
	Message string        `json:"message"`
	Ended   time.Time     `json:"ended"`
	// Recovered is when its last recovery had been done; zero if there was none.
	Recovered time.Time `json:"recovered,omitzero"`
	// Signals lists what the run was for.
	Signals []string `json:"signals,omitempty"`
}

// Released tells an entity that a run which was started by hand has ended.
type Released struct {
	Holder   activities.RunRef `json:"holder"`
	Outcome  shivx.Outcome     `json:"outcome"`
	Isolated bool              `json:"isolated"`
	Message  string            `json:"message"`
	// Acted is true when a recovery was begun, so that the run counts for the cooldown.
	Acted     bool      `json:"acted"`
	Recovered time.Time `json:"recovered,omitzero"`
}

// Maintenance keeps automation away from a component until it ends.
type Maintenance struct {
	On     bool      `json:"on"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	// For sets Until from now on; used in requests.
	For shivx.Duration `json:"for,omitempty"`
}

// component is the running entity.
type component struct {
	ComponentState
	changes int       // grows with every change of the state, so that the main loop looks again
	lookAt  time.Time // when to look after the holder
	dueFor  string    // what the timer is for
	mutex   workflow.Mutex
	signals []signalReader
	working int // signal handlers that are under way
	// children counts the runs this entity started and waits for: at most one.
	children int
	probeAt  time.Time // when to look whether a component left out of traffic is well again
	fresh    bool      // the entity has just been started without a state
	// stopCheckpoint ends the checkpoint under way; nil if there is none.
	stopCheckpoint workflow.CancelFunc
}

type signalReader struct {
	channel workflow.ReceiveChannel
	// receive takes one signal if there is one.
	receive func(ctx workflow.Context) bool
}

func (c *component) inMaintenance(now time.Time) bool {
	m := c.Maintenance
	return m != nil && m.On && (m.Until.IsZero() || now.Before(m.Until))
}

func (c *component) healsSince(t time.Time) int {
	n := 0
	for _, h := range c.Heals {
		if h.After(t) {
			n++
		}
	}
	return n
}

// signalOf names what a finding is about. The checks of the agent speak with one voice: they
// resolve together.
func signalOf(f shivx.Finding) string {
	if f.Source == shivx.SourceAlert {
		return "alert " + f.Signal
	}
	return signalChecks
}

// put replaces the finding of the same signal, or adds f while there is room.
func put(fs []shivx.Finding, f shivx.Finding) []shivx.Finding {
	for i := range fs {
		if signalOf(fs[i]) == signalOf(f) {
			fs[i] = f
			return fs
		}
	}
	if len(fs) == maxSignals {
		return fs
	}
	return append(fs, f)
}

// without drops the findings of a signal.
func without(fs []shivx.Finding, signal string) []shivx.Finding {
	return slices.DeleteFunc(fs, func(f shivx.Finding) bool { return signalOf(f) == signal })
}

// isNew records the finding and says whether it is new.
func (c *component) isNew(f shivx.Finding) bool {
	if slices.Contains(c.Seen, f.ID) {
		return false
	}
	c.Seen = append(c.Seen, f.ID)
	if n := len(c.Seen) - remembered; n > 0 {
		c.Seen = slices.Delete(c.Seen, 0, n)
	}
	return true
}

// busy says who holds the component, or why automation keeps away from it; "" if it is free.
func (c *component) busy(now time.Time, force bool) string {
	if h := c.Holder; h != nil {
		return fmt.Sprintf("%s is held since %s by %s (%s)", c.Target, h.Since.Format(time.TimeOnly), h.WorkflowID, h.Reason)
	}
	if c.inMaintenance(now) && !force {
		until := "until it is ended"
		if !c.Maintenance.Until.IsZero() {
			until = "until " + c.Maintenance.Until.Format(time.RFC3339)
		}
		return fmt.Sprintf("%s is in maintenance by %s %s: %s", c.Target, c.Maintenance.By, until, c.Maintenance.Reason)
	}
	return ""
}

// cooldown returns how long automation keeps away after the n-th heal in a row, n ≥ 1.
func cooldown(l shivx.Limits, n int) time.Duration {
	d := l.Cooldown.Std()
	for i := 1; i < n && d < l.MaxCooldown.Std(); i++ {
		d *= 2
	}
	return min(d, max(l.MaxCooldown.Std(), l.Cooldown.Std()))
}

func selfHealOptions(t shivx.Target, in SelfHealInput) workflow.ChildWorkflowOptions {
	summary := "Heal " + t.String()
	if in.Reason != "" {
		summary += ": " + in.Reason
	}
	if len(summary) > 190 {
		summary = summary[:190] + "…"
	}
	return workflow.ChildWorkflowOptions{
		WorkflowID:            shivx.SelfHealID(t),
		WorkflowTaskTimeout:   shivx.TaskTimeout,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		// A heal under way outlives its entity: it must end what it began.
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		TypedSearchAttributes: activities.SearchAttributes(shivx.RunbookSelfHeal, t),
		StaticSummary:         summary,
		StaticDetails:         selfHealDetails,
	}
}

const selfHealDetails = "Six steps: isolate, checkpoint, recover, validate, reintegrate, log. " +
	"Signals: `abort`. Updates: `approve`, `pause`, `resume`. Query: `status`. " +
	"The story of the run is under Current Details."
