package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// onGoldenFleet starts a golden runbook and follows it to its end.
func (a *app) onGoldenFleet(cmd *cobra.Command, kind string, action shivx.GoldenAction, t shivx.GoldenTarget, plan bool, in any) error {
	return a.onFleet(func(ctx context.Context, f *fleet, _ []string) error {
		id := shivx.GoldenID(action, t)
		if plan {
			id += "/plan/" + uuid.NewString()
		}
		run, err := f.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
			ID: id, TaskQueue: f.runbookQueue(ctx), WorkflowTaskTimeout: shivx.TaskTimeout,
			TypedSearchAttributes:                    activities.GoldenAttributes(action, t),
			WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
			WorkflowExecutionErrorWhenAlreadyStarted: true,
			StaticSummary:                            activities.GoldenSummary(action, t), StaticDetails: activities.GoldenDetails(action),
		}, kind, in)
		if err != nil {
			return explain("start "+id, err)
		}
		return a.followGolden(ctx, f, run, action)
	})(cmd, nil)
}

// followGolden prints the steps of a run as they end, and its result.
func (a *app) followGolden(ctx context.Context, f *fleet, run client.WorkflowRun, action shivx.GoldenAction) error {
	ref := activities.RunRef{WorkflowID: run.GetID(), RunID: run.GetRunID()}
	if !a.json() {
		a.out.line(faint, "run "+ref.WorkflowID+" "+ref.RunID)
	}
	ended := make(chan error, 1)
	var result json.RawMessage
	go func() { ended <- run.Get(ctx, &result) }()
	shown, waits := 0, ""
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		var err error
		over := false
		select {
		case err = <-ended:
			over = true
		case <-look.C:
		}
		s, lookErr := query[workflows.GoldenStatus](ctx, f, ref.WorkflowID, ref.RunID, shivx.QueryProgress)
		if lookErr == nil {
			shown = a.showSteps(s.Steps, shown)
			if s.WaitsFor != waits && s.WaitsFor != "" && !a.json() {
				a.out.line(yellow, s.WaitsFor)
				if s.Approval != nil {
					a.out.line(yellow, "answer with: shivx approve "+ref.WorkflowID)
				}
			}
			waits = s.WaitsFor
		}
		if over {
			return a.goldenEnded(action, result, err)
		}
	}
}

// showSteps prints the steps that have ended, from the one that is next, and returns which is next then.
func (a *app) showSteps(steps []shivx.GoldenStepReport, from int) int {
	for ; from < len(steps); from++ {
		if o := steps[from].Outcome; o == shivx.StepWaiting || o == shivx.StepRunning {
			break
		}
		a.toldStep(steps[from])
	}
	return from
}

// goldenEnded prints the result of a run. One that has failed has it as the details of its error.
func (a *app) goldenEnded(action shivx.GoldenAction, result json.RawMessage, err error) error {
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok && app.HasDetails() {
		if detailErr := app.Details(&result); detailErr != nil {
			return errors.Join(err, detailErr)
		}
		err = errors.New(app.Message())
	} else if err != nil {
		return explain("wait for the run", err)
	}
	switch action {
	case shivx.GoldenBackup:
		var r shivx.GoldenBackupResult
		if bad := json.Unmarshal(result, &r); bad != nil {
			return bad
		}
		if err != nil {
			return withCode(codeOfGolden(r.Outcome), err)
		}
		return a.backedUp(r)
	case shivx.GoldenVerify:
		var r shivx.GoldenVerifyResult
		if bad := json.Unmarshal(result, &r); bad != nil {
			return bad
		}
		if err != nil && r.Damaged == 0 {
			return withCode(codeOfGolden(r.Outcome), err)
		}
		return a.verified(r)
	case shivx.GoldenRestore, shivx.GoldenSnapshot:
		var r shivx.GoldenRestoreResult
		if bad := json.Unmarshal(result, &r); bad != nil {
			return bad
		}
		return a.restored(r, err)
	}
	return fmt.Errorf("no such action: %s", action)
}

func codeOfGolden(o shivx.Outcome) int {
	switch o {
	case shivx.OutcomeRefused:
		return exitRefused
	case shivx.OutcomeDamaged:
		return exitTampered
	default:
		return exitNotHealed
	}
}
