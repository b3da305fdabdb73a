package main

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/shivx/shivx"
	guardianacts "github.com/shivx/shivx/activities/guardian"
)

// guardianFleetView is what Temporal knows of a fleet's guardians.
type guardianFleetView struct {
	Mode shivx.FleetMode `json:"mode"`
	// Isolated is how many sources are; Isolations lists some of them.
	Isolated   int64             `json:"isolated"`
	Isolations []shivx.Isolation `json:"isolations"`
}

func (a *app) guardianFleet(ctx context.Context) error {
	f, err := a.connect(ctx, dialPatience)
	if err != nil {
		return err
	}
	defer f.client.Close()
	v, err := f.guarded(ctx)
	if err != nil {
		return err
	}
	if a.json() {
		return a.document(v)
	}
	a.printMode("fleet: ", v.Mode.ModeChange)
	if v.Isolated == 0 {
		a.out.line(normal, "nobody is isolated")
	}
	a.printIsolations(v.Isolations, int(v.Isolated), "shivx guardian status --fleet --output json")
	return nil
}

// guarded asks Temporal for the mode and for isolations.
func (f *fleet) guarded(ctx context.Context) (v guardianFleetView, err error) {
	if v.Mode, err = f.defenseMode(ctx); err != nil {
		return v, err
	}
	v.Isolations, v.Isolated, err = f.isolations(ctx)
	return v, err
}

// defenseMode asks Temporal for the mode of the fleet; without one it is NORMAL.
func (f *fleet) defenseMode(ctx context.Context) (shivx.FleetMode, error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	normal := shivx.FleetMode{ModeChange: shivx.ModeChange{From: shivx.DefenseNormal, To: shivx.DefenseNormal}}
	d, err := f.client.DescribeWorkflowExecution(ctx, shivx.DefenseModeID, "")
	if _, none := errors.AsType[*serviceerror.NotFound](err); none {
		return normal, nil
	}
	if err != nil {
		return normal, explain("ask for the fleet's mode", err)
	}
	m, err := guardianacts.FleetModeOf(d.GetWorkflowExecutionInfo())
	if err != nil {
		return normal, fmt.Errorf("read the fleet's mode: %w", err)
	}
	return m, nil
}

// runbookQueue is the queue on which the agents of the fleet run their runbooks: what is started on
// another one waits for ever.
func (f *fleet) runbookQueue(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	d, err := f.client.DescribeWorkflowExecution(ctx, shivx.DefenseModeID, "")
	if queue := d.GetExecutionConfig().GetTaskQueue().GetName(); err == nil && queue != "" {
		return queue
	}
	return shivx.RunbookQueue
}

// isolations asks Temporal for the sources that are isolated, the latest first, at most a page of them,
// and for how many there are.
func (f *fleet) isolations(ctx context.Context) (list []shivx.Isolation, total int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	running := guardianacts.RunningIsolations()
	runs, err := f.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: f.namespace, Query: running, PageSize: page})
	if err != nil {
		return nil, 0, explain("list the isolations", err)
	}
	list = []shivx.Isolation{}
	for _, run := range runs.GetExecutions() {
		// One that was started by hand shows nothing before its first step.
		if i, err := guardianacts.IsolationOf(run); err == nil {
			list = append(list, i)
		}
	}
	if len(runs.GetNextPageToken()) == 0 {
		return list, int64(len(list)), nil
	}
	n, err := f.client.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: f.namespace, Query: running})
	if err != nil {
		return list, 0, explain("count the isolations", err)
	}
	return list, n.GetCount(), nil
}
