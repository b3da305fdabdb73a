package main

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/workflows"
)

// lookMitigation reads what a mitigation was started with and how it ended or stands. It asks Temporal alone, but for a
// run under way, which an agent answers for.
func (f *fleet) lookMitigation(ctx context.Context, info *workflowpb.WorkflowExecutionInfo) (runView, workflows.MitigationStatus) {
	v := runOf(info)
	if in, err := inputOf[shivx.MitigationInput](ctx, f, v.RunRef); err == nil {
		v.Reason = why(workflows.SelfHealInput{Reason: in.Reason, RequestedBy: in.RequestedBy})
	}
	if info.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		v.Outcome, v.Took = outcomeRunning, took(time.Since(v.Started))
		status, err := query[workflows.MitigationStatus](ctx, f, v.WorkflowID, v.RunID, shivx.QueryStatus)
		v.WaitsFor = status.WaitsFor
		if err != nil {
			v.WaitsFor = "an agent, none of which answers"
		}
		return v, status
	}
	var res shivx.MitigationResult
	f.settle(ctx, &v, info, &res, func() (shivx.Outcome, string) { return res.Outcome, res.Message })
	return v, workflows.MitigationStatus{SubsystemTarget: res.SubsystemTarget, Actions: res.Actions, Effects: res.Effects, Steps: res.Steps}
}

// mitigationRunStory is the JSON document of one mitigation.
type mitigationRunStory struct {
	runView
	Risk      *shivx.Risk                  `json:"risk,omitempty"`
	Actions   []shivx.PlannedAction        `json:"actions,omitempty"`
	Effects   []shivx.MitigationEffect     `json:"effects,omitempty"`
	Steps     []shivx.MitigationStepReport `json:"steps"`
	Approval  *shivx.Approval              `json:"approval,omitempty"`
	Decisions []workflows.Decision         `json:"decisions,omitempty"`
}

// mitigationStory tells of a mitigation.
func (a *app) mitigationStory(v runView, st workflows.MitigationStatus) error {
	if a.json() {
		story := mitigationRunStory{v, nil, st.Actions, st.Effects, st.Steps, st.Approval, st.Decisions}
		if st.Risk.Color != "" || st.Risk.Missing != "" {
			story.Risk = &st.Risk
		}
		return a.document(story)
	}
	head := fmt.Sprintf("mitigation for %s: %s", shivx.SubsystemTarget{Subsystem: v.Subsystem, Host: v.Host}, v.Outcome)
	if v.Message != "" {
		head += " — " + v.Message
	}
	a.out.line(outcomeStyle(v.Outcome), head)
	a.out.details([][2]string{
		{"workflow", v.WorkflowID}, {"run", v.RunID}, {"because", v.Reason}, {"started", moment(v.Started)}, {"took", v.Took},
		{"waits for", v.WaitsFor}, {"paused by", st.Paused}, {"decided", decisions(st.Decisions)},
	}...)
	a.tellPlan(st.Actions)
	a.tellEffects(st.Effects)
	if len(st.Steps) == 0 {
		return nil
	}
	t := table{head: []string{"", "STEP", "TOOK", "WHAT"}, free: []int{3}}
	for _, s := range st.Steps {
		lasted := ""
		if s.Outcome != shivx.StepWaiting {
			lasted = took(seconds(s.Seconds))
		}
		t.add(goldenMark(s.Outcome), text(stepName(s)), text(lasted), text(s.Summary))
	}
	a.out.line(normal, "")
	a.out.table(t)
	return nil
}

// tellPlan prints what each action would do, and which are left out.
func (a *app) tellPlan(actions []shivx.PlannedAction) {
	if len(actions) == 0 {
		return
	}
	t := table{head: []string{"ACTION", "BY", "WHEN", "WHAT"}, free: []int{3}}
	for _, p := range actions {
		at, what := "at once", cell{p.Summary, normal}
		if !p.At.IsZero() {
			at = moment(p.At)
		}
		if p.Destructive {
			what.text += " (may lose something)"
		}
		if p.Skip != "" {
			at, what = "not", cell{p.Skip, yellow}
		}
		t.add(text(p.Name), text(orElse(p.Plugin, "heal of "+p.Component)), text(at), what)
		for _, c := range p.Changes {
			t.add(text(""), text(""), text(""), cell{"· " + c, faint})
		}
	}
	a.out.line(normal, "")
	a.out.table(t)
}

// tellEffects prints what the actions changed, against the forecast without them.
func (a *app) tellEffects(effects []shivx.MitigationEffect) {
	if len(effects) == 0 {
		return
	}
	t := table{head: []string{"EFFECT OF", "BEFORE", "FORECAST", "MEASURED", "HELPED", "WHY"}, free: []int{5}}
	for _, e := range effects {
		helped := cell{"no", yellow}
		if e.Helped {
			helped = cell{"yes", green}
		}
		t.add(text(e.Action), text(fmt.Sprintf("%.4g", e.Before)), text(fmt.Sprintf("%.4g", e.Forecast)), text(fmt.Sprintf("%.4g", e.After)), helped, text(e.Why))
	}
	a.out.line(normal, "")
	a.out.table(t)
}

// lookForecast reads what a FaultForecast found.
func (f *fleet) lookForecast(ctx context.Context, info *workflowpb.WorkflowExecutionInfo) (runView, shivx.FaultForecastResult) {
	v := runOf(info)
	if in, err := inputOf[shivx.FaultForecastInput](ctx, f, v.RunRef); err == nil {
		v.Reason = why(workflows.SelfHealInput{Reason: in.Reason, RequestedBy: in.RequestedBy})
	}
	var res shivx.FaultForecastResult
	if info.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		v.Outcome, v.Took = outcomeRunning, took(time.Since(v.Started))
		return v, res
	}
	f.settle(ctx, &v, info, &res, func() (shivx.Outcome, string) {
		if info.Status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			return outcomeForecast, res.Message
		}
		return v.Outcome, res.Message
	})
	return v, res
}

// outcomeForecast is how a FaultForecast ends that has found out what it was to.
const outcomeForecast shivx.Outcome = "forecast"

// forecastRunStory is the JSON document of one FaultForecast.
type forecastRunStory struct {
	runView
	Result shivx.FaultForecastResult `json:"result"`
}

// forecastStory tells of a FaultForecast.
func (a *app) forecastStory(v runView, res shivx.FaultForecastResult) error {
	if a.json() {
		return a.document(forecastRunStory{v, res})
	}
	a.out.line(outcomeStyle(v.Outcome), fmt.Sprintf("forecast of the faults of %s: %s", v.Host, orElse(v.Message, string(v.Outcome))))
	a.out.details([][2]string{
		{"workflow", v.WorkflowID}, {"run", v.RunID}, {"because", v.Reason}, {"started", moment(v.Started)}, {"took", v.Took},
	}...)
	if len(res.Risks) == 0 {
		return nil
	}
	t := table{head: []string{"SUBSYSTEM", "RISK", "FAILURE", "WHAT"}, free: []int{3}}
	for _, r := range res.Risks {
		if r.Missing != "" {
			t.add(text(r.Subsystem), text("–"), text(""), cell{r.Missing, faint})
			continue
		}
		t.add(text(r.Subsystem), cell{fmt.Sprintf("%d %s", r.Risk, r.Color), riskStyles[r.Color]}, text(moment(r.BreachAt)), text(r.Why))
	}
	a.out.line(normal, "")
	a.out.table(t)
	for _, id := range res.Mitigations {
		a.out.line(faint, "mitigated by: shivx runs show "+id)
	}
	return nil
}
