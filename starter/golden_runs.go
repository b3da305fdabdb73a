package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// onGoldenFleet starts a golden runbook and follows it to its end. Ask, if there is one, may refuse once it is
// known that Temporal is there.
func (a *app) onGoldenFleet(cmd *cobra.Command, kind string, action shivx.GoldenAction, t shivx.GoldenTarget, plan bool, in any,
	ask ...func(context.Context) error) error {
	err := a.onFleet(func(ctx context.Context, f *fleet, _ []string) error {
		for _, may := range ask {
			if err := may(ctx); err != nil {
				return err
			}
		}
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
			return underWay(id, err)
		}
		return a.followGolden(ctx, f, run, action)
	})(cmd, nil)
	if exitCode(err) == exitUnreachable && cmd.Flags().Lookup("local") != nil {
		return withCode(exitUnreachable, hint(err, shivx.HintOf(err)+"; without Temporal, on the host itself: add --local"))
	}
	return err
}

// followGolden prints the steps of a run as they end, and its result.
func (a *app) followGolden(ctx context.Context, f *fleet, run client.WorkflowRun, action shivx.GoldenAction) error {
	ref := activities.RunRef{WorkflowID: run.GetID(), RunID: run.GetRunID()}
	if a.json() {
		_ = a.jsonLine(a.err.w, map[string]any{"run": ref})
	} else {
		a.out.line(faint, "run "+ref.WorkflowID+" "+ref.RunID)
	}
	shown, waits := 0, ""
	result, err := watch(ctx, f, run, shivx.QueryProgress, func(s workflows.GoldenStatus) {
		shown = a.showSteps(s.Steps, shown)
		if s.WaitsFor != waits && s.WaitsFor != "" {
			a.goldenWaits(ref, s)
		}
		waits = s.WaitsFor
	})
	if ctx.Err() != nil {
		return err
	}
	return a.goldenEnded(action, ref, result, err)
}

// goldenWaits tells what a run waits for.
func (a *app) goldenWaits(ref activities.RunRef, s workflows.GoldenStatus) {
	a.runWaits(ref, s.WaitsFor, s.Approval)
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
func (a *app) goldenEnded(action shivx.GoldenAction, ref activities.RunRef, result json.RawMessage, err error) error {
	outcome, message, fault := ended(err, ref, &result)
	if fault != nil {
		return fault
	}
	if len(result) == 0 { // ended by Temporal, or before it had a result
		code := exitNotHealed
		if app := explain("", err); exitCode(app) != exitError {
			code = exitCode(app)
		}
		return withCode(code, errors.New(orElse(message, string(outcome))))
	}
	if err != nil {
		err = errors.New(message)
	}
	switch action {
	case shivx.GoldenBackup:
		return goldenResult(result, err, a.backedUp)
	case shivx.GoldenVerify:
		return goldenResult(result, err, a.verified)
	case shivx.GoldenRestore:
		return goldenResult(result, nil, func(r shivx.GoldenRestoreResult) error { return a.restored(r, err) })
	case shivx.GoldenSnapshot:
		return goldenResult(result, nil, func(r shivx.SafeSnapshotResult) error { return a.snapshotEnded(r, err) })
	}
	return fmt.Errorf("no such action: %s", action)
}

// goldenResult reads the result of a run, and prints it. An error of the run is told with the code of its outcome,
// unless print has told it.
func goldenResult[R any](result json.RawMessage, err error, show func(R) error) error {
	var r R
	if bad := json.Unmarshal(result, &r); bad != nil {
		return bad
	}
	if shown := show(r); shown != nil || err == nil {
		return shown
	}
	return withCode(exitNotHealed, err)
}
