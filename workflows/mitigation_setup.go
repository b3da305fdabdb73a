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

// mitigation is the state of one run.
type mitigation struct {
	in      shivx.MitigationInput
	target  shivx.SubsystemTarget
	runKey  string // workflow id and run id
	started time.Time

	policy      activities.SubsystemPolicy
	inspected   bool
	looked      time.Time         // when policy was read
	prediction  *shivx.Prediction // the one that was acted upon
	actions     []shivx.PlannedAction
	effects     []shivx.MitigationEffect
	steps       []shivx.MitigationStepReport
	control     control
	acted       bool     // an action has begun: its effect may be under way
	unsettled   string   // the action that was begun and neither measured nor taken back
	taken       bool     // that one has taken place
	denied      []string // actions that a person refused
	wasForecast bool     // the failure was forecast when that one was begun
	approved    string   // the action that people approved last
	excused     bool     // an action could not be taken since somebody works on its component, or has refused it
	// quietBy is the first quiet time that was found for an action: a forecast that moves does not put it off for ever.
	quietBy map[string]time.Time
	// asked is the end of the blackout for which people were asked, and granted whether they let it be broken.
	asked   time.Time
	granted bool

	vanished  error  // set once no agent of the host answers
	waitsFor  string // what holds the run up, for people
	outcome   shivx.Outcome
	message   string
	ledgerSeq uint64
}

func setupMitigation(ctx workflow.Context, in shivx.MitigationInput) (*mitigation, error) {
	if in.Subsystem == "" {
		return nil, badInput(`the input has no subsystem; give at least {"subsystem":"NAME","host":"HOST"}`)
	}
	target, err := shivx.ParseSubsystemTarget(in.String())
	if err != nil {
		return nil, badInput(err.Error() + " — " + shivx.HintOf(err))
	}
	if target.Host == "" { // every host has a memory, and one is not as good as another
		return nil, badInput(fmt.Sprintf(`the input has no host; write {"subsystem":%q,"host":"HOST"}`, target.Subsystem))
	}
	info := workflow.GetInfo(ctx)
	m := &mitigation{
		in: in, target: target, started: workflow.Now(ctx), quietBy: map[string]time.Time{},
		runKey: info.WorkflowExecution.ID + " " + info.WorkflowExecution.RunID,
	}
	steps := []shivx.MitigationStep{shivx.MitigationInspect, shivx.MitigationPlan}
	if !in.Plan {
		steps = append(steps, shivx.MitigationAct, shivx.MitigationMeasure, shivx.MitigationLog)
	}
	for _, s := range steps {
		m.steps = append(m.steps, shivx.MitigationStepReport{Name: s, Outcome: shivx.StepWaiting})
	}
	if err := m.serve(ctx); err != nil {
		return nil, err
	}
	m.show(ctx)
	return m, workflow.UpsertTypedSearchAttributes(ctx, activities.AttrRunbook.ValueSet(shivx.RunbookMitigation),
		activities.AttrSubsystem.ValueSet(target.Subsystem), activities.AttrHost.ValueSet(target.Host))
}

// inspect reads what is predicted and what the configuration allows. What is read again later is no step of its own.
func (m *mitigation) inspect(ctx workflow.Context) ending {
	look := func() (activities.StepResult, error) {
		p, err := activities.InspectSubsystem.Execute(
			quickRead(ctx, shivx.HostQueue(m.target.Host), "read the forecast and the configuration of "+m.target.Subsystem),
			activities.InspectSubsystemInput{SubsystemTarget: m.target})
		if err == nil {
			m.policy, m.looked = p, workflow.Now(ctx)
			if !m.acted {
				m.prediction = p.Prediction
			}
		}
		return activities.StepResult{Summary: m.riskLine()}, err
	}
	var err error
	if m.inspected {
		if _, err = look(); err == nil {
			m.show(ctx)
		}
	} else {
		err = m.step(ctx, shivx.MitigationInspect, "", look)
		m.inspected = err == nil
	}
	if err != nil {
		return m.failed(err)
	}
	return ending{}
}

// riskLine is the risk of the subsystem in words.
func (m *mitigation) riskLine() string {
	r := m.policy.Risk
	if r.Missing != "" {
		return "nothing is known: " + r.Missing
	}
	line := fmt.Sprintf("risk %d (%s)", r.Risk, r.Color)
	if at := when(r.BreachAt, r.Low, r.High); at != "" {
		line += ", failure forecast for " + at
	}
	return line
}

// action is an action as the host described it last.
func (m *mitigation) action(name string) (activities.MitigationAction, bool) {
	for _, a := range m.policy.Actions {
		if a.Name == name {
			return a, true
		}
	}
	return activities.MitigationAction{}, false
}

// plan asks each action what it would do. One that cannot say so is left out.
func (m *mitigation) plan(ctx workflow.Context) ending {
	var names []string
	for _, a := range m.policy.Actions {
		names = append(names, a.Name)
		if m.in.Action == "" || m.in.Action == a.Name {
			m.actions = append(m.actions, m.planned(a))
		}
	}
	if m.in.Action != "" && len(m.actions) == 0 {
		return ending{outcome: shivx.OutcomeRefused, message: fmt.Sprintf("%s has no mitigation %q; it has: %s",
			m.target, m.in.Action, orNone(strings.Join(names, ", "), "none"))}
	}
	for i := range m.actions {
		a := &m.actions[i]
		if a.Plugin == "" || a.Skip != "" {
			continue
		}
		err := m.step(ctx, shivx.MitigationPlan, a.Name, func() (activities.StepResult, error) {
			r, err := activities.PlanMitigation.Execute(
				hostChange(ctx, m.target.Host, a.Name+": ask the plugin "+a.Plugin+" what it would do", planTimeout), m.input(a.Name))
			a.Summary, a.Changes = r.Summary, r.Changes
			return r, err
		})
		switch {
		case err == nil:
		case hostVanished(err), temporal.IsCanceledError(err):
			return m.failed(err)
		default:
			a.Skip = "it cannot say what it would do: " + reason(err)
		}
	}
	m.dropStep(shivx.MitigationPlan)
	return ending{}
}

// planned is an action before it was asked what it would do.
func (m *mitigation) planned(a activities.MitigationAction) shivx.PlannedAction {
	p := shivx.PlannedAction{Name: a.Name, Plugin: a.Plugin, Component: a.Component, Destructive: a.Destructive, At: a.QuietAt}
	if a.Component != "" {
		p.Summary = "heals " + a.Component
		if a.Strategy != "" {
			p.Summary += " from the strategy " + a.Strategy + " on"
		}
	}
	switch {
	case a.Unavailable != "":
		p.Skip = "its plugin is not available: " + a.Unavailable
	case a.Useless != "" && !m.in.Force:
		p.Skip = a.Useless
	}
	return p
}

func (m *mitigation) input(action string) activities.MitigationInput {
	return activities.MitigationInput{SubsystemTarget: m.target, Run: m.runKey, Action: action, Reason: m.why()}
}

// leaveOut says why an action is not taken.
func (m *mitigation) leaveOut(ctx workflow.Context, name, why string) {
	for i := range m.actions {
		if m.actions[i].Name == name {
			m.actions[i].Skip = why
		}
	}
	m.show(ctx)
}

// failed turns an error of a step into the end of the run.
func (m *mitigation) failed(err error) ending {
	switch {
	case hostVanished(err):
		m.vanished = err
		return ending{outcome: shivx.OutcomeUnreachable, escalate: true,
			message: "no agent of " + m.target.Host + " took the work within " + hostPatience.String(),
			hint:    "check that the host is up and its agent connected to Temporal"}
	case temporal.IsCanceledError(err):
		return ending{outcome: shivx.OutcomeAborted, message: "cancelled"}
	case isType(err, activities.ErrUnknownSubsystem):
		return ending{outcome: shivx.OutcomeRefused, message: reason(err)}
	default:
		return ending{outcome: shivx.OutcomeFailed, message: reason(err), escalate: true, hint: "see the steps of the run"}
	}
}
