package workflows

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// selfHeal is the state of one run.
type selfHeal struct {
	in      SelfHealInput
	target  shivx.Target
	runKey  string // workflow id and run id
	started time.Time

	policy     activities.Inspection
	inspected  bool
	steps      []activities.StepReport
	isolated   bool
	acted      bool // a recovery has begun: its effect may be under way
	unsettled  *rungAttempt
	recovered  time.Time // end of the last recovery
	checkpt    string
	result     SelfHealResult
	control    control
	traffic    int    // how often isolate and reintegrate were called
	unisolated string // why the component could not be taken out of traffic
	vanished   error  // set once no agent of the host answers
	waitsFor   string // what holds the run up, for people
}

// rungAttempt is a recovery that was begun and neither validated nor taken back.
type rungAttempt struct {
	rung    activities.Strategy
	attempt int
}

func setupSelfHeal(ctx workflow.Context, in SelfHealInput) (*selfHeal, error) {
	if in.Component == "" {
		return nil, badInput(`the input has no component; give at least {"component":"NAME"}`)
	}
	target := in.Target
	if in.Host == "" {
		t, err := shivx.ParseTarget(in.Component)
		if err != nil {
			return nil, badInput(err.Error())
		}
		target = t
	}
	info := workflow.GetInfo(ctx)
	h := &selfHeal{
		in: in, target: target, isolated: in.Isolated, started: workflow.Now(ctx),
		runKey: info.WorkflowExecution.ID + " " + info.WorkflowExecution.RunID,
	}
	for _, s := range shivx.Steps() {
		h.steps = append(h.steps, activities.StepReport{Step: s, State: stateWaiting})
	}
	if err := h.serve(ctx); err != nil {
		return nil, err
	}
	h.show(ctx)
	return h, nil
}

func badInput(msg string) error {
	return temporal.NewNonRetryableApplicationError(msg, "BadInput", nil)
}

// locate finds the host when the run was started without one.
func (h *selfHeal) locate(ctx workflow.Context) ending {
	if h.target.Host == "" {
		queue := workflow.GetInfo(ctx).TaskQueueName
		t, err := activities.Locate.Execute(quickRead(ctx, queue, "find the host of "+h.target.Component),
			activities.LocateInput{Component: h.target.Component})
		if err != nil {
			return h.refused(err)
		}
		h.target = t
	}
	err := workflow.UpsertTypedSearchAttributes(ctx, activities.AttrRunbook.ValueSet(shivx.RunbookSelfHeal),
		activities.AttrComponent.ValueSet(h.target.Component), activities.AttrHost.ValueSet(h.target.Host))
	if err != nil {
		return h.refused(err)
	}
	return ending{}
}

// acquire takes the component's lock. A run started by the Component entity has it already,
// and a plan needs none.
func (h *selfHeal) acquire(ctx workflow.Context) ending {
	info := workflow.GetInfo(ctx)
	if h.in.Plan {
		return ending{}
	}
	if h.ownedByEntity(ctx) {
		return ending{}
	}
	got, err := activities.Acquire.Execute(quickRead(ctx, info.TaskQueueName, "ask for the lock of "+h.target.String()),
		activities.AcquireInput{
			Target: h.target, Force: h.in.Force,
			Holder: activities.RunRef{WorkflowID: info.WorkflowExecution.ID, RunID: info.WorkflowExecution.RunID},
		})
	if err != nil {
		return h.refused(err)
	}
	h.isolated = h.isolated || got.Isolated
	return ending{}
}

// ownedByEntity says whether the component's entity started this run and so gave it the lock.
func (h *selfHeal) ownedByEntity(ctx workflow.Context) bool {
	p := workflow.GetInfo(ctx).ParentWorkflowExecution
	return p != nil && p.ID == shivx.ComponentID(h.target)
}

// inspect learns the component's policy and whether there is anything to heal.
func (h *selfHeal) inspect(ctx workflow.Context) ending {
	p, err := activities.Inspect.Execute(quickRead(ctx, shivx.HostQueue(h.target.Host), "read the policy, run the checks"),
		activities.InspectInput{Target: h.target})
	if err != nil {
		return h.failed(err)
	}
	h.policy, h.inspected = p, true
	if h.in.Window != nil {
		h.policy.ValidateTimeout += *h.in.Window - h.policy.Observe.Window
		h.policy.Observe.Window = *h.in.Window
	}
	if h.in.Strategy != "" && len(h.ladder()) == 0 {
		return ending{outcome: shivx.OutcomeRefused,
			message: fmt.Sprintf("%s has no strategy %q", h.target, h.in.Strategy), hint: h.strategyNames()}
	}
	if p.Healthy && h.foundByChecks() && h.isolated && !h.in.Plan {
		return h.verifyAndReturn(ctx, shivx.OutcomeHealthy)
	}
	if p.Healthy && h.foundByChecks() {
		return ending{outcome: shivx.OutcomeHealthy, message: "all checks pass; nothing was touched"}
	}
	return ending{}
}

// foundByChecks says whether the run was started by the agent's own sensors, so that passing
// checks mean that nothing is left to heal. What an operator or an alert asks for is done.
func (h *selfHeal) foundByChecks() bool {
	f := h.in.Finding
	if f == nil {
		return false
	}
	return f.Source == shivx.SourceHealthCheck || f.Source == shivx.SourceProcessExit || f.Source == shivx.SourceHeartbeat
}

// awaitDependencies waits, within the configured time, for unhealthy dependencies: healing a
// component whose database is down would only burn its budget.
func (h *selfHeal) awaitDependencies(ctx workflow.Context) ending {
	deadline := workflow.Now(ctx).Add(h.policy.DependencyWait.Std())
	for len(h.policy.Unhealthy) > 0 && !h.in.Plan && !h.stopped() {
		left := deadline.Sub(workflow.Now(ctx))
		if left <= 0 {
			return ending{}
		}
		h.note(ctx, fmt.Sprintf("waiting for %v, which it depends on, until %s", h.policy.Unhealthy, deadline.Format(time.TimeOnly)))
		timer := workflow.NewTimerWithOptions(ctx, min(2*time.Second, left), workflow.TimerOptions{Summary: "wait for what it depends on"})
		if err := timer.Get(ctx, nil); err != nil {
			return ending{}
		}
		if end := h.inspect(ctx); end.over() {
			return end
		}
	}
	h.note(ctx, "")
	return ending{}
}

// ladder returns the rungs to try, from the strategy asked for on.
func (h *selfHeal) ladder() []activities.Strategy {
	for i, s := range h.policy.Ladder {
		if h.in.Strategy == "" || s.Name == h.in.Strategy {
			return h.policy.Ladder[i:]
		}
	}
	return nil
}

// attempts returns how often a rung is tried; a plan shows it once.
func (h *selfHeal) attempts(rung activities.Strategy) int {
	if h.in.Plan {
		return 1
	}
	return max(1, rung.Attempts)
}

func (h *selfHeal) strategyNames() string {
	var names []string
	for _, s := range h.policy.Ladder {
		names = append(names, s.Name)
	}
	return "its strategies are: " + strings.Join(names, ", ")
}

func (h *selfHeal) refused(err error) ending {
	if temporal.IsCanceledError(err) {
		return h.failed(err)
	}
	return ending{outcome: shivx.OutcomeRefused, message: reason(err)}
}

// failed turns an error of an activity into the end of the run.
func (h *selfHeal) failed(err error) ending {
	switch {
	case hostVanished(err):
		return ending{outcome: shivx.OutcomeUnreachable, escalate: true,
			message: fmt.Sprintf("no agent of %s took the work within %s", h.target.Host, hostPatience),
			hint:    "check that the host is up and its agent connected to Temporal"}
	case temporal.IsCanceledError(err) || errors.Is(err, workflow.ErrCanceled):
		return ending{outcome: shivx.OutcomeAborted, message: "cancelled"}
	case isType(err, activities.ErrUnknownComponent):
		return ending{outcome: shivx.OutcomeRefused, message: reason(err)}
	default:
		return ending{outcome: shivx.OutcomeFailed, message: reason(err), escalate: true}
	}
}
