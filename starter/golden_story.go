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

// goldenActions are what golden runs do, by the type of their workflow.
var goldenActions = map[string]shivx.GoldenAction{
	shivx.TypeGoldenBackup: shivx.GoldenBackup, shivx.TypeGoldenVerify: shivx.GoldenVerify,
	shivx.TypeGoldenRestore: shivx.GoldenRestore, shivx.TypeSafeSnapshot: shivx.GoldenSnapshot,
}

// lookGolden reads what a golden run was started with and how it ended or stands. It asks Temporal alone, but
// for a run under way, which an agent answers for.
func (f *fleet) lookGolden(ctx context.Context, info *workflowpb.WorkflowExecutionInfo) (runView, workflows.GoldenStatus) {
	v := runOf(info)
	if in, err := inputOf[shivx.GoldenRequest](ctx, f, v.RunRef); err == nil {
		v.Reason = why(workflows.SelfHealInput{Reason: in.Reason, RequestedBy: in.RequestedBy})
	}
	if info.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		v.Outcome, v.Took = outcomeRunning, took(time.Since(v.Started))
		status, err := query[workflows.GoldenStatus](ctx, f, v.WorkflowID, v.RunID, shivx.QueryProgress)
		v.WaitsFor = status.WaitsFor
		if err != nil {
			v.WaitsFor = "an agent, none of which answers"
		}
		if status.Golden != nil {
			v.Golden = status.Golden.ID
		}
		return v, status
	}
	var res shivx.GoldenResult
	f.settle(ctx, &v, info, &res, func() (shivx.Outcome, string) { return res.Outcome, res.Message })
	if res.Host != "" {
		v.Host = res.Host
	}
	if res.Golden != nil {
		v.Golden = res.Golden.ID
	}
	return v, workflows.GoldenStatus{GoldenTarget: res.GoldenTarget, Golden: res.Golden, Steps: res.Steps}
}

// goldenRunStory is the JSON document of one golden run.
type goldenRunStory struct {
	runView
	Steps     []shivx.GoldenStepReport `json:"steps"`
	Taken     *shivx.GoldenInfo        `json:"golden_info,omitempty"`
	Approval  *shivx.Approval          `json:"approval,omitempty"`
	Decisions []workflows.Decision     `json:"decisions,omitempty"`
}

// goldenStory tells of a golden run.
func (a *app) goldenStory(v runView, st workflows.GoldenStatus) error {
	if a.json() {
		return a.document(goldenRunStory{v, st.Steps, st.Golden, st.Approval, st.Decisions})
	}
	t := shivx.GoldenTarget{Set: v.Set, Host: v.Host}
	head := fmt.Sprintf("%s of %s: %s", goldenActions[v.Runbook], t, v.Outcome)
	if v.Message != "" {
		head += " — " + v.Message
	}
	a.out.line(outcomeStyle(v.Outcome), head)
	taken := ""
	if g := st.Golden; g != nil {
		taken = moment(g.Created)
	}
	a.out.details([][2]string{
		{"workflow", v.WorkflowID}, {"run", v.RunID}, {"because", v.Reason}, {"golden", v.Golden}, {"taken", taken},
		{"started", moment(v.Started)}, {"took", v.Took}, {"waits for", v.WaitsFor}, {"decided", decisions(st.Decisions)},
	}...)
	if len(st.Steps) == 0 {
		return nil
	}
	a.out.line(normal, "")
	a.out.table(goldenSteps(st.Steps))
	return nil
}

func goldenSteps(steps []shivx.GoldenStepReport) table {
	t := table{head: []string{"", "STEP", "TOOK", "SIZE", "WHAT"}, free: []int{4}}
	for _, s := range steps {
		name, size, lasted := string(s.Name), "", ""
		if s.Service != "" {
			name += " " + s.Service
		}
		if s.Tries > 1 {
			name += fmt.Sprintf(" (try %d)", s.Tries)
		}
		if s.Bytes > 0 {
			size = bytesText(s.Bytes)
		}
		if s.Outcome != shivx.StepWaiting {
			lasted = took(seconds(s.Seconds))
		}
		t.add(goldenMark(s.Outcome), text(name), text(lasted), text(size), text(s.Summary))
	}
	return t
}

// goldenMark shows how a step of a golden run ended or stands.
func goldenMark(outcome string) cell {
	switch outcome {
	case shivx.StepDone:
		return cell{"✓", green}
	case shivx.StepFailed:
		return cell{"✗", red}
	case shivx.StepSkipped:
		return cell{"–", faint}
	case shivx.StepRunning:
		return cell{"▶", cyan}
	default:
		return cell{"·", faint}
	}
}
